"""Circuits are looked for in networks whose circuits are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import hypergeom
from small_nets import difference, net, pairs

from bregma.datasets import wired_families, wired_induction, wired_scenes
from bregma.errors import InvalidArgument, NotIdentifiable
from bregma.mechanism import Contrast, TransformerGraph, circuit, overlap, path_patch
from bregma.mechanism.circuits._faithful import grow
from bregma.run import derive


@pytest.fixture(scope="module")
def induction():
    wired = wired_induction(64, seed=0)
    return wired, TransformerGraph(wired.net, batch_size=64)


@pytest.fixture(scope="module")
def found(induction):
    wired, graph = induction
    return circuit(graph, wired.tasks["induction"], faithfulness=0.95, seed=0)


@pytest.mark.parametrize("steps", [1, None])
def test_the_wired_circuit_is_found(induction, steps):
    wired, graph = induction
    got = circuit(graph, wired.tasks["induction"], faithfulness=0.95, steps=steps, seed=1)
    assert set(got.edges) == wired.circuits["induction"]
    assert got.selected == pytest.approx(1, abs=1e-4)
    assert got.tested == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(("make", "task"), [(wired_scenes, "indirect_object"),
                                            (wired_families, "agreement")])  # fmt: skip
def test_larger_wired_circuits_are_found(make, task):
    wired = make(8, seed=0)
    graph = TransformerGraph(wired.net, batch_size=8)
    got = circuit(graph, wired.tasks[task], faithfulness=0.95, seed=0)
    assert set(got.edges) == wired.circuits[task]


def test_other_tasks_show_how_specific_it_is():
    wired = wired_families(24, seed=0)
    graph = TransformerGraph(wired.net, batch_size=24)
    formal = circuit(graph, wired.tasks["agreement"], steps=1, seed=0)
    assert formal.faithfulness(wired.tasks["licensing"]) > 0.8
    assert formal.faithfulness(wired.tasks["capital"]) < 0.2


@pytest.mark.parametrize("digits", [1, 6])  # with one digit there are ties
def test_circuits_grow_from_the_answer_by_the_strongest_edge(digits):
    graph = TransformerGraph(net(layers=3))
    for seed in range(10):
        rng = np.random.default_rng(seed)
        strength = rng.random(graph.joined.shape).round(digits)
        kept, leading = np.zeros_like(graph.joined), graph.joined & (graph.owners == -1)
        for _ in range(rng.integers(1, graph.joined.sum())):
            best = int(np.where(leading & ~kept, strength, -1).argmax())
            kept.flat[best] = True
            leading |= graph.joined & (graph.owners == best // kept.shape[1])
        assert (grow(graph, strength, int(kept.sum())) == kept).all()
    assert (grow(graph, strength, 10**6) == graph.joined).all()


def test_batches_and_many_measures_change_nothing():
    model, some = net(layers=2), pairs(12)
    kept = TransformerGraph(model).joined
    kept = kept & (np.random.default_rng(0).random(kept.shape) < 0.5)
    found = []
    for batch_size in (12, 5):  # with one batch, what corrupt inputs send is kept
        graph = TransformerGraph(model, batch_size=batch_size)
        with graph.measuring(some) as measure:
            found += [measure([kept]), measure([kept, graph.joined])[:1]]
        found.append(graph.measure(some, [kept]))
    for one in found:
        np.testing.assert_allclose(one, found[0], rtol=1e-4, atol=1e-5)


def test_every_edge_that_is_left_matters():
    model, some = net(layers=2), pairs(24)
    graph = TransformerGraph(model)
    gains = difference(model, some.clean, some) > difference(model, some.corrupt, some)
    right, wrong = (torch.where(gains, a, b) for a, b in ((some.right, some.wrong),
                                                          (some.wrong, some.right)))  # fmt: skip
    asked = Contrast(some.clean, some.corrupt, right, wrong)
    got = circuit(graph, asked, faithfulness=0.9, seed=0)
    select, _ = asked.split(0.5, seed=0)
    assert got.faithfulness(select) == pytest.approx(got.selected)
    assert got.selected >= 0.9
    for at in np.argwhere(got.kept):
        less = got.kept.copy()
        less[tuple(at)] = False
        none, whole, part = graph.measure(select, [less & False, graph.joined, less]).mean(1)
        assert (part - none) / (whole - none) < 0.9


def test_evidence_names_its_nulls(found):
    evidence = found.evidence(n=39, n_null_networks=3, seed=0)
    assert evidence.normalised == pytest.approx(found.tested)
    assert evidence.score == pytest.approx(evidence.ceiling.lower * found.tested)
    reached = (evidence.null.values >= evidence.score * (1 - 1e-9)).sum()
    assert evidence.p_value == pytest.approx((1 + reached) / 40)
    assert np.mean(evidence.null.values) < evidence.score / 3
    assert len(evidence.system_null.values) == 3
    assert evidence.n["edges"] == 5
    with pytest.raises(InvalidArgument, match="1 or more"):
        found.evidence(n=0, seed=0)


def test_in_null_networks_a_circuit_is_looked_for_in_the_same_way(induction):
    """Winners are compared with winners: else a network that learned nothing would look special."""
    wired, graph = induction
    asked = wired.tasks["induction"]
    got = circuit(graph, asked, seed=0)
    null = got.evidence(n=1, n_null_networks=3, seed=5).system_null
    n_found = 0
    for i, gain in enumerate(null.values):
        twin = graph.again(derive(5, "null network", i))
        try:
            other = circuit(twin, asked, seed=0)
        except NotIdentifiable:  # on the pairs to find it, or on those to test it
            assert gain <= 0
            continue
        before, after = twin.measure(other.test, [other.kept & False, other.kept]).mean(1)
        assert gain == pytest.approx(after - before, rel=1e-6)
        n_found += 1
    assert 0 < n_found < 3


def test_nodes_and_table(induction, found):
    wired, _ = induction
    assert set(found.nodes) == {"embed", *wired.heads("induction")}
    table = found.to_frame()
    assert set(zip(table["sender"], table["receiver"], strict=True)) == set(found.edges)
    assert table["score"].abs().is_monotonic_decreasing


def test_overlap_is_that_of_two_draws():
    wired = wired_families(16, seed=0)
    graph = TransformerGraph(wired.net, batch_size=16)
    one, two, three = (
        circuit(graph, wired.tasks[task], steps=1, seed=0)
        for task in ("agreement", "licensing", "capital")
    )
    same, apart = overlap(one, two), overlap(one, three)
    assert same.iou > 0.5 > apart.iou
    n, a, b = len(graph.edges), len(one.edges), len(two.edges)
    chances = [hypergeom(n, a, b).pmf(k) for k in range(same.n_shared, min(a, b) + 1)]
    assert same.p_value == pytest.approx(sum(chances))
    assert same.expected == pytest.approx(a * b / n)
    assert overlap(one, two, "nodes").n_shared >= 2
    other = TransformerGraph(net())
    stranger = replace(one, graph=other)
    with pytest.raises(InvalidArgument, match="other parts"):
        overlap(one, stranger)
    with pytest.raises(InvalidArgument, match="edges"):
        overlap(one, two, "paths")


def test_path_patching_walks_the_wired_circuit(induction):
    """From the answer backwards, the sender with the largest effect is the wired one."""
    wired, _ = induction
    asked = wired.tasks["induction"]
    [(head, _)] = [e for e in wired.circuits["induction"] if e[1] == "logits"]
    direct = path_patch(wired.net, asked, "logits").to_frame()
    assert direct["sender"][0] == head
    assert direct["effect"].abs()[1:].max() < 1e-3
    before = path_patch(wired.net, asked, f"{head}.k").to_frame()
    assert (before["sender"][0], f"{head}.k") in wired.circuits["induction"]
    assert before["effect"].abs()[1:].max() < 1e-3


def test_errors(induction):
    wired, graph = induction
    asked = wired.tasks["induction"]
    with pytest.raises(InvalidArgument, match="faithfulness"):
        circuit(graph, asked, faithfulness=0.0, seed=0)
    alike = Contrast(asked.clean, asked.clean, asked.right, asked.wrong)
    with pytest.raises(NotIdentifiable, match="does not do the task"):
        circuit(graph, alike, seed=0)
    with pytest.raises(InvalidArgument, match="leaves nothing"):
        circuit(graph, alike[:1], seed=0)
    with pytest.raises(InvalidArgument, match="one shape"):
        Contrast(torch.zeros(2, 3), torch.zeros(2, 4), torch.zeros(2).long(), torch.ones(2).long())
    with pytest.raises(InvalidArgument, match="number of an answer"):
        Contrast(torch.zeros(2, 3), torch.zeros(2, 3), torch.zeros(2), torch.ones(2).long())
