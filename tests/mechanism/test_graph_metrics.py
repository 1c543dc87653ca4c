"""Metrics of circuits as graphs, against formulas that are written out."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_nets import net, pairs

from bregma.errors import InvalidArgument
from bregma.mechanism import TransformerGraph, graph_metrics, strongest_edges

GRAPH = TransformerGraph(net(layers=2))


def by_hand(graph, kept):
    """Everything from the adjacency matrix."""
    senders = [*graph.senders, "answer"]
    a = np.zeros((len(senders),) * 2)
    for s, r in np.argwhere(kept):
        to = graph.owners[r]
        a[s, to if to >= 0 else len(senders) - 1] = 1
    used = a.any(0) | a.any(1)
    a = a[np.ix_(used, used)]
    n, u = len(a), np.maximum(a, a.T)
    distance = np.where(u > 0, 1.0, np.inf)
    for k in range(n):
        distance = np.minimum(distance, distance[:, [k]] + distance[[k]])
    degree, triangles = u.sum(1), np.diag(u @ u @ u) / 2
    possible = degree * (degree - 1) / 2
    core = max(
        min(u[np.ix_(part, part)].sum(1))
        for size in range(1, n + 1)
        for part in map(list, combinations(range(n), size))
    )
    out = a.sum(1, keepdims=True)
    step = np.where(out > 0, a / np.maximum(out, 1), 1 / n)
    rank = np.linalg.solve(np.eye(n) - 0.85 * step.T, np.full(n, 0.15 / n))
    values, vectors = np.linalg.eigh(u)
    depth, walk = 0, a
    while walk.any():
        depth, walk = depth + 1, walk @ a
    return {
        "nodes": n,
        "links": a.sum(),
        "density": a.sum() / (n * (n - 1) / 2),
        "degree": degree.max() / (n - 1),
        "pagerank": rank.max(),
        "eigenvector": np.abs(vectors[:, values.argmax()]).max(),
        "core": core,
        "clustering": np.where(possible > 0, triangles / np.maximum(possible, 1), 0).mean(),
        "efficiency": (1 / distance[~np.eye(n, dtype=bool)]).mean(),
        "depth": depth,
    }


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), size=st.integers(1, 44))
def test_metrics_are_their_formulas(seed, size):
    scores = np.random.default_rng(seed).standard_normal(GRAPH.joined.shape)
    kept = strongest_edges(GRAPH, scores, size)
    got, want = graph_metrics(GRAPH, kept), by_hand(GRAPH, kept)
    assert set(got) == {*want, "modularity"}
    for name, value in want.items():
        assert got[name] == pytest.approx(value, abs=1e-5), name
    assert -0.5 <= got["modularity"] < 1


def test_a_chain_by_hand():
    kept = GRAPH.mask([("embed", "0.h0.q"), ("embed", "0.h0.v"), ("0.h0", "1.mlp"),
                       ("1.mlp", "logits")])  # fmt: skip
    got = graph_metrics(GRAPH, kept)
    assert (got["nodes"], got["links"], got["depth"], got["core"]) == (4, 3, 3, 1)
    assert got["density"] == 0.5
    assert got["degree"] == pytest.approx(2 / 3)
    assert got["efficiency"] == pytest.approx((3 * 1 + 2 / 2 + 1 / 3) / 6)
    # Two communities of two: each 1/3 of the links, with half of the ends.
    assert got["modularity"] == pytest.approx(2 * (1 / 3 - 0.25))
    assert got["eigenvector"] == pytest.approx(np.sin(2 * np.pi / 5) / np.sqrt(2.5))


def test_strongest_edges_lead_to_the_answer():
    scores = GRAPH.attribute(pairs(4), steps=1)
    before = np.zeros_like(GRAPH.joined)
    for size in range(1, len(GRAPH.edges) + 1):
        kept = strongest_edges(GRAPH, scores, size)
        assert kept.sum() == size
        assert (before & ~kept).sum() == 0
        [new] = np.argwhere(kept & ~before)
        senders = kept.any(1)
        heard = np.array([owner < 0 or senders[owner] for owner in GRAPH.owners])
        assert heard[new[1]]
        rest = (
            GRAPH.joined
            & ~before
            & np.array([owner < 0 or before.any(1)[owner] for owner in GRAPH.owners])
        )
        assert abs(scores[tuple(new)]) == np.abs(scores[rest]).max()
        before = kept
    assert strongest_edges(GRAPH, scores, 10_000).sum() == len(GRAPH.edges)


def test_what_is_wrong_is_said():
    scores = np.zeros(GRAPH.joined.shape)
    with pytest.raises(InvalidArgument, match="size must be"):
        strongest_edges(GRAPH, scores, 0)
    with pytest.raises(InvalidArgument, match="finite"):
        strongest_edges(GRAPH, scores * np.nan, 3)
    with pytest.raises(InvalidArgument, match="shape"):
        strongest_edges(GRAPH, scores[:2], 3)
    with pytest.raises(InvalidArgument, match="at least one"):
        graph_metrics(GRAPH, GRAPH.joined & False)
    with pytest.raises(InvalidArgument, match="of its graph"):
        graph_metrics(GRAPH, ~GRAPH.joined)
