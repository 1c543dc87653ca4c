"""The smallest circuit that is faithful, found on some pairs and tested on others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from bregma.errors import InvalidArgument
from bregma.mechanism.circuits._circuit import Circuit
from bregma.mechanism.circuits._contrast import Metric, Pairs, logit_difference
from bregma.mechanism.circuits._faithful import Judge, grow, judging
from bregma.mechanism.circuits._graph import Graph, Kept
from bregma.run import progress as show_progress


def circuit(
    graph: Graph,
    pairs: Pairs,
    *,
    faithfulness: float = 0.85,
    metric: Metric = logit_difference,
    share: float = 0.5,
    prune: bool = True,
    progress: bool = False,
    seed: int,
    **how: Any,
) -> Circuit:
    """Find the smallest circuit that is as faithful as asked, on some pairs, and test it on others.

    Edges are scored by attribution, and ordered: from the answer on, always the one with the
    largest absolute score among those that lead into the ones before. From the whole network the
    last ones are taken away as long as the rest is faithful (in steps, then by bisection); then
    single edges are tried from the weakest on, and dropped where the rest stays faithful. So
    every edge that is left matters for the others. A smaller set may be enough by itself where
    corrupt activity fits together; it would not say how the network does it.

    Parameters
    ----------
    graph : Graph
        Of a transformer (`TransformerGraph`), of a spiking circuit (`SpikingGraph`), or your own.
    pairs : PromptPairs or Contrast
        Clean and corrupt inputs; they are split by their own `split`.
    faithfulness : float
        What is asked for, above 0.
    metric : callable
        Answers (pair, answer) and their pairs to one number each.
    share : float
        Of the pairs on which it is looked for.
    prune : bool
        Whether single edges are tried in the end: one run for each, and again until all that are
        left are needed. In a network of tens of thousands of edges this takes hours.
    progress : bool
        Show a bar where stderr is a terminal.
    seed : int
        Of the split.
    **how
        For `graph.attribute`, such as ``steps=10``.

    Returns
    -------
    Circuit
        With its faithfulness on the pairs of either part.

    Raises
    ------
    NotIdentifiable
        The network itself does not tell clean from corrupt inputs.
    InvalidArgument
        A faithfulness that is not above 0.

    References
    ----------
    Conmy et al. (2023), Towards automated circuit discovery for mechanistic interpretability.
    Hanna, Pezzelle and Belinkov (2024), Have faith in faithfulness.
    """
    if not faithfulness > 0:
        raise InvalidArgument(f"faithfulness must be above 0, not {faithfulness}")
    select, test = pairs.split(share, seed=seed)  # type: ignore[attr-defined]
    return found_on(graph, select, test, faithfulness, metric, prune, how, progress)


def found_on(
    graph: Graph,
    select: Pairs,
    test: Pairs,
    faithfulness: float,
    metric: Metric,
    prune: bool,
    how: Mapping[str, Any],
    progress: bool = False,
) -> Circuit:
    """The circuit that is looked for on these pairs, and tested on those."""

    def search(other: Graph) -> tuple[Kept, Float[np.ndarray, "sender receiver"], float]:
        with judging(other, select, metric) as judge:
            scores = other.attribute(select, metric=metric, **how)
            kept = _smallest(judge, np.abs(scores), faithfulness)
            if prune:
                kept = _pruned(judge, kept, np.abs(scores), faithfulness, progress)
            return kept, scores, judge(kept)[0]

    kept, scores, selected = search(graph)
    with judging(graph, test, metric) as judge:
        [tested] = judge(kept)
    return Circuit(
        graph, kept, scores, selected, tested, test, metric, lambda other: search(other)[0]
    )


def _smallest(judge: Judge, strength: Float[np.ndarray, "sender receiver"], wanted: float) -> Kept:
    """What is left of the whole where edges are taken away as long as the rest is faithful."""

    def largest(size: int) -> Kept:
        return grow(judge.graph, strength, size)

    n = int(judge.graph.joined.sum())
    sizes = np.unique(np.geomspace(1, n, 12).round().astype(int)).tolist()
    found = judge(*map(largest, sizes))
    failed = [size for size, f in zip(sizes[:-1], found[:-1], strict=True) if f < wanted]
    low = max(failed, default=0)
    high = min(size for size in sizes if size > low)
    while high - low > 1:
        middle = (low + high) // 2
        [f] = judge(largest(middle))
        low, high = (low, middle) if f >= wanted else (middle, high)
    return largest(high)


def _pruned(
    judge: Judge,
    kept: Kept,
    strength: Float[np.ndarray, "sender receiver"],
    wanted: float,
    progress: bool,
) -> Kept:
    """Drop edges from the weakest on, until each one that is left is needed."""
    before = np.zeros_like(kept)
    while not np.array_equal(before, kept):
        before = kept
        order = sorted(map(tuple, np.argwhere(before)), key=lambda at: strength[at])
        for at in show_progress(order, "trying single edges", show=progress):
            if not kept[at]:
                continue
            less = kept.copy()
            less[at] = False
            less = _leading(judge.graph, less)
            if less.any() and judge(less)[0] >= wanted:
                kept = less
    return kept


def _leading(graph: Graph, kept: Kept) -> Kept:
    """Without the edges from which nothing leads to the answer."""
    while True:
        senders: Any = kept.any(axis=1)
        alive = np.array([owner == -1 or bool(senders[owner]) for owner in graph.owners])
        less = kept & alive
        if np.array_equal(less, kept):
            return kept
        kept = less
