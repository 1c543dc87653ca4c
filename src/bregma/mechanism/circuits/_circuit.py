"""The smallest part of a network that does what the whole does, found on one half and tested on
another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import stats

from bregma.errors import InvalidArgument, NotIdentifiable
from bregma.evidence import Ceiling, Evidence, Interval, Null, bootstrap_interval
from bregma.mechanism.circuits._contrast import Metric, Pairs, logit_difference
from bregma.mechanism.circuits._graph import Edge, Graph, Kept
from bregma.run import derive, spawn


@dataclass(frozen=True)
class Overlap:
    """What two circuits share.

    Parameters
    ----------
    n_shared : int
        How many edges or nodes.
    iou : float
        These as a share of all that are in either.
    expected : float
        How many two random sets of these sizes share on average.
    p_value : float
        Of as many or more by chance.
    """

    n_shared: int
    iou: float
    expected: float
    p_value: float


@dataclass(frozen=True)
class Circuit:
    """Edges of a graph that are enough for a task.

    Parameters
    ----------
    graph : Graph
        What it is part of.
    kept : bool array (sender, receiver)
        Its edges.
    scores : array (sender, receiver)
        What each edge of the graph was given by attribution.
    selected : float
        Faithfulness on the pairs on which it was found.
    tested : float
        Faithfulness on other pairs: the one to report.
    test : Pairs
        These pairs.
    metric : callable
        What is measured.
    search : callable
        From the graph of another network and a number of edges to those found in the same way.
    """

    graph: Graph = field(repr=False)
    kept: Kept = field(repr=False)
    scores: Float[np.ndarray, "sender receiver"] = field(repr=False)
    selected: float
    tested: float
    test: Pairs = field(repr=False)
    metric: Metric = field(repr=False)
    search: Callable[[Graph, int], Kept] = field(repr=False)

    @property
    def edges(self) -> list[Edge]:
        """Sender and receiver of each edge."""
        return self.graph.named(self.kept)

    @property
    def nodes(self) -> list[str]:
        """Senders that have an edge."""
        used = {sender for sender, _ in self.edges}
        used |= {self.graph.part_of(receiver) for _, receiver in self.edges}
        return [name for name in self.graph.senders if name in used]

    def faithfulness(self, pairs: Pairs) -> float:
        """How much of what the whole network does the circuit does, on any pairs.

        Parameters
        ----------
        pairs : PromptPairs or Contrast
            Of this task or of another one.

        Returns
        -------
        float
            0 where it does what the corrupt input makes the network do, 1 where it does what the
            whole does; not clipped.

        Raises
        ------
        NotIdentifiable
            The network itself does not tell clean from corrupt inputs.
        """
        return _Judge(self.graph, pairs, self.metric)(self.kept)[0]

    def to_frame(self) -> pd.DataFrame:
        """A row for each edge, largest score first.

        Returns
        -------
        DataFrame
            ``sender``, ``receiver``, ``score``.
        """
        table = pd.DataFrame(self.edges, columns=["sender", "receiver"])
        table["score"] = self.scores[self.kept]
        order = table["score"].abs().sort_values(ascending=False, kind="stable").index
        return table.loc[order].reset_index(drop=True)

    def evidence(
        self, *, n: int = 99, n_null_networks: int = 0, level: float = 0.95, seed: int
    ) -> Evidence:
        """Whether it does more than others of its size, and than those of null networks.

        Parameters
        ----------
        n : int
            How many random circuits with as many edges, all of which lead to the answer.
        n_null_networks : int
            In how many networks that learned nothing the best circuit with as many edges is
            looked for in the same way, on the same pairs.
        level : float
            Of the interval.
        seed : int
            Of what is random.

        Returns
        -------
        Evidence
            The score is what the circuit adds to the measure of corrupt inputs, on the pairs of
            the test; the ceiling is what the whole network adds, and the share of it the
            faithfulness.

        Raises
        ------
        NotIdentifiable
            The network itself does not tell clean from corrupt inputs.
        """
        if n < 1 or n_null_networks < 0:
            raise InvalidArgument("n must be 1 or more, and n_null_networks 0 or more")
        size = int(self.kept.sum())
        rng = spawn(seed, "random circuits")
        others = [grow(self.graph, rng.random(self.kept.shape), size) for _ in range(n)]
        none = np.zeros_like(self.kept)
        measured = self.graph.measure(
            self.test, [none, self.graph.joined, self.kept, *others], metric=self.metric
        )
        gains = measured[1:] - measured[0]
        whole, own = gains[0], gains[1]
        _check_total(measured[1].mean(), measured[0].mean())
        twins = []
        for i in range(n_null_networks):
            twin = self.graph.again(derive(seed, "null network", i))
            kept = self.search(twin, size)
            two = twin.measure(self.test, [none, kept], metric=self.metric)
            twins.append(float((two[1] - two[0]).mean()))
        score = float(own.mean())
        normalised = score / float(whole.mean())
        return Evidence(
            question=f"{size} edges ~ {self.graph.name}",
            brain=self.graph.name,
            model=f"circuit of {size} edges",
            score=score,
            null=Null.of(
                score,
                gains[2:].mean(1),
                exchanged="the circuit with random ones of as many edges that lead to the answer",
            ),
            interval=_interval(own, level, seed),
            ceiling=Ceiling(
                float(whole.mean()), float(whole.mean()), "whole network",
                "measure of clean less that of corrupt inputs, with all edges",
            ),
            normalised=normalised,
            # Of a ratio of two means: its first-order change with each pair.
            normalised_interval=_interval(
                normalised + (own - normalised * whole) / whole.mean(), level, seed
            ),
            system_null=Null.of(
                score,
                twins,
                exchanged="the network with ones of weights drawn anew, and the circuit with the "
                "best of theirs",
            )
            if twins
            else None,
            method="measure of the circuit on pairs that were not used to find it, less that of "
            "corrupt inputs",
            n={"pairs": len(own), "edges": size, "edges of the network": int(
                self.graph.joined.sum())},
            settings={"n": n, "n_null_networks": n_null_networks, "level": level},
            seed=seed,
            citations=("phipson2010permutation",),
        )  # fmt: skip


def circuit(
    graph: Graph,
    pairs: Pairs,
    *,
    faithfulness: float = 0.85,
    metric: Metric = logit_difference,
    share: float = 0.5,
    prune: bool = True,
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
        Whether single edges are tried in the end: one run for each.
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

    def search(other: Graph, size: int) -> Kept:
        return grow(other, np.abs(other.attribute(select, metric=metric, **how)), size)

    judge = _Judge(graph, select, metric)
    scores = graph.attribute(select, metric=metric, **how)
    kept = _smallest(judge, np.abs(scores), faithfulness)
    if prune:
        kept = _pruned(judge, kept, np.abs(scores), faithfulness)
    [selected], [tested] = judge(kept), _Judge(graph, test, metric)(kept)
    return Circuit(graph, kept, scores, selected, tested, test, metric, search)


def overlap(one: Circuit, other: Circuit, of: str = "edges") -> Overlap:
    """What two circuits share, against chance.

    Parameters
    ----------
    one, other : Circuit
        Of graphs with the same parts.
    of : {"edges", "nodes"}
        What is counted.

    Returns
    -------
    Overlap
        Against circuits of these sizes drawn independently (hypergeometric).

    Raises
    ------
    InvalidArgument
        Graphs with other parts, or nothing to count.
    """
    same = (one.graph.senders, one.graph.receivers) == (other.graph.senders, other.graph.receivers)
    if not same or (one.graph.joined != other.graph.joined).any():
        raise InvalidArgument("the circuits are of graphs with other parts; compare them by hand")
    if of not in ("edges", "nodes"):
        raise InvalidArgument(f"of={of!r} is neither 'edges' nor 'nodes'")
    a, b = (set(getattr(c, of)) for c in (one, other))
    n = len(one.graph.edges if of == "edges" else one.graph.senders)
    if not a or not b:
        raise InvalidArgument(f"a circuit without {of} shares nothing")
    shared, chance = len(a & b), stats.hypergeom(n, len(a), len(b))
    return Overlap(shared, shared / len(a | b), float(chance.mean()), float(chance.sf(shared - 1)))


def grow(graph: Graph, strength: Float[np.ndarray, "sender receiver"], size: int) -> Kept:
    """The strongest edges that lead to the answer, one after the other."""
    kept = np.zeros_like(graph.joined)
    open_ = graph.joined & (graph.owners == -1)
    strength = np.where(graph.joined, strength, -np.inf)
    for _ in range(min(size, int(graph.joined.sum()))):
        left = np.where(open_ & ~kept, strength, -np.inf)
        best = int(left.argmax())
        if left.flat[best] == -np.inf:
            break
        kept.flat[best] = True
        sender = best // kept.shape[1]
        open_ |= graph.joined & (graph.owners == sender)
    return kept


def _smallest(judge: _Judge, strength: Float[np.ndarray, "sender receiver"], wanted: float) -> Kept:
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
    judge: _Judge, kept: Kept, strength: Float[np.ndarray, "sender receiver"], wanted: float
) -> Kept:
    """Drop edges from the weakest on, until each one that is left is needed."""
    before = np.zeros_like(kept)
    while not np.array_equal(before, kept):
        before = kept
        for at in sorted(map(tuple, np.argwhere(before)), key=lambda at: strength[at]):
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


class _Judge:
    """How faithful subgraphs are on some pairs.

    graph, pairs, metric : what is measured.

    Raises NotIdentifiable where the network does not tell clean from corrupt inputs.
    """

    def __init__(self, graph: Graph, pairs: Pairs, metric: Metric) -> None:
        self.graph, self.pairs, self.metric = graph, pairs, metric
        none = np.zeros_like(graph.joined)
        self.corrupt, self.whole = self._measured([none, graph.joined])
        _check_total(self.whole, self.corrupt)

    def __call__(self, *subgraphs: Kept) -> list[float]:
        found = self._measured(subgraphs)
        return ((found - self.corrupt) / (self.whole - self.corrupt)).tolist()

    def _measured(self, subgraphs: Sequence[Kept]) -> Float[np.ndarray, " subgraph"]:
        return self.graph.measure(self.pairs, subgraphs, metric=self.metric).mean(1)


def _check_total(whole: float, corrupt: float) -> None:
    if whole - corrupt <= 1e-9 * max(abs(whole), abs(corrupt), 1e-300):
        raise NotIdentifiable(
            f"the whole network measures {whole:.3g} for clean and {corrupt:.3g} for corrupt "
            "inputs: it does not do the task, so that no part of it can; train it, or take other "
            "pairs or another metric"
        )


def _interval(samples: Float[np.ndarray, " pair"], level: float, seed: int) -> Interval:
    """Of the mean over pairs."""
    low, high = float(samples.min()), float(samples.max())
    if len(samples) < 3 or high - low <= 1e-9 * max(abs(low), abs(high)):
        return Interval(low, high, level, "all pairs that there are")
    return bootstrap_interval(samples, level=level, n_draws=1999, seed=derive(seed, "pairs"))
