"""Many runs at once: the number of threads changes nothing; what does not fit is refused before."""

from __future__ import annotations

import numpy as np
import pytest

from bregma.dynamics import (
    AllToAll,
    Drive,
    FixedInDegree,
    FixedProbability,
    Network,
    Neuron,
    Population,
    Projection,
    Synapse,
    simulate,
    simulate_many,
)
from bregma.dynamics.running import _memory
from bregma.errors import InvalidArgument, UnknownName

LIF = Neuron(
    "dv/dt = (I - v)/tau", spike="v > 1", reset="v = 0", params={"tau": "20 ms"},
    init={"v": "rand"},
)  # fmt: skip
KICK = Synapse(on_pre="v += w", params={"w": 0.05})


def network(current=1.1):
    return Network(
        {"E": Population(LIF, 40)},
        [Projection("E", "E", KICK, FixedProbability(0.2), delay="1 ms")],
        [Drive("E", "I", current)],
    )


def check_equal(a, b):
    np.testing.assert_array_equal(a.spikes["E"].times, b.spikes["E"].times)
    np.testing.assert_array_equal(a.spikes["E"].unit_index, b.spikes["E"].unit_index)


@pytest.mark.parametrize("n_jobs", [1, 2, 5])
def test_runs_are_those_of_simulate_whatever_the_number_of_threads(n_jobs):
    found = simulate_many(network(), "200 ms", seeds=range(6), n_jobs=n_jobs)
    assert [r.seed for r in found] == list(range(6))
    for seed, r in enumerate(found):
        check_equal(r, simulate(network(), "200 ms", seed=seed))
    assert len({len(r.spikes["E"].times) for r in found}) > 1  # seeds differ


def test_networks_that_differ_run_side_by_side():
    networks = [network(i) for i in (0.9, 1.2, 2.0)]
    found = simulate_many(networks, "200 ms", seeds=[7, 7, 7], n_jobs=2, engine="cpu")
    for n, r in zip(networks, found, strict=True):
        check_equal(r, simulate(n, "200 ms", seed=7))
    rates = [r.rates["E"] for r in found]
    assert rates[0] < rates[1] < rates[2]


def test_the_first_error_comes_out():
    with pytest.raises(UnknownName, match="engine"):
        simulate_many(network(), 0.1, seeds=[1, 2, 3], engine="quick")
    with pytest.raises(InvalidArgument, match="2 networks, but 3 seeds"):
        simulate_many([network()] * 2, 0.1, seeds=[1, 2, 3])
    with pytest.raises(InvalidArgument, match="n_jobs"):
        simulate_many(network(), 0.1, seeds=[1], n_jobs=0)


def test_a_run_that_does_not_fit_is_refused_before_anything_is_made(monkeypatch):
    monkeypatch.setattr(_memory, "available_bytes", lambda: 8 * 2**30)
    crowd = Population(LIF, 200_000)
    n = Network({"E": crowd}, [Projection("E", "E", KICK, AllToAll())], [Drive("E", "I", 1.1)])
    with pytest.raises(InvalidArgument, match=r"596\.0 GiB and 8\.0 GiB are free; E->E needs most"):
        simulate(n, 1.0, seed=0)
    n = Network({"E": crowd}, drives=[Drive("E", "I", 1.1)])
    with pytest.raises(InvalidArgument, match=r"recording of E needs most \(14\.9 GiB\).*every="):
        simulate(n, 1.0, seed=0, record={"E": ["v"]})


@pytest.mark.parametrize("rule", [FixedProbability(0.1), FixedInDegree(100), AllToAll()])
def test_number_of_synapses_is_about_right(rule):
    n = Network({"E": Population(LIF, 1000)}, [Projection("E", "E", KICK, rule)])
    expected = len(rule.rows(1000, 1000, 1, 0, 1000).targets)
    assert abs(_memory.n_synapses(n.projections[0], n) / expected - 1) < 0.1


def test_free_memory_is_a_number_of_bytes_of_this_machine():
    assert 2**24 < _memory.available_bytes() < 2**62
