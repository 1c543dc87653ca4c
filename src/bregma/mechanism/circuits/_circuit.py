"""A circuit: the part of a network that is enough for a task, with what speaks for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from jaxtyping import Float

from bregma.errors import InvalidArgument, NotIdentifiable
from bregma.evidence import Ceiling, Evidence, Interval, Null, bootstrap_interval
from bregma.mechanism.circuits._contrast import Metric, Pairs
from bregma.mechanism.circuits._faithful import check_total, grow, judging
from bregma.mechanism.circuits._graph import Edge, Graph, Kept
from bregma.run import derive, spawn


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
        From the graph of another network to the edges that are found in the same way.
    """

    graph: Graph = field(repr=False)
    kept: Kept = field(repr=False)
    scores: Float[np.ndarray, "sender receiver"] = field(repr=False)
    selected: float
    tested: float
    test: Pairs = field(repr=False)
    metric: Metric = field(repr=False)
    search: Callable[[Graph], Kept] = field(repr=False)

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
        with judging(self.graph, pairs, self.metric) as judge:
            return judge(self.kept)[0]

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
            In how many networks that learned nothing a circuit is looked for in the same way, on
            the same pairs; where there is none, it adds nothing.
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
        check_total(measured[1].mean(), measured[0].mean())
        twins = [
            self._gain_of(self.graph.again(derive(seed, "null network", i)))
            for i in range(n_null_networks)
        ]
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
            interval=interval_of_mean(own, level, seed),
            ceiling=Ceiling(
                float(whole.mean()), float(whole.mean()), "whole network",
                "measure of clean less that of corrupt inputs, with all edges",
            ),
            normalised=normalised,
            # Of a ratio of two means: its first-order change with each pair.
            normalised_interval=interval_of_mean(
                normalised + (own - normalised * whole) / whole.mean(), level, seed
            ),
            system_null=Null.of(
                score,
                twins,
                exchanged="the network with ones of weights drawn anew, and the circuit with what "
                "is found in them in the same way",
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

    def _gain_of(self, twin: Graph) -> float:
        """What the circuit of another network adds to the measure of corrupt inputs."""
        try:
            kept = self.search(twin)
        except NotIdentifiable:
            return 0.0
        none = np.zeros_like(kept)
        before, after = twin.measure(self.test, [none, kept], metric=self.metric).mean(1)
        return float(after - before)


def interval_of_mean(samples: Float[np.ndarray, " pair"], level: float, seed: int) -> Interval:
    """Of the mean over pairs."""
    low, high = float(samples.min()), float(samples.max())
    if len(samples) < 3 or high - low <= 1e-9 * max(abs(low), abs(high)):
        return Interval(low, high, level, "all pairs that there are")
    return bootstrap_interval(samples, level=level, n_draws=1999, seed=derive(seed, "pairs"))
