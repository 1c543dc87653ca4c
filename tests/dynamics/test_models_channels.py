"""Models with ion channels against a solver of high accuracy and what is known of them."""

from __future__ import annotations

import numpy as np
import scipy.integrate
from one_unit import simulate, solve

from bregma.dynamics import models


def squid(t, y, current):
    """Hodgkin and Huxley (1952) written by hand, in mV and ms."""
    v, m, h, n = y

    def rate(x):  # x / (1 - exp(-x))
        return 1.0 if abs(x) < 1e-9 else x / -np.expm1(-x)

    membrane = 120 * m**3 * h * (50 - v) + 36 * n**4 * (-77 - v) + 0.3 * (-54.387 - v) + current
    return [
        membrane,
        rate((v + 40) / 10) * (1 - m) - 4 * np.exp(-(v + 65) / 18) * m,
        0.07 * np.exp(-(v + 65) / 20) * (1 - h) - h / (1 + np.exp(-(v + 35) / 10)),
        0.1 * rate((v + 55) / 10) * (1 - n) - 0.125 * np.exp(-(v + 65) / 80) * n,
    ]


def test_action_potential_of_hodgkin_and_huxley():
    dt = 1e-5
    r = simulate(models.hodgkin_huxley(), 0.03, dt, I=0.1)  # 10 uA/cm²
    exact = scipy.integrate.solve_ivp(
        squid, (0, 31), [-65, 0.0529, 0.5961, 0.3177], args=(10.0,), method="LSODA",
        t_eval=1e3 * r.t, rtol=1e-10, atol=1e-12,
    )  # fmt: skip
    v = 1e3 * r["v"][:, 0]
    assert len(r.spikes[0]) == 2
    assert 38 < v.max() < 42
    found = 1e3 * r.spikes[0]
    crossings = np.flatnonzero((exact.y[0][:-1] <= 0) & (exact.y[0][1:] > 0))
    np.testing.assert_allclose(found, 1e3 * r.t[crossings + 1], atol=0.15)
    for name, other in zip(("m", "h", "n"), exact.y[1:], strict=True):
        early = slice(0, 100)  # before the upstroke, where a shift in time is no large error
        np.testing.assert_allclose(r[name][early, 0], other[early], atol=2e-3)
    np.testing.assert_allclose(v[:100], exact.y[0][:100], atol=0.1)


def test_hodgkin_and_huxley_converge_to_the_solution():
    """Exponential steps are of first order: half the step, half the error."""
    exact = scipy.integrate.solve_ivp(
        squid, (0, 8), [-65, 0.0529, 0.5961, 0.3177], args=(10.0,), method="LSODA",
        rtol=1e-11, atol=1e-13,
    ).y[0, -1]  # fmt: skip
    errors = []
    for dt in (8e-6, 4e-6):
        r = simulate(models.hodgkin_huxley(), 8e-3, dt, I=0.1)
        errors.append(abs(1e3 * r["v"][-1, 0] - exact))
    assert 1.7 < errors[0] / errors[1] < 2.3


def test_hodgkin_and_huxley_begin_to_fire_at_a_rate_of_their_own():
    """Rest at -65 mV; repetitive firing sets in near 6.3 uA/cm², at about 50 per second."""
    current = np.array([0.0, 6.0, 6.5, 10.0, 20.0]) / 100
    r = simulate(models.hodgkin_huxley(), 0.3, 2e-5, n=5, I=current)
    assert abs(r["v"][-1, 0] + 0.065) < 1e-5
    late = [(s > 0.1).sum() / 0.2 for s in r.spikes]
    assert late[:2] == [0, 0]
    assert len(r.spikes[1]) >= 1  # but one spike at the onset
    assert 50 <= late[2] < 60
    assert late[2] < late[3] < late[4]


def test_traub_miles_follows_the_solver_and_rests():
    n = models.traub_miles()
    r = simulate(n, 0.03, 5e-6, I=2e-10)
    exact = solve(n, r.t, I=2e-10)
    crossings = np.flatnonzero((exact["v"][:-1] <= -0.02) & (exact["v"][1:] > -0.02))
    assert len(crossings) >= 1
    np.testing.assert_allclose(r.spikes[0], r.t[crossings + 1], atol=2e-4)
    early = slice(0, crossings[0] - 100)
    np.testing.assert_allclose(r["v"][early, 0], exact["v"][early], atol=1e-3)


def test_pinsky_and_rinzel_follow_the_solver():
    n = models.pinsky_rinzel()
    r = simulate(n, 0.02, 5e-6, I=0.0075)
    exact = solve(n, r.t, I=0.0075)
    for name, tolerance in (("v", 5e-4), ("v_d", 5e-4), ("Ca", 0.05), ("q", 1e-4)):
        np.testing.assert_allclose(r[name][:, 0], exact[name], atol=tolerance)


def test_pinsky_and_rinzel_burst():
    """At 0.75 uA/cm² into the soma: bursts about twice a second, with a calcium spike."""
    r = simulate(models.pinsky_rinzel(), 1.6, 1e-4, I=0.0075)
    intervals = np.diff(r.spikes[0])
    inside = intervals < 0.02
    assert inside.sum() >= 6
    late = intervals[~inside][1:]
    assert ((late > 0.25) & (late < 0.7)).all()
    assert r["Ca"].max() > 200
    # without the dendrite's calcium current there are single spikes
    r = simulate(models.pinsky_rinzel(g_Ca=0.0), 0.6, 1e-4, I=0.0075)
    assert len(r.spikes[0]) > 3
    assert (np.diff(r.spikes[0]) > 0.02).all()
