"""Connections of another rule with the same degrees or the same weights, in another order."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Float64, Int32, Int64

from bregma.dynamics.connect._connect import Rows, Rule, check_slice
from bregma.run import spawn

TRADES = 10  # for each row: more change nothing that can be seen


@dataclass(frozen=True, eq=False)
class Rewired(Rule):
    """The synapses of a rule between other pairs, with the same numbers for each unit.

    Parameters
    ----------
    rule : Rule
        The old synapses.
    seed : int
        What the new pairs follow from.
    itself : bool
        Whether it connects a population with itself, so that a unit which did not target itself
        must not begin to.
    """

    rule: Rule
    seed: int
    itself: bool = False

    def rows(self, n_pre: int, n_post: int, key: int, first: int, last: int) -> Rows:
        check_slice(n_pre, n_post, key, first, last)
        indptr, targets = self.rule.rows(n_pre, n_post, key, 0, n_pre)
        begin, end = indptr[[first, last]]
        new, _ = traded(indptr, targets, self.seed, self.itself)
        return Rows(indptr[first : last + 1] - begin, new[begin:end])

    def values(self, first: int, last: int) -> dict[str, Float64[np.ndarray, " synapse"]]:
        stored: Any = getattr(self.rule, "_stored", None)
        if stored is None:
            return {}
        _, order = traded(stored.indptr, stored.targets, self.seed, self.itself)
        begin, end = stored.indptr[[first, last]]
        return {name: numbers[order][begin:end] for name, numbers in stored.numbers.items()}


@dataclass(frozen=True, eq=False)
class Shuffled(Rule):
    """The synapses of a rule, whose weights have changed places.

    Parameters
    ----------
    rule : Rule
        With weights.
    seed : int
        What the new places follow from.
    """

    rule: Any
    seed: int

    def rows(self, n_pre: int, n_post: int, key: int, first: int, last: int) -> Rows:
        return self.rule.rows(n_pre, n_post, key, first, last)

    def values(self, first: int, last: int) -> dict[str, Float64[np.ndarray, " synapse"]]:
        stored = self.rule._stored
        weights = spawn(self.seed).permutation(stored.numbers["weight"])
        begin, end = stored.indptr[[first, last]]
        return {**self.rule.values(first, last), "weight": weights[begin:end]}


def traded(
    indptr: Int64[np.ndarray, " pre_and_end"],
    targets: Int32[np.ndarray, " synapse"],
    seed: int,
    itself: bool,
) -> tuple[Int32[np.ndarray, " synapse"], Int64[np.ndarray, " synapse"]]:
    """Pairs of rows trade targets that only one of them has; who gets which is drawn.

    Parameters
    ----------
    indptr, targets : array
        The rows, sorted.
    seed : int
        What is drawn follows from it.
    itself : bool
        Whether rows and targets are the same units.

    Returns
    -------
    array (synapse,)
        The new targets.
    array (synapse,)
        For each new synapse, the old one whose target it has.
    """
    rng = spawn(seed, "trade")
    n_rows = len(indptr) - 1
    rows = [targets[a:b] for a, b in pairwise(indptr.tolist())]
    old = [np.arange(a, b) for a, b in pairwise(indptr.tolist())]
    sources = np.repeat(np.arange(n_rows), np.diff(indptr))
    no_loops = itself and not (sources == targets).any()
    for _ in range(TRADES * n_rows if n_rows > 1 else 0):
        i, j = rng.choice(n_rows, 2, replace=False)
        mine = ~np.isin(rows[i], rows[j], assume_unique=True)
        yours = ~np.isin(rows[j], rows[i], assume_unique=True)
        if no_loops:
            mine &= rows[i] != j
            yours &= rows[j] != i
        pool = np.concatenate([rows[i][mine], rows[j][yours]])
        from_where = np.concatenate([old[i][mine], old[j][yours]])
        order = rng.permutation(len(pool))
        cut = int(mine.sum())
        for row, keep, drawn in ((i, ~mine, order[:cut]), (j, ~yours, order[cut:])):
            new = np.concatenate([rows[row][keep], pool[drawn]])
            sort = np.argsort(new)
            rows[row] = new[sort]
            old[row] = np.concatenate([old[row][keep], from_where[drawn]])[sort]
    empty: Any = [np.empty(0, targets.dtype)], [np.empty(0, np.int64)]
    return np.concatenate(rows or empty[0]), np.concatenate(old or empty[1])
