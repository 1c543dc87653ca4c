"""Integrate-and-fire models against closed forms and published patterns."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.integrate
import scipy.optimize
import scipy.special
import torch
from one_unit import simulate, solve

from bregma.dynamics import models
from bregma.dynamics.language._evaluate import evaluate
from bregma.dynamics.models._adex import PATTERNS
from bregma.errors import UnknownName

DT = 1e-5


def last_interval(spikes):
    return spikes[-1] - spikes[-2]


def test_lif_relaxes_as_its_closed_form():
    r = simulate(models.lif(), 0.05, 1e-4, I=1e-10)
    np.testing.assert_allclose(r["v"][:, 0], -0.07 + 0.01 * (1 - np.exp(-r.t / 0.02)), rtol=1e-12)


def test_lif_fires_as_its_closed_form():
    current = np.array([1.99, 2.1, 2.5, 3.0, 5.0, 10.0]) * 1e-10
    r = simulate(models.lif(), 0.5, DT, n=6, I=current)
    assert len(r.spikes[0]) == 0
    drive = 1e8 * current[1:]
    expected = 2e-3 + 0.02 * np.log((drive - 0.01) / (drive - 0.02))
    found = [last_interval(s) for s in r.spikes[1:]]
    np.testing.assert_allclose(found, expected, atol=2 * DT)


def test_lif_conductance_responds_as_a_solver_says():
    n = models.lif_conductance()
    kick = {"g_e": 12e-9, "g_i": 20e-9}
    r = simulate(n, 0.05, DT, initial=kick)
    exact = solve(n, r.t, initial=kick)
    np.testing.assert_allclose(r["g_e"][:, 0], 12e-9 * np.exp(-r.t / 0.005), rtol=1e-12)
    np.testing.assert_allclose(r["v"][:, 0], exact["v"], atol=6e-6)
    assert r["v"].max() > -0.06 > r["v"].min()  # the kicks pull both ways


def test_lif_delta_keeps_a_jump_and_fires_as_its_closed_form():
    r = simulate(models.lif_delta(), 0.02, 1e-4, initial={"v": 1e-4})
    np.testing.assert_allclose(r["v"][:, 0], 1e-4 * np.exp(-r.t / 0.02), rtol=1e-12)
    drive = np.array([0.021, 0.03, 0.05])
    r = simulate(models.lif_delta(), 0.3, DT, n=3, mu=drive)
    expected = 2e-3 + 0.02 * np.log((drive - 0.01) / (drive - 0.02))
    np.testing.assert_allclose([last_interval(s) for s in r.spikes], expected, atol=2 * DT)


def test_alif_adapts_to_the_interval_at_which_its_threshold_repeats():
    current, beta, tau_b = 3e-10, 2e-3, 0.2
    r = simulate(models.alif(), 3.0, 5e-5, I=current)
    intervals = np.diff(r.spikes[0])
    assert (np.diff(intervals[:5]) > 0).all()

    def too_high(T):  # the voltage reaches the threshold that is left of all earlier spikes
        b = beta / np.expm1(T / tau_b)
        return -0.07 + 1e8 * current * -np.expm1(-(T - 2e-3) / 0.02) - (-0.05 + b)

    expected = scipy.optimize.brentq(too_high, 5e-3, 0.2)
    assert intervals[-1] == pytest.approx(expected, abs=1.5e-4)
    assert intervals[-1] > 1.3 * intervals[0]


def test_qif_fires_as_its_closed_form():
    a, tau = 70.0, 0.01
    rheobase = a * 0.015**2 / 4 / 1e8
    current = rheobase * np.array([0.99, 1.2, 2.0, 5.0, 20.0])
    r = simulate(models.qif(), 0.6, DT, n=5, I=current)
    assert len(r.spikes[0]) == 0
    b = 1e8 * (current[1:] - rheobase)
    top, bottom = 0.03 + 0.0575, -0.07 + 0.0575
    expected = np.arctan(top * np.sqrt(a / b)) - np.arctan(bottom * np.sqrt(a / b))
    expected *= tau / np.sqrt(a * b)
    np.testing.assert_allclose([last_interval(s) for s in r.spikes[1:]], expected, rtol=2e-3)


def test_theta_turns_with_its_period():
    current = np.array([-0.1, 0.1, 1.0, 4.0])
    r = simulate(models.theta(), 0.5, DT, n=4, I=current)
    assert len(r.spikes[0]) == 0
    expected = np.pi * 0.01 / np.sqrt(current[1:])
    np.testing.assert_allclose([last_interval(s) for s in r.spikes[1:]], expected, atol=2 * DT)


def test_eif_fires_above_its_rheobase_as_the_integral_says():
    C, g, E, V, D = 0.01, 1.0, -0.065, -0.0599, 0.00348
    rheobase = g * (V - E - D)
    current = rheobase + np.array([-1e-5, 1e-3, 5e-3, 0.02])
    r = simulate(models.eif(), 0.4, DT, n=4, I=current)
    assert len(r.spikes[0]) == 0

    def interval(i):
        def duration(v):
            return C / (g * (E - v) + g * D * np.exp((v - V) / D) + i)

        return 1.7e-3 + scipy.integrate.quad(duration, -0.068, 0, limit=500)[0]

    expected = [interval(i) for i in current[1:]]
    np.testing.assert_allclose([last_interval(s) for s in r.spikes[1:]], expected, atol=3 * DT)


@pytest.fixture(scope="module")
def adex_intervals():
    found = {}
    for pattern, row in PATTERNS.items():
        r = simulate(models.adex(pattern), 0.5, 4e-5, I=row[-1] * 1e-12)
        found[pattern] = r.spikes[0][0], np.diff(r.spikes[0])
    return found


def test_adex_patterns(adex_intervals):
    """Figures of Naud et al. (2008): what the intervals of each pattern do."""
    of = {name: intervals for name, (_, intervals) in adex_intervals.items()}
    first = {name: at for name, (at, _) in adex_intervals.items()}
    assert np.ptp(of["tonic"]) < 0.1 * of["tonic"].mean()
    assert of["adapting"][-1] > 4 * of["adapting"][0]
    assert (np.diff(of["adapting"]) > -1e-4).all()
    burst = of["initial burst"]
    assert burst[0] < 0.1 * burst[-1]
    assert np.ptp(burst[4:]) < 0.05 * burst[-1]
    for name, rest in (("regular bursting", 0.1), ("delayed regular bursting", 0.05)):
        inside = of[name] < 0.02
        assert inside.sum() >= 3
        assert (~inside).sum() >= 3
        assert (of[name][~inside] > rest).all()
    assert (np.diff(of["delayed accelerating"]) < 0).all()
    assert first["delayed accelerating"] > 2 * first["tonic"]
    assert first["delayed regular bursting"] > 0.05
    assert first["transient"] + of["transient"].sum() < 0.2  # then it is silent
    assert np.std(of["irregular"]) > 0.4 * of["irregular"].mean()
    late = of["irregular"][8:]
    for period in range(1, 5):  # the intervals do not repeat
        assert np.abs(late[period:] - late[:-period]).max() > 5e-3


def test_adex_of_brette_and_gerstner_adapts_above_its_rheobase():
    r = simulate(models.adex(), 0.4, 5e-5, n=2, I=np.array([0.5e-9, 1e-9]))
    assert len(r.spikes[0]) == 0
    intervals = np.diff(r.spikes[1])
    assert len(intervals) > 4
    assert intervals[-1] > 2 * intervals[0]


def test_resonate_and_fire_rings_and_prefers_its_own_rhythm():
    n = models.resonate_and_fire()
    r = simulate(n, 2e-3, DT, initial={"x": 0.5})
    z = 0.5 * np.exp((-1e3 + 1e4j) * r.t)
    np.testing.assert_allclose(r["x"][:, 0], z.real, atol=1e-12)
    np.testing.assert_allclose(r["y"][:, 0], z.imag, atol=1e-12)
    period = 2 * np.pi / 1e4
    gaps = np.array([0.5, 1.0, 1.5, 2.0]) * period  # between two pulses of 0.95

    def pulses(t):
        return 0.95 / DT * ((t < DT / 2) + (np.abs(t - gaps) < DT / 2))

    r = simulate(n, 3e-3, DT, n=4, I=pulses)
    assert [len(s) for s in r.spikes] == [0, 1, 0, 1]


def test_stochastic_lif_without_spikes_is_an_ornstein_uhlenbeck_process():
    n = models.stochastic_lif(V_T="10 V")
    r = simulate(n, 0.4, 1e-3, n=4000, seed=1, mu=0.01)
    v = r["v"][200:]
    assert v.mean() == pytest.approx(0.01, abs=1e-4)
    assert v.var() == pytest.approx(25e-6, rel=0.02)
    d = v - v.mean()
    for lag in (5, 20, 40):
        found = (d[lag:] * d[:-lag]).mean() / 25e-6
        assert found == pytest.approx(np.exp(-lag * 1e-3 / 0.02), abs=0.02)


def test_stochastic_lif_fires_at_the_rate_of_siegert():
    r = simulate(models.stochastic_lif(), 1.0, 2e-5, n=200, seed=2, mu=0.015)
    bounds = [(x - 0.015) / 0.005 / np.sqrt(2) for x in (0.01, 0.02)]
    area = scipy.integrate.quad(lambda u: scipy.special.erfcx(-u), *bounds)[0]
    expected = 1 / (2e-3 + 0.02 * np.sqrt(np.pi) * area)
    found = sum(len(s[s > 0.2]) for s in r.spikes) / 200 / 0.8
    # a threshold that is looked at once a step is missed by 0.58 sigma sqrt(2 dt/tau): 3 % here
    assert found == pytest.approx(expected, rel=0.07)
    assert found < expected * 1.02


def test_rate_units_relax():
    for activation, f in (("tanh", np.tanh), ("relu", lambda x: np.maximum(x, 0))):
        n = models.rate(activation)
        r = simulate(n, 0.05, 1e-3, n=2, I=np.array([2.0, -1.0]))
        x = np.array([2.0, -1.0]) * (1 - np.exp(-r.t[:, None] / 0.01))
        np.testing.assert_allclose(r["x"], x, rtol=1e-12)
        rate = evaluate(n.expressions["r"], {"x": torch.from_numpy(r["x"])})
        np.testing.assert_allclose(rate, f(x), rtol=1e-12)
    with pytest.raises(UnknownName, match="relu"):
        models.rate("rely")


def test_wilson_cowan_has_a_limit_cycle_and_comes_to_rest_without_input():
    n = models.wilson_cowan()
    kick = {"E": 0.1, "I": 0.05}
    r = simulate(n, 0.4, 1e-4, n=2, initial=kick, P=np.array([1.25, 0.0]))
    exact = solve(n, r.t, initial=kick, P=1.25)
    np.testing.assert_allclose(r["E"][:500, 0], exact["E"][:500], atol=2e-3)
    late = r["E"][2000:]
    assert np.ptp(late[:, 0]) > 0.15
    np.testing.assert_allclose(np.ptp(late[:1000, 0]), np.ptp(late[1000:, 0]), rtol=0.02)
    assert np.abs(late[:, 1]).max() < 1e-3  # (0, 0) is a fixed point by construction


def test_wilson_cowan_has_two_stable_states_where_the_paper_says():
    """Figure 4 of the paper: three fixed points, the middle one a saddle."""
    n = models.wilson_cowan(
        c_1=12, c_2=4, c_3=13, c_4=11, a_e=1.2, theta_e=2.8, a_i=1, theta_i=4
    )  # fmt: skip
    r = simulate(n, 0.5, 1e-4, n=2, initial={"E": np.array([0.0, 0.5]), "I": np.array([0.0, 0.2])})

    def s(x, a, th):
        return 1 / (1 + np.exp(-a * (x - th))) - 1 / (1 + np.exp(a * th))

    def rates(y):
        return [
            -y[0] + (1 - y[0]) * s(12 * y[0] - 4 * y[1], 1.2, 2.8),
            -y[1] + (1 - y[1]) * s(13 * y[0] - 11 * y[1], 1.0, 4.0),
        ]

    ends = np.stack([r["E"][-1], r["I"][-1]], 1)
    for end in ends:
        np.testing.assert_allclose(rates(end), 0, atol=1e-6)
    assert ends[1, 0] - ends[0, 0] > 0.2
