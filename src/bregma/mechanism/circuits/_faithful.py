"""How faithful parts of a network are to the whole, and how they grow from the answer."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from jaxtyping import Float

from bregma.errors import NotIdentifiable
from bregma.mechanism.circuits._contrast import Metric, Pairs
from bregma.mechanism.circuits._graph import Graph, Kept, Measure


class Judge:
    """How faithful subgraphs are.

    measure : of some pairs, by a graph.

    Raises NotIdentifiable where the network does not tell clean from corrupt inputs.
    """

    def __init__(self, graph: Graph, measure: Measure) -> None:
        self.graph, self._measure = graph, measure
        none = np.zeros_like(graph.joined)
        self.corrupt, self.whole = self._measured([none, graph.joined])
        check_total(self.whole, self.corrupt)

    def __call__(self, *subgraphs: Kept) -> list[float]:
        found = self._measured(subgraphs)
        return ((found - self.corrupt) / (self.whole - self.corrupt)).tolist()

    def _measured(self, subgraphs: Sequence[Kept]) -> Float[np.ndarray, " subgraph"]:
        return self._measure(subgraphs).mean(1)


@contextmanager
def judging(graph: Graph, pairs: Pairs, metric: Metric) -> Iterator[Judge]:
    """A judge of subgraphs on some pairs, while nothing is learned."""
    with graph.measuring(pairs, metric=metric) as measure:
        yield Judge(graph, measure)


def check_total(whole: float, corrupt: float) -> None:
    if whole - corrupt <= 1e-9 * max(abs(whole), abs(corrupt), 1e-300):
        raise NotIdentifiable(
            f"the whole network measures {whole:.3g} for clean and {corrupt:.3g} for corrupt "
            "inputs: it does not do the task, so that no part of it can; train it, or take other "
            "pairs or another metric"
        )


def grow(graph: Graph, strength: Float[np.ndarray, "sender receiver"], size: int) -> Kept:
    """The strongest edges that lead to the answer, one after the other."""
    kept = np.zeros_like(graph.joined)
    open_ = list[tuple[float, int, int]]()  # edges that lead to what is kept, the strongest on top

    def let_in(sender: int) -> None:
        """Edges to a part; -1 is the answer."""
        for s, r in np.argwhere(graph.joined & (graph.owners == sender)).tolist():
            heapq.heappush(open_, (-float(strength[s, r]), s, r))

    let_in(-1)
    inside = {-1}
    for _ in range(size):
        if not open_:
            break
        _, sender, receiver = heapq.heappop(open_)
        kept[sender, receiver] = True
        if sender not in inside:
            inside.add(sender)
            let_in(sender)
    return kept
