"""Methods of integration: order of convergence, exact steps, noise, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch
from one_unit import simulate, solve

from bregma.dynamics.language._evaluate import prepare
from bregma.dynamics.language._grammar import Place, parse_expression
from bregma.dynamics.language._integrate import coefficient_and_rest
from bregma.dynamics.language._neuron import Neuron
from bregma.dynamics.language._step import step_of
from bregma.errors import InvalidArgument

PENDULUM = "dx/dt = y\ndy/dt = -sin(x) - k*y**3"
GATES = "dx/dt = (1 - x)*exp(y) - x\ndy/dt = x*x - y*(1 + x)"


@pytest.mark.parametrize(
    ("text", "method", "order"),
    [
        (PENDULUM, "euler", 1),
        (PENDULUM, "milstein", 1),
        (PENDULUM, "heun", 2),
        (PENDULUM, "rk4", 4),
        (PENDULUM, "auto", 2),
        (GATES, "exponential_euler", 1),
        (GATES, "auto", 1),
    ],
)
def test_order_of_convergence(text, method, order):
    """An error of dt^p falls by 2^p when dt is halved."""
    n = Neuron(text, params={"k": 0.3} if "k" in text else {}, method=method)
    first = {"x": 1.2, "y": 0.3}
    exact = solve(n, np.array([1.0, 2.0]), initial=first)["x"][-1]
    errors = []
    for dt in (0.2, 0.1, 0.05) if order == 4 else (0.04, 0.02, 0.01):
        errors.append(abs(simulate(n, 2.0, dt, initial=first)["x"][-1, 0] - exact))
    found = np.log2(np.array(errors[:-1]) / errors[1:])
    np.testing.assert_allclose(found, order, atol=0.25)


LINEAR = """dv/dt = (g - v)/tau + I
            dg/dt = (h - g)/tau_g
            dh/dt = -h/tau_h + k*g"""
VALUES = {"tau": 0.02, "tau_g": 0.005, "tau_h": 0.003, "k": 50.0}


def test_exact_is_the_matrix_exponential():
    n = Neuron(LINEAR, params=VALUES, method="exact")
    step = step_of(n, ["I"])
    assert step.constants.linear.states == ("v", "g", "h")
    a = np.array([[-50, 50, 0], [0, -200, 200], [0, 50, -1 / 0.003]])
    dt = 0.007
    r = simulate(n, 10 * dt, dt, initial={"v": 1.0, "g": 2.0, "h": -1.0}, I=3.0)
    fixed = np.linalg.solve(a, [-3.0, 0, 0])
    expected = fixed + scipy.linalg.expm(a * 10 * dt) @ ([1.0, 2.0, -1.0] - fixed)
    np.testing.assert_allclose([r[s][-1, 0] for s in "vgh"], expected, rtol=1e-12)


@pytest.mark.parametrize("rate", [0.0, 1e-9, 0.01, 0.1, 1.0, 30.0, 1e4])
def test_propagators_keep_their_digits(rate):
    n = Neuron("dx/dt = -a*x + I", params={"a": rate})
    step = step_of(n, ["I"])
    found = prepare(step.constants, n.values, 1.0)
    assert float(found["P__x__x"]) == pytest.approx(np.exp(-rate), rel=1e-12, abs=1e-300)
    integral = -np.expm1(-rate) / rate if rate else 1.0
    assert float(found["Q__x__x"]) == pytest.approx(integral, rel=1e-13)


def test_propagators_of_units_and_their_derivatives():
    n = Neuron(LINEAR, params=VALUES)
    step = step_of(n, ["I"])
    tau = torch.tensor([0.02, 0.01, 0.1], dtype=torch.float64, requires_grad=True)

    def last(tau):
        return prepare(step.constants, {**VALUES, "tau": tau}, 1e-3)["P__v__h"]

    assert last(tau).shape == (3,)
    assert torch.autograd.gradcheck(last, tau)
    one = prepare(step.constants, VALUES, 1e-3)["P__v__h"]
    assert float(last(tau)[0]) == pytest.approx(float(one), rel=1e-14)


@pytest.mark.parametrize(
    ("text", "a", "b"),
    [
        ("(E - x)/tau", "-1/tau", "E/tau"),
        ("3*x + y*(2*x - 1)", "3 + 2*y", "-y"),
        ("where(y > 1, x, 2*x + 1)", "where(y > 1, 1, 2)", "where(y > 1, 0, 1)"),
        ("y", "0", "y"),
        ("x*x", None, None),
        ("exp(x)", None, None),
        ("where(x > 0, x, x + 1)", None, None),  # a jump: its slope alone would look linear
        ("x + floor(x)", None, None),
        ("x + step(x)", None, None),
        ("sqrt(x)", None, None),
    ],
)
def test_what_is_linear(text, a, b):
    def read(t):
        return parse_expression(t, Place(t))

    found = coefficient_and_rest(read(text), "x")
    if a is None:
        assert found is None
        return
    assert found is not None
    for mine, theirs in zip(found, (a, b), strict=True):
        assert (mine - read(theirs)).expand() == 0


def test_what_auto_takes():
    n = Neuron(
        """dv/dt = (exp(v) - v*g + r)/tau
           dm/dt = (1 - m)*g - m*v
           dg/dt = (r - g)/tau
           dr/dt = -r/tau""",
        params={"tau": 1.0},
    )
    step = step_of(n)
    assert step.constants.linear.states == ("g", "r")
    assert [a.target for a in step.advance] == [
        "g__next", "r__next", "m__next", "v__k1", "v__guess", "v__next",
    ]  # fmt: skip


def test_held_variables_and_noise_do_not_act_within_exact_steps():
    held = Neuron("dv/dt = -v (unless refractory)\nda/dt = v - a", spike="v > 1", refractory="1 ms")
    assert step_of(held).constants.linear.states == ("v",)
    noisy = Neuron("dx/dt = -x + g\ndv/dt = x - v\ndg/dt = -g", noise={"x": 1.0})
    assert step_of(noisy).constants.linear.states == ("x", "g")


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("dx/dt = -x*x", {"method": "exact"}, "dx/dt is not"),
        ("dx/dt = -x + y\ndy/dt = sin(y)", {"method": "exact"}, "linear with constant"),
        ("dx/dt = -I*x", {"method": "exact"}, "dx/dt is not"),
        ("dx/dt = -x*x", {"method": "exponential_euler"}, "to be linear in x"),
        ("dx/dt = -x", {"method": "heun", "noise": {"x": "x"}}, "milstein"),
        ("dx/dt = -x", {"method": "rk4", "noise": {"x": 1.0}}, "without noise"),
        (
            "dx/dt = -x\ndy/dt = -y",
            {"method": "milstein", "noise": {"x": "y", "y": 1.0}},
            "own variable only",
        ),
    ],
)
def test_methods_that_cannot_be_used(text, options, message):
    with pytest.raises(InvalidArgument, match=message):
        step_of(Neuron(text, **options), fed=["I"] if "I" in text else ())


@pytest.mark.parametrize(
    ("method", "dt", "variance", "correlation"),
    [
        # variance and correlation after one step that each method has for dx = -x dt + sqrt(2) dW
        ("exact", 0.5, 1.0, np.exp(-0.5)),
        ("auto", 0.5, 1.0, np.exp(-0.5)),
        ("exponential_euler", 0.5, 1.0, np.exp(-0.5)),
        ("euler", 0.1, 1 / (1 - 0.05), 0.9),
        ("heun", 0.1, None, 1 - 0.1 + 0.005),
    ],
)
def test_statistics_of_ornstein_uhlenbeck(method, dt, variance, correlation):
    n = Neuron("dx/dt = mu - x", noise={"x": "sqrt(2)"}, params={"mu": 0.5}, method=method)
    x = simulate(n, 60 * dt, dt, n=20_000, seed=4, initial={"x": 0.5})["x"][-20:]
    assert x.mean() == pytest.approx(0.5, abs=0.015)
    if variance is None:  # x <- a x + sqrt(2 dt) (1 - dt/2) N
        variance = 2 * dt * (1 - dt / 2) ** 2 / (1 - correlation**2)
    assert x.var() == pytest.approx(variance, rel=0.02)
    d = x - x.mean(1, keepdims=True)
    assert (d[1:] * d[:-1]).mean() / x.var() == pytest.approx(correlation, abs=0.01)


def test_noise_of_a_rate_without_decay_is_a_random_walk():
    for method in ("auto", "euler", "exact"):
        n = Neuron("dx/dt = 0", noise={"x": "2"}, method=method)
        x = simulate(n, 2.0, 0.1, n=20_000, seed=1)["x"]
        np.testing.assert_allclose(x.var(1), 4 * np.arange(1, 21) * 0.1, rtol=0.04)


class Recorded:
    """Normal numbers of a coarse path, summed from those of the finest one."""

    def __init__(self, fine, factor):
        n_steps, n = fine.shape
        self.rows = iter(fine.reshape(n_steps // factor, factor, n).sum(1) / np.sqrt(factor))

    def standard_normal(self, n):
        return next(self.rows)


@pytest.mark.parametrize(("method", "order"), [("euler", 0.5), ("milstein", 1.0)])
def test_strong_order_for_geometric_brownian_motion(method, order, monkeypatch):
    """dx = mu x dt + sigma x dW has the solution exp((mu - sigma²/2) t + sigma W)."""
    n = Neuron(
        "dx/dt = mu*x", noise={"x": "sigma*x"}, params={"mu": 0.3, "sigma": 0.8}, method=method
    )
    fine = np.random.default_rng(0).standard_normal((512, 4000))
    exact = np.exp(0.3 - 0.32 + 0.8 * fine.sum(0) / np.sqrt(512))
    errors = []
    for factor in (8, 4, 2, 1):
        with monkeypatch.context() as m:
            m.setattr(np.random, "default_rng", lambda seed, k=factor: Recorded(fine, k))
            r = simulate(n, 1.0, factor / 512, n=4000, initial={"x": 1.0})
        errors.append(np.abs(r["x"][-1] - exact).mean())
    slope = np.polyfit(np.log([8, 4, 2, 1]), np.log(errors), 1)[0]
    assert slope == pytest.approx(order, abs=0.12)


def test_auto_is_weakly_right_for_geometric_brownian_motion():
    n = Neuron("dx/dt = mu*x", noise={"x": "sigma*x"}, params={"mu": 0.3, "sigma": 0.5})
    x = simulate(n, 1.0, 0.01, n=100_000, seed=3, initial={"x": 1.0})["x"][-1]
    assert x.mean() == pytest.approx(np.exp(0.3), rel=0.01)
    assert (x**2).mean() == pytest.approx(np.exp(0.6 + 0.25), rel=0.03)


def test_held_variables_stay_while_refractory():
    n = Neuron(
        "dv/dt = 100 (unless refractory)\ndw/dt = 1", spike="v > 1", reset="v = 0.25; w = 0",
        refractory="3 ms",
    )  # fmt: skip
    r = simulate(n, 0.03, 1e-3)
    first = round(r.spikes[0][0] / 1e-3) - 1
    v, w = r["v"][:, 0], r["w"][:, 0]
    np.testing.assert_allclose(v[first : first + 5], [0.25, 0.25, 0.25, 0.25, 0.35])
    np.testing.assert_allclose(w[first : first + 3], [0, 1e-3, 2e-3], atol=1e-12)
