"""Stability: limits of explicit methods from the theory of linear equations."""

from __future__ import annotations

import re

import numpy as np
import pytest

from bregma.dynamics.language._neuron import Neuron
from bregma.dynamics.language._stability import stability
from bregma.errors import InvalidArgument, UnknownName, UnstableSimulation

DECAY = "dv/dt = -v/tau\ndw/dt = (v - w)/(50*tau)"
LIMITS = {"euler": 2.0, "heun": 2.0, "rk4": 2.785293563405282, "milstein": 2.0}  # in time constants


def decay(method):
    return Neuron(DECAY, params={"tau": "1 ms"}, method=method)


@pytest.mark.parametrize("method", LIMITS)
def test_the_limit_of_each_method(method):
    limit = 1e-3 * LIMITS[method]
    stability(decay(method), {}, 0.999 * limit)
    with pytest.raises(
        UnstableSimulation, match="'v', which relaxes with a time constant of 1 ms"
    ) as e:
        stability(decay(method), {}, 1.001 * limit)
    advised = float(re.search(r"Take dt = ([\d.e+-]+) ms", str(e.value))[1])
    assert 0.25 * limit < advised * 1e-3 < limit
    stability(decay(method), {}, f"{advised} ms")


@pytest.mark.parametrize("method", ["auto", "exact", "exponential_euler"])
def test_exact_and_exponential_steps_may_be_long(method):
    stability(decay(method), {}, "1 s")


def test_a_damped_oscillator_under_euler():
    """|1 + (a + i b) dt| <= 1 asks for dt <= -2 a/(a² + b²)."""
    n = Neuron(
        "dx/dt = a*x - b*y\ndy/dt = b*x + a*y", params={"a": -1.0, "b": 10.0}, method="euler"
    )
    limit = 2 / 101
    stability(n, {}, 0.99 * limit)
    with pytest.raises(UnstableSimulation, match="time constant of 1e\\+03 ms"):
        stability(n, {}, 1.01 * limit)


def test_growing_modes_are_no_mistake():
    stability(Neuron("dv/dt = v*v - 1", method="euler"), {"v": 5.0}, 1.0)
    with pytest.raises(UnstableSimulation):
        stability(Neuron("dv/dt = v*v - 1", method="euler"), {"v": -5.0}, 1.0)


def test_the_stiffest_unit_counts():
    n = decay("euler").with_params(tau=[1e-2, 1e-2, 1e-4])
    with pytest.raises(UnstableSimulation, match="of 0.1 ms"):
        stability(n, {"v": np.zeros(3)}, "1 ms")


def test_inputs_and_fed_names_count():
    n = Neuron("dv/dt = -(1 + g)*v/tau + I", params={"tau": "10 ms"}, method="euler")
    stability(n, {"g": 1.0}, "1 ms", fed=["g", "I"])
    with pytest.raises(UnstableSimulation, match="of 0.0999 ms"):
        stability(n, {"g": 99.1}, "1 ms", fed=["g", "I"])


def test_what_cannot_be_checked():
    with pytest.raises(UnknownName):
        stability(decay("euler"), {"u": 1.0}, "1 ms")
    with pytest.raises(InvalidArgument, match="above 0"):
        stability(decay("euler"), {}, "0 ms")
    with pytest.raises(InvalidArgument, match="shapes"):
        stability(decay("euler"), {"v": [1.0, 2.0], "w": [1.0, 2.0, 3.0]}, "1 ms")
