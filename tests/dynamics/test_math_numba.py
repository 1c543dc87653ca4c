"""Functions of compiled loops against long double."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numba import njit

from bregma.dynamics.engines import _math_numba
from bregma.dynamics.engines._math_numba import NAMES


def exact_exprel(x):
    return np.where(x == 0, 1, np.expm1(x) / np.where(x == 0, 1, x))


def exact_dexprel(x):
    near = sum((k + 1) * x**k / np.longdouble(math.factorial(k + 2)) for k in range(40))
    far = (np.exp(x) - np.expm1(x) / x) / x
    return np.where(np.abs(x) < 2, near, far)


EXACT = {  # function, range, units in the last place
    "exp": (np.exp, (-87, 88.7), 2),
    "log": (np.log, (1e-30, 1e4), 2),
    "tanh": (np.tanh, (-10, 10), 2),
    "exprel": (exact_exprel, (-30, 88), 2),
    "exprel_near": (exact_exprel, (-0.5, 0.5), 2),
    "dexprel": (exact_dexprel, (-30, 80), 4),
}


def over_array(function):
    @njit(error_model="numpy")
    def loop(x, y):
        for i in range(x.size):
            y[i] = function(x[i])

    return loop


@pytest.mark.parametrize("name", EXACT)
def test_float32_is_within_a_few_units_in_the_last_place(name):
    exact, (low, high), ulps = EXACT[name]
    rng = np.random.default_rng(0)
    near = rng.uniform(max(low, -2), min(high, 2), 50_000)
    x = np.concatenate([rng.uniform(low, high, 50_000), near])
    x = x.astype(np.float32)
    y = np.empty_like(x)
    over_array(getattr(_math_numba, f"{name}_32"))(x, y)
    wanted = exact(x.astype(np.longdouble))
    assert np.max(np.abs(y - wanted) / np.spacing(np.abs(wanted).astype(np.float32))) < ulps


def test_float64_exprel_and_its_derivative():
    x = np.random.default_rng(1).uniform(-3, 3, 10_000)
    for name, exact in (
        ("exprel", exact_exprel),
        ("dexprel", exact_dexprel),
        ("exprel_near", exact_exprel),
    ):
        x = np.clip(x, -0.5, 0.5) if name == "exprel_near" else x
        y = np.empty_like(x)
        over_array(NAMES["float64"][name])(x, y)
        np.testing.assert_allclose(y, exact(x.astype(np.longdouble)).astype(float), rtol=2e-14)


@pytest.mark.parametrize(
    ("name", "at", "wanted"),
    [
        ("exp", -np.inf, 0), ("exp", np.inf, np.inf), ("exp", 100, np.inf), ("exp", -200, 0),
        ("log", 0, -np.inf), ("log", -1, np.nan), ("log", np.inf, np.inf), ("tanh", np.inf, 1),
        ("tanh", -np.inf, -1), ("exprel", 0, 1), ("exprel", np.inf, np.inf),
        ("exprel", -np.inf, 0), ("dexprel", 0, 0.5), ("exp", np.nan, np.nan),
        ("log", np.nan, np.nan), ("tanh", np.nan, np.nan), ("exprel", np.nan, np.nan),
        ("dexprel", np.nan, np.nan),
    ],
)  # fmt: skip
def test_float32_at_the_edges(name, at, wanted):
    x, y = np.full(5, at, np.float32), np.empty(5, np.float32)
    over_array(getattr(_math_numba, f"{name}_32"))(x, y)
    np.testing.assert_array_equal(y, np.float32(wanted))


def test_denormals_are_right():
    x, y = np.array([1e-40, 3e-42], np.float32), np.empty(2, np.float32)
    over_array(_math_numba.log_32)(x, y)
    np.testing.assert_allclose(y, np.log(x.astype(float)), rtol=1e-6)
