"""The 20 regimes of figure 1 of Izhikevich (2004), one criterion each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from one_unit import simulate

from bregma.dynamics.models import izhikevich
from bregma.dynamics.models._izhikevich import REGIMES
from bregma.errors import UnknownName

DT = 5e-5


def pulses(amplitude, *windows):
    return lambda t: amplitude * any(a < t < b for a, b in windows)


def bistable(t):  # the second pulse comes at the phase at which it stops the spikes
    return 1.24 if 37.5 < t < 42.5 or 205 < t < 210 else 0.24


def slow_then_fast(t):
    return t / 25 if t < 200 else 0.0 if t < 300 else (t - 300) / 12.5 * 4 if t < 312.5 else 0.0


# regime -> current at a time in ms, as in the program of the paper
CURRENTS = {
    "tonic spiking": pulses(14, (10, 1e3)),
    "phasic spiking": pulses(0.5, (20, 1e3)),
    "tonic bursting": pulses(15, (22, 1e3)),
    "phasic bursting": pulses(0.6, (20, 1e3)),
    "mixed mode": pulses(10, (16, 1e3)),
    "spike frequency adaptation": pulses(30, (8.5, 1e3)),
    "class 1": lambda t: 0.075 * max(t - 30, 0),
    "class 2": lambda t: -0.5 + 0.015 * max(t - 30, 0),
    "spike latency": pulses(7.04, (10, 13)),
    "subthreshold oscillations": pulses(2, (20, 25)),
    "resonator": pulses(0.65, (40, 44), (60, 64), (280, 284), (320, 324)),
    "integrator": pulses(9, (9.1, 11.1), (14.1, 16.1), (70, 72), (80, 82)),
    "rebound spike": pulses(-15, (20, 25)),
    "rebound burst": pulses(-15, (20, 25)),
    "threshold variability": lambda t: pulses(1, (10, 15), (80, 85))(t) + pulses(-6, (70, 75))(t),
    "bistability": bistable,
    "depolarizing after-potential": pulses(20, (9, 11)),
    "accommodation": slow_then_fast,
    "inhibition-induced spiking": lambda t: 80.0 if t < 50 or t > 250 else 75.0,
    "inhibition-induced bursting": lambda t: 80.0 if t < 50 or t > 250 else 75.0,
}


@dataclass
class Seen:
    v: np.ndarray  # mV
    spikes: np.ndarray  # ms

    def at(self, begin, end):
        return self.v[round(begin / DT / 1e3) : round(end / DT / 1e3)]

    def count(self, begin, end):
        return int(((self.spikes > begin) & (self.spikes < end)).sum())

    @property
    def intervals(self):
        return np.diff(self.spikes)


@pytest.fixture(scope="module")
def seen():
    """All regimes as the units of one population."""
    each = [izhikevich(name) for name in CURRENTS]
    together = each[0].with_params(
        **{k: np.array([n.params[k] for n in each]) for k in each[0].params}
    )
    first = {k: np.array([n.first[k] for n in each]) for k in ("v", "u")}
    n = len(each)

    def currents(t):
        return np.array([f(1e3 * t) for f in CURRENTS.values()])

    r = simulate(together, 0.4, DT, n=n, initial=first, I=currents)
    return {k: Seen(r["v"][:, i], 1e3 * r.spikes[i]) for i, k in enumerate(CURRENTS)}


def bursts(spikes, gap):
    """Numbers of spikes between pauses longer than a gap."""
    return [len(b) for b in np.split(spikes, np.flatnonzero(np.diff(spikes) > gap) + 1)]


def test_all_regimes_are_here():
    assert set(CURRENTS) == set(REGIMES)
    with pytest.raises(UnknownName, match="tonic spiking"):
        izhikevich("tonic spikes")


def test_tonic_and_phasic(seen):
    assert seen["tonic spiking"].count(10, 400) > 10
    assert np.ptp(seen["tonic spiking"].intervals[4:]) < 1  # regular
    assert seen["phasic spiking"].count(0, 400) == 1
    tonic = bursts(seen["tonic bursting"].spikes, 15)
    assert len(tonic) > 5
    assert min(tonic[1:-1]) > 3
    assert len(bursts(seen["phasic bursting"].spikes, 15)) == 1
    assert len(seen["phasic bursting"].spikes) > 3
    mixed = bursts(seen["mixed mode"].spikes, 15)
    assert mixed[0] > 2
    assert set(mixed[1:]) == {1}


def test_adaptation_and_excitability(seen):
    intervals = seen["spike frequency adaptation"].intervals
    assert intervals[-1] > 5 * intervals[0]
    assert seen["spike frequency adaptation"].count(200, 400) > 3  # it goes on
    one, two = 1e3 / seen["class 1"].intervals, 1e3 / seen["class 2"].intervals
    assert one[0] < 30  # from low rates up with the ramp
    assert one[-1] > 3 * one[0]
    assert two[0] > 45  # at once at its rate


def test_latency_and_oscillations(seen):
    assert seen["spike latency"].count(0, 13.5) == 0
    assert seen["spike latency"].count(13.5, 25) == 1  # long after the pulse
    after = seen["subthreshold oscillations"].at(40, 200)
    assert len(seen["subthreshold oscillations"].spikes) == 1
    turns = np.flatnonzero(np.diff(np.sign(after - after[-1])))
    assert len(turns) > 4


def test_resonator_and_integrator(seen):
    assert seen["resonator"].count(0, 270) == 0  # pulses 20 ms apart
    assert seen["resonator"].count(320, 350) == 1  # pulses 40 ms apart, its own period
    assert seen["integrator"].count(0, 30) == 1  # pulses 5 ms apart
    assert seen["integrator"].count(70, 100) == 0  # pulses 10 ms apart


def test_rebound_and_threshold(seen):
    assert seen["rebound spike"].count(0, 25) == 0
    assert len(seen["rebound spike"].spikes) == 1
    assert seen["rebound burst"].count(0, 25) == 0
    assert seen["rebound burst"].count(25, 200) > 4
    assert seen["threshold variability"].count(0, 70) == 0  # the same pulse does nothing at first
    assert seen["threshold variability"].count(80, 100) == 1  # and fires after inhibition


def test_bistability(seen):
    """A pulse starts the spikes and another one stops them; there is one current all the time."""
    s = seen["bistability"]
    assert s.count(0, 37) == 0
    assert s.count(42, 205) > 3
    assert s.count(210, 400) == 0


def test_depolarizing_after_potential(seen):
    s = seen["depolarizing after-potential"]
    assert len(s.spikes) == 1
    assert s.at(11.2, 30).max() > -56  # 14 mV above rest
    assert s.at(40, 50)[-1] == pytest.approx(-70, abs=0.1)


def test_accommodation(seen):
    """A slow ramp to 8 does nothing, a fast one to 4 fires."""
    assert seen["accommodation"].count(0, 300) == 0
    assert seen["accommodation"].count(300, 320) == 1


def test_inhibition_that_excites(seen):
    for name in ("inhibition-induced spiking", "inhibition-induced bursting"):
        assert seen[name].count(0, 50) == 0
        assert seen[name].count(75, 250) > 2  # while the current is lower
        assert seen[name].count(290, 400) == 0
    assert max(bursts(seen["inhibition-induced spiking"].spikes, 15)) == 1
    assert min(bursts(seen["inhibition-induced bursting"].spikes, 15)) > 3
