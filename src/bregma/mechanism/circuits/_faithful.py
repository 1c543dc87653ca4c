"""How faithful parts of a network are to the whole, and how they grow from the answer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from bregma.errors import NotIdentifiable
from bregma.mechanism.circuits._contrast import Metric, Pairs
from bregma.mechanism.circuits._graph import Graph, Kept


class Judge:
    """How faithful subgraphs are on some pairs.

    graph, pairs, metric : what is measured.

    Raises NotIdentifiable where the network does not tell clean from corrupt inputs.
    """

    def __init__(self, graph: Graph, pairs: Pairs, metric: Metric) -> None:
        self.graph, self.pairs, self.metric = graph, pairs, metric
        none = np.zeros_like(graph.joined)
        self.corrupt, self.whole = self._measured([none, graph.joined])
        check_total(self.whole, self.corrupt)

    def __call__(self, *subgraphs: Kept) -> list[float]:
        found = self._measured(subgraphs)
        return ((found - self.corrupt) / (self.whole - self.corrupt)).tolist()

    def _measured(self, subgraphs: Sequence[Kept]) -> Float[np.ndarray, " subgraph"]:
        return self.graph.measure(self.pairs, subgraphs, metric=self.metric).mean(1)


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
