"""Synapses that are drawn at each spike do what the same synapses do from memory."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

from bregma.dynamics import (
    Drive,
    FixedInDegree,
    FixedOutDegree,
    FixedProbability,
    Network,
    Neuron,
    OnTheFly,
    Poisson,
    Population,
    Projection,
    Synapse,
    cut,
    estimate_memory,
    simulate,
)
from bregma.dynamics.network._plan import plan
from bregma.dynamics.network._state import initial_state
from bregma.dynamics.running._part import part_of
from bregma.dynamics.running._simulate import ENGINES
from bregma.errors import InvalidArgument

LIF = Neuron(
    "dv/dt = (I + g - v)/tau : 1 (unless refractory)\ndg/dt = -g/(5*ms)",
    spike="v > 1", reset="v = 0", refractory="2 ms", params={"tau": "20 ms"}, init={"v": "rand"},
)  # fmt: skip
EXCITE = Synapse(on_pre="g += w", params={"w": 0.3})
INHIBIT = Synapse(on_pre="g -= w*3; v -= 0.01", params={"w": 0.4})


def same(rule):
    return rule


def network(drawn, delay="0.7 ms"):
    """All kinds of rows: at random, none, all, as many for each, without oneself."""
    pairs = [
        ("E", "E", EXCITE, FixedProbability(0.1, self_connections=False)),
        ("E", "I", EXCITE, FixedProbability(1.0)),
        ("I", "E", INHIBIT, FixedOutDegree(7)),
        ("I", "I", INHIBIT, FixedOutDegree(5, self_connections=False)),
        ("P", "E", EXCITE, FixedProbability(0.0)),
        ("P", "I", EXCITE, FixedProbability(0.3)),
    ]
    sizes = {"E": 80, "I": 21}
    return Network(
        {n: Population(LIF, size) for n, size in sizes.items()}
        | {"P": Population(Poisson("40 Hz"), 30)},
        [Projection(pre, post, s, drawn(r), delay=delay) for pre, post, s, r in pairs],
        [Drive(n, "I", 1.1) for n in sizes],
    )


@pytest.mark.parametrize("delay", [0.0, "0.7 ms"])
def test_spikes_and_state_are_those_of_stored_synapses(delay):
    stored = simulate(network(same, delay), "100 ms", seed=2)
    drawn = simulate(network(OnTheFly, delay), "100 ms", seed=2)
    assert len(stored.spikes["E"].times) > 70
    for name, trains in stored.spikes.items():
        np.testing.assert_array_equal(drawn.spikes[name].times, trains.times)
        np.testing.assert_array_equal(drawn.spikes[name].unit_index, trains.unit_index)
    for name, value in stored.state.values.items():
        np.testing.assert_array_equal(drawn.state.values[name], value, err_msg=name)


def test_engines_agree():
    p = plan(network(OnTheFly), dt=1e-4, seed=2, dtype=np.float64)
    found = [importlib.import_module(ENGINES[n]).run(p, initial_state(p), 300) for n in ENGINES
             if n in ("cpu", "reference")]  # fmt: skip
    for name in p.populations:
        for a, b in zip(*(o.spikes[name.name] for o in found), strict=True):
            np.testing.assert_array_equal(a, b)


def test_nothing_is_stored():
    drawn = plan(network(OnTheFly), dt=1e-4, seed=2, dtype=np.float32)
    stored = plan(network(same), dt=1e-4, seed=2, dtype=np.float32)
    assert sum(len(q.targets) for q in drawn.projections) == 0
    assert {*estimate_memory(network(OnTheFly)).values()} == {0}
    for q, wanted in zip(drawn.stored.projections, stored.projections, strict=True):
        np.testing.assert_array_equal(q.indptr, wanted.indptr)
        np.testing.assert_array_equal(q.targets, wanted.targets)
    assert stored.stored is stored


def test_a_part_of_a_network_draws_its_own_targets():
    settings = {"dt": 1e-4, "seed": 2, "dtype": np.float32}
    for number in range(3):
        drawn, stored = (part_of(network(f), number, 3, **settings).plan for f in (OnTheFly, same))
        assert [q.drawn is not None for q in drawn.projections] == [True] * 6
        for q, wanted in zip(drawn.stored.projections, stored.projections, strict=True):
            np.testing.assert_array_equal(q.indptr, wanted.indptr)
            np.testing.assert_array_equal(q.targets, wanted.targets)
        engine, states = importlib.import_module(ENGINES["cpu"]), []
        for p in (drawn, stored):
            start = initial_state(p)
            recent = np.random.default_rng(0).random((7, 80)) < 0.1
            start.values["E elsewhere.recent"][:] = recent
            states.append(engine.run(p, start, 7).state.values)
        assert states[0]["E.g"].any()
        for name, value in states[1].items():
            np.testing.assert_array_equal(states[0][name], value, err_msg=name)


def test_memory_is_estimated_from_the_arrays():
    big = Network(
        {"E": Population(LIF, 20_000)},
        [Projection("E", "E", EXCITE, FixedProbability(0.01))],
        [Drive("E", "I", 1.0)],
    )
    (q,) = plan(big, dt=1e-4, seed=0, dtype=np.float32).projections
    (estimated,) = estimate_memory(big).values()
    assert 1.0 < estimated / q.targets.nbytes < 5.0


@pytest.mark.parametrize(
    ("synapse", "delay"),
    [
        (Synapse(on_pre="g += w", params={"w": "rand"}), 0),
        (Synapse("w", on_pre="g += w; w = 0.9*w", init={"w": 0.1}), 0),
        (Synapse(on_pre="g += 0.1*v_post"), 0),
        (Synapse(on_pre="g += 0.1*v_pre"), 0),
        (Synapse(summed={"I": "0.1*v_pre"}), 0),
        (Synapse("x (pre)", on_pre="g += 0.1; x += 1"), 0),
        (Synapse(on_pre="g += 0.1", on_post="g_post += 0.1"), 0),
        (EXCITE, "1*ms + 2*ms*rand"),
    ],
)
def test_synapses_that_differ_or_change_are_refused(synapse, delay):
    rule = OnTheFly(FixedProbability(0.1))
    n = Network(
        {"E": Population(LIF, 9)},
        [Projection("E", "E", synapse, rule, delay=delay)],
        [Drive("E", "I", 1.0)],
    )
    with pytest.raises(InvalidArgument, match="drawn on the fly"):
        plan(n, dt=1e-4, seed=0, dtype=np.float32)


def test_rules_without_rows_of_their_own_and_cuts_are_refused():
    with pytest.raises(InvalidArgument, match="FixedInDegree cannot"):
        OnTheFly(FixedInDegree(3))
    with pytest.raises(InvalidArgument, match="alike"):
        simulate(cut(network(OnTheFly), "E->E", pre=[0]), "1 ms", seed=0)
