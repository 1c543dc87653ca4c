"""Circuits of several tasks, compared in networks whose circuits are known."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch
from small_nets import N_TOKENS, N_WORDS, difference, pairs, wild

from bregma.datasets import wired_families
from bregma.errors import InvalidArgument, NotIdentifiable, UnknownName
from bregma.mechanism import Contrast, TransformerGraph, compare_circuits
from bregma.mechanism.circuits._compare_circuits import SHARED, _carried

KINDS = {"agreement": "formal", "gender": "formal", "capital": "functional"}


def oriented(model, seed: int, n: int = 16) -> Contrast:
    """Pairs for which the network does what is asked."""
    some = pairs(n, seed)
    gains = difference(model, some.clean, some) > difference(model, some.corrupt, some)
    right, wrong = (
        torch.where(gains, a, b) for a, b in ((some.right, some.wrong), (some.wrong, some.right))
    )
    return Contrast(some.clean, some.corrupt, right, wrong)


def compared(transformers, device: str = "cpu"):
    """Two tasks of a small GPT-2 with wild weights."""
    config = transformers.GPT2Config(
        n_layer=1, n_head=3, n_embd=12, vocab_size=N_WORDS, n_positions=N_TOKENS,
        bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    model = wild(transformers.GPT2LMHeadModel(config))
    tasks = {name: oriented(model, seed) for seed, name in enumerate(("one", "two"))}
    graph = TransformerGraph(model.to(device), batch_size=16)
    return (
        graph,
        tasks,
        compare_circuits(graph, tasks, faithfulness=0.7, prune=False, n_random=2, seed=0),
    )


@pytest.fixture(scope="module")
def small(transformers):
    return compared(transformers)


@pytest.fixture(scope="module")
def wired():
    known = wired_families(4, n_heads=2, seed=0)
    graph = TransformerGraph(known.net, batch_size=4)
    tasks = {task: known.tasks[task] for task in KINDS}
    return known, compare_circuits(graph, tasks, steps=1, n_random=1, prune=False, seed=0)


def test_the_wired_circuits_and_their_tables(wired):
    known, got = wired
    for task, pair in got.circuits.items():
        for circuit in pair:
            assert set(circuit.edges) >= known.circuits[task]
    kinds = np.array([KINDS[task] for task in got.tasks])
    alike = kinds[:, None] == kinds
    np.testing.assert_allclose(got.tables["faithfulness"], alike, atol=0.05)
    for table in ("edge_iou", "recall", "node_iou"):
        assert got.tables[table][alike].min() > got.tables[table][~alike].max()


def test_tables_are_what_the_circuits_share(small):
    """Sets that are written out; each entry is a mean over halves the one and the other way."""
    _, _, got = small
    for i, a in enumerate(got.tasks):
        for j, b in enumerate(got.tasks):
            edges, nodes = [], []
            for k in (0, 1):
                one, other = got.circuits[a][k], got.circuits[b][1 - k]
                x, y = set(one.edges), set(other.edges)
                edges.append(len(x & y) / len(x | y))
                x, y = set(one.nodes), set(other.nodes)
                nodes.append(len(x & y) / len(x | y))
            assert got.tables["edge_iou"][i, j] == pytest.approx(np.mean(edges))
            assert got.tables["node_iou"][i, j] == pytest.approx(np.mean(nodes))
    assert 0 < got.tables["edge_iou"][0, 1] < 1


def test_faithfulness_is_measured_on_the_other_half(small):
    _, tasks, got = small
    for i, a in enumerate(got.tasks):
        halves = tasks[a].split(0.5, seed=0)
        for j, b in enumerate(got.tasks):
            both = [got.circuits[b][k].faithfulness(halves[1 - k]) for k in (0, 1)]
            assert got.tables["faithfulness"][i, j] == pytest.approx(np.mean(both), rel=1e-5)
    # On its own half a circuit is as faithful as was asked.
    assert min(c.selected for both in got.circuits.values() for c in both) >= 0.7


def test_expected_iou_is_the_mean_over_all_pairs_of_sets(small):
    graph, _, got = small
    other = copy(graph)
    few = np.flatnonzero(graph.joined.ravel())[:6]

    def part(which):
        kept = np.zeros_like(graph.joined)
        kept.flat[few[list(which)]] = True
        return replace(got.circuits["one"][0], graph=other, kept=kept)

    other.joined = part(range(6)).kept
    ious = [
        len({*a} & {*b}) / len({*a} | {*b})
        for a in combinations(range(6), 2)
        for b in combinations(range(6), 5)
    ]
    expected = SHARED["edge_iou_expected"](part((0, 1)), part((1, 2, 3, 4, 5)))
    assert expected == pytest.approx(np.mean(ious))


def test_recall_cuts_the_larger_one_to_its_strongest_edges(small):
    _, _, got = small
    one, other = got.circuits["one"][0], got.circuits["two"][0]
    scores = np.where(one.kept, 2.0, 1.0)
    both = replace(one, kept=one.kept | other.kept, scores=scores)
    assert SHARED["recall"](one, both) == SHARED["recall"](both, one) == 1


def test_table_and_groups(wired):
    _, got = wired
    frame = got.to_frame()
    assert len(frame) == 9
    row = frame[(frame["task"] == "capital") & (frame["circuit"] == "gender")]
    assert row["faithfulness"].item() == got.tables["faithfulness"][2, 1]
    found = got.separation("faithfulness", KINDS, seed=0)
    assert found.difference == pytest.approx(1, abs=0.1)
    assert found.null.n_arrangements == 3
    with pytest.raises(UnknownName, match="table"):
        got.separation("iou", KINDS, seed=0)
    with pytest.raises(UnknownName, match="capital"):
        got.separation("edge_iou", {"agreement": "a", "gender": "b"}, seed=0)


def test_the_same_seed_gives_the_same(small, transformers):
    _, _, got = small
    _, _, again = compared(transformers)
    for name, table in got.tables.items():
        np.testing.assert_array_equal(table, again.tables[name])


def test_strong_edges_are_as_many_and_know_no_task(small):
    graph, tasks, got = small
    strength = _carried(graph, tasks, {}, seed=0)
    assert (strength[~graph.joined] == 0).all()
    sums = [_carried(graph, {name: pairs}, {}, seed=0).sum() for name, pairs in tasks.items()]
    assert sums == pytest.approx([1, 1])  # each task counts alike
    swapped = {n: replace(p, right=p.wrong, wrong=p.right) for n, p in tasks.items()}
    np.testing.assert_array_equal(strength, _carried(graph, swapped, {}, seed=0))
    assert got.tables["strong"].shape == (2, 2)


def test_what_is_wrong_is_said(small):
    graph, tasks, _ = small
    with pytest.raises(InvalidArgument, match="2 tasks"):
        compare_circuits(graph, {"one": tasks["one"]}, seed=0)
    with pytest.raises(InvalidArgument, match="n_random"):
        compare_circuits(graph, tasks, n_random=0, seed=0)
    with pytest.raises(InvalidArgument, match="faithfulness above 0"):
        compare_circuits(graph, tasks, faithfulness=0.0, seed=0)
    one = tasks["one"]
    swapped = replace(one, right=one.wrong, wrong=one.right)
    with pytest.raises(NotIdentifiable, match="does not do the task"):
        compare_circuits(graph, {"wrong": swapped, **tasks}, steps=1, seed=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda_gives_what_the_cpu_gives(small, transformers):
    _, _, got = small
    _, _, there = compared(transformers, "cuda")
    for name in ("edge_iou", "faithfulness"):
        np.testing.assert_allclose(there.tables[name], got.tables[name], atol=1e-3)
