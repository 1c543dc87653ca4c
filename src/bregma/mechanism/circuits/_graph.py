"""Graphs of parts that act on each other, whatever the network is made of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int

from bregma.errors import InvalidArgument, UnknownName
from bregma.mechanism.circuits._contrast import Metric, Pairs, logit_difference

Edge = tuple[str, str]
Kept = Bool[np.ndarray, "sender receiver"]
Measure = Callable[[Sequence[Kept]], Float[np.ndarray, "subgraph pair"]]


class Graph(ABC):
    """Senders and receivers, and which of them are joined.

    A subgraph is measured by what the network answers to clean inputs while every edge outside
    carries what its sender sends for the corrupt input.
    """

    senders: tuple[str, ...]
    receivers: tuple[str, ...]
    joined: Kept
    name: str

    @abstractmethod
    def measure(
        self, pairs: Pairs, subgraphs: Sequence[Kept], *, metric: Metric = logit_difference
    ) -> Float[np.ndarray, "subgraph pair"]:
        """What subgraphs give.

        Parameters
        ----------
        pairs : PromptPairs or Contrast
            Clean and corrupt inputs.
        subgraphs : sequence of bool arrays (sender, receiver)
            True where an edge is kept.
        metric : callable
            Answers and pairs to one number each.

        Returns
        -------
        array (subgraph, pair)
            The measure.
        """

    @contextmanager
    def measuring(self, pairs: Pairs, *, metric: Metric = logit_difference) -> Iterator[Measure]:
        """`measure` for some pairs, to be called again and again while nothing is learned.

        Parameters
        ----------
        pairs : PromptPairs or Contrast
            Clean and corrupt inputs.
        metric : callable
            Answers and pairs to one number each.

        Yields
        ------
        callable
            From subgraphs to what they give.
        """
        yield lambda subgraphs: self.measure(pairs, subgraphs, metric=metric)

    @abstractmethod
    def again(self, seed: int) -> Graph:
        """The graph of a null network: the same parts, nothing learned.

        Parameters
        ----------
        seed : int
            Draws its weights.

        Returns
        -------
        Graph
            With the same senders and receivers.
        """

    def part_of(self, receiver: str) -> str:
        """The sender whose activity a receiver takes part in; empty for the answer.

        Parameters
        ----------
        receiver : str
            Name of the receiver.

        Returns
        -------
        str
            Name of the sender.
        """
        name = receiver if receiver in self.senders else receiver.rpartition(".")[0]
        return name if name in self.senders else ""

    @cached_property
    def edges(self) -> list[Edge]:
        """All edges by name."""
        return self.named(self.joined)

    @cached_property
    def owners(self) -> Int[np.ndarray, " receiver"]:
        """For each receiver the number of its sender, -1 for the answer."""
        number = {name: i for i, name in enumerate(self.senders)}
        return np.array([number.get(self.part_of(r), -1) for r in self.receivers])

    def named(self, kept: Kept) -> list[Edge]:
        """Names of edges.

        Parameters
        ----------
        kept : bool array (sender, receiver)
            Which.

        Returns
        -------
        list of (str, str)
            Sender and receiver of each.
        """
        return [(self.senders[s], self.receivers[r]) for s, r in np.argwhere(kept).tolist()]

    def mask(self, edges: Sequence[Edge]) -> Kept:
        """Edges as an array.

        Parameters
        ----------
        edges : sequence of (str, str)
            Sender and receiver of each.

        Returns
        -------
        bool array (sender, receiver)
            True where an edge is among them.

        Raises
        ------
        UnknownName
            A sender or a receiver that is not there.
        InvalidArgument
            Two that are not joined.
        """
        kept = np.zeros_like(self.joined)
        for sender, receiver in edges:
            at = (
                number_of("sender", sender, self.senders),
                number_of("receiver", receiver, self.receivers),
            )
            if not self.joined[at]:
                raise InvalidArgument(f"{sender!r} sends nothing to {receiver!r}")
            kept[at] = True
        return kept

    def attribute(
        self, pairs: Pairs, *, metric: Metric = logit_difference, steps: int | None = None
    ) -> Float[np.ndarray, "sender receiver"]:
        """How much each edge helps: what is lost where it alone carries corrupt activity.

        Parameters
        ----------
        pairs : PromptPairs or Contrast
            Clean and corrupt inputs.
        metric : callable
            Answers and pairs to one number each.
        steps : int or None
            For graphs with gradients, how many; None for exact scores, one run for each edge.

        Returns
        -------
        array (sender, receiver)
            Mean over pairs. Zero where there is no edge.

        Raises
        ------
        InvalidArgument
            Steps in a graph without gradients.
        """
        if steps is not None:
            raise InvalidArgument(f"{self.name} has no gradients: leave steps= away")
        scores = np.zeros(self.joined.shape)
        cuts = [self.joined]
        for at in np.argwhere(self.joined):
            cut = self.joined.copy()
            cut[tuple(at)] = False
            cuts.append(cut)
        measured = self.measure(pairs, cuts, metric=metric).mean(1)
        scores[self.joined] = measured[0] - measured[1:]
        return scores


def number_of(what: str, name: str, names: Sequence[str]) -> int:
    """Place of a name; an error with the nearest ones if it is not there."""
    if name not in names:
        raise UnknownName.of(what, name, names)
    return names.index(name)
