"""The circuit that is found in a spiking network is the one that was built into it."""

from __future__ import annotations

import numpy as np
import pytest

from bregma.dynamics import (
    AllToAll,
    FromMatrix,
    Network,
    Neuron,
    Poisson,
    Population,
    Projection,
    Synapse,
)
from bregma.errors import InvalidArgument, UnknownName
from bregma.mechanism import Contrast, SpikingGraph, circuit
from bregma.recording import Stimuli
from bregma.system import Ablate, CircuitSystem

N = 20
LIF = Neuron(
    """dv/dt = (-v + g)/tau
    dg/dt = -g/tau_s""",
    spike="v > 1", reset="v = 0", refractory="2 ms", params={"tau": "20 ms", "tau_s": "5 ms"},
)  # fmt: skip


def kick(weight: float) -> Synapse:
    return Synapse(on_pre="g += w", params={"w": weight})


def sides(n_post: int) -> FromMatrix:
    """Either half of a population to the same half of another."""
    return FromMatrix(np.kron(np.eye(2), np.ones((N // 2, n_post // 2))))


@pytest.fixture(scope="module")
def system():
    """Which side is shown goes from S over R to O; D and H are driven, but do not know it."""
    network = Network(
        {"S": Population(Poisson(0), N), "R": Population(LIF, N), "D": Population(LIF, N),
         "H": Population(LIF, N), "O": Population(LIF, 2)},
        [Projection("S", "R", kick(0.5), sides(N)),
         Projection("R", "O", kick(0.4), sides(2), delay="1.5 ms"),
         Projection("S", "D", kick(0.3), AllToAll()),
         Projection("D", "O", kick(0.2), AllToAll(), delay="1*ms + 1*ms*rand"),
         Projection("D", "H", kick(0.3), AllToAll()),
         Projection("H", "R", kick(-0.1), AllToAll()),
         Projection("D", "D", kick(-0.05), AllToAll())],
    )  # fmt: skip
    return CircuitSystem(network, {"S": 60.0}, 0.2, seed=0, window=(0.05, 0.2), dt=5e-4)


def shown(n: int) -> Contrast:
    side = np.arange(n) % 2
    left = np.repeat(np.arange(2) == side[:, None], N // 2, axis=1).astype(float)
    return Contrast(left, left[:, ::-1].copy(), side, 1 - side)


def lead(rates: np.ndarray, pairs: Contrast) -> np.ndarray:
    rows = np.arange(len(pairs))
    return rates[rows, pairs.right.numpy()] - rates[rows, pairs.wrong.numpy()]


def answers(system: CircuitSystem, stimuli: np.ndarray) -> np.ndarray:
    return system.record(Stimuli(np.asarray(stimuli)), repeats=2).values[:, -2:].reshape(
        len(stimuli), 2, 2).mean(1)  # fmt: skip


def test_all_edges_are_the_circuit_and_no_edge_is_the_other_stimulus(system):
    pairs = shown(4)
    graph = SpikingGraph(system, "O", repeats=2)
    everything, nothing = graph.measure(pairs, [graph.joined, graph.joined & False])
    np.testing.assert_array_equal(everything, lead(answers(system, pairs.clean), pairs))
    np.testing.assert_array_equal(nothing, lead(answers(system, pairs.corrupt), pairs))
    assert everything.mean() > 5 > -5 > nothing.mean()


def test_the_built_in_path_is_found(system):
    graph = SpikingGraph(system, "O")
    assert set(graph.edges) == {("S", "R"), ("S", "D"), ("R", "O"), ("D", "O"), ("D", "H"),
                                ("H", "R"), ("D", "D")}  # fmt: skip
    found = circuit(graph, shown(8), faithfulness=0.8, seed=0)
    assert found.edges == [("S", "R"), ("R", "O")]
    assert found.tested > 0.6
    evidence = found.evidence(n=5, seed=0)
    assert evidence.score > evidence.null.values.mean()


def test_a_null_circuit_has_the_same_parts_and_other_synapses(system):
    graph = SpikingGraph(system, "O")
    twin = graph.again(1)
    assert twin.edges == graph.edges
    own, other = (g.system._trials.plan.stored.projections[0] for g in (graph, twin))
    assert len(own.targets) == len(other.targets)
    assert not np.array_equal(own.targets, other.targets)


def test_one_edge_carries_what_its_sender_does_for_the_other_stimulus(system):
    """Into O from R' alone: what O does when R is replayed from the corrupt run."""
    pairs, graph = shown(2), SpikingGraph(system, "O")
    cut = graph.joined & ~graph.mask([("R", "O")])
    [got] = graph.measure(pairs, [cut])
    only = np.zeros_like(graph.joined) | graph.mask([("S", "D"), ("D", "O"), ("D", "D")])
    [same] = graph.measure(pairs, [only])  # R hears S' where it is not heard itself
    np.testing.assert_array_equal(got, same)


def test_errors(system):
    with pytest.raises(UnknownName, match="projected to"):
        SpikingGraph(system, "S")
    with pytest.raises(InvalidArgument, match="perturbed already"):
        SpikingGraph(system.perturb(Ablate("R")), "O")
    with pytest.raises(InvalidArgument, match="repeats"):
        SpikingGraph(system, "O", repeats=0)
    graph = SpikingGraph(system, "O")
    with pytest.raises(InvalidArgument, match="shape"):
        graph.measure(shown(2), [np.ones((1, 1), bool)])
    with pytest.raises(InvalidArgument, match="no gradients"):
        circuit(graph, shown(8), steps=5, seed=0)
