"""Connections onto a part of the postsynaptic units, which is what one of several machines holds.

Targets keep the numbers that they have in the whole population, because random numbers of synapses
are drawn for these. Rows are drawn slice by slice, and what lies outside of the part is dropped at
once, so that memory is that of the part.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.sparse

from bregma.dynamics.connect import _connect_kernels as kernels
from bregma.dynamics.connect._connect import FixedInDegree, Rows, Rule, check_slice, empty_rows
from bregma.dynamics.connect._connect_given import FromMatrix, FromTable

SYNAPSES = 2**22  # drawn at a time


def onto(rule: Rule, begin: int, end: int) -> Rule:
    """The synapses of a rule onto the units `begin` to `end` - 1.

    Parameters
    ----------
    rule : Rule
        Of the whole graph.
    begin, end : int
        The part of the postsynaptic population.

    Returns
    -------
    Rule
        With the same sizes, and targets as they are numbered in the whole population.
    """
    if isinstance(rule, FromMatrix):
        matrix = scipy.sparse.coo_array(scipy.sparse.csr_array(rule.weights))
        here = (matrix.col >= begin) & (matrix.col < end)
        entries = matrix.data[here], (matrix.row[here], matrix.col[here])
        return FromMatrix(scipy.sparse.csr_array(entries, shape=matrix.shape))
    if isinstance(rule, FromTable):
        here = rule.table["post"].isin(list(rule.post)[begin:end])
        return FromTable(rule.table[here], rule.pre, rule.post)
    return Onto(rule, begin, end)


@dataclass(frozen=True)
class Onto(Rule):
    """The synapses of a rule that is drawn onto a part of the postsynaptic units.

    Parameters
    ----------
    rule : Rule
        Of the whole graph.
    begin, end : int
        The part of the postsynaptic population.
    """

    rule: Rule
    begin: int
    end: int

    def rows(self, n_pre: int, n_post: int, key: int, first: int, last: int) -> Rows:
        check_slice(n_pre, n_post, key, first, last)
        self.rule.rows(n_pre, n_post, key, first, first)  # refuses what cannot be
        if self.begin == self.end:
            return empty_rows(first, last)
        if isinstance(self.rule, FixedInDegree):
            others = 0 if self.rule.self_connections else 1
            part = self.begin, self.end
            return Rows(
                *kernels.in_degree_rows(key, first, last, n_pre, *part, self.rule.k, others)
            )
        counts, kept = [np.zeros(1, np.int64)], [np.empty(0, np.int32)]
        for drawn in _slices(self.rule, n_pre, n_post, key, first, last):
            here = (drawn.targets >= self.begin) & (drawn.targets < self.end)
            before = np.append(0, np.cumsum(here))
            counts.append(np.diff(before[drawn.indptr]))
            kept.append(drawn.targets[here])
        return Rows(np.cumsum(np.concatenate(counts)), np.concatenate(kept))


def places(
    rule: Rule, n_pre: int, n_post: int, key: int, begin: int, end: int
) -> tuple[np.ndarray, int]:
    """Where the synapses onto a part are among all synapses of a rule.

    Parameters
    ----------
    rule : Rule
        Of the whole graph.
    n_pre, n_post, key : int
        As for its rows.
    begin, end : int
        The part of the postsynaptic population.

    Returns
    -------
    (array of int (synapse,), int)
        One number for each synapse of the part, and how many synapses there are in all.
    """
    found, n = [np.empty(0, np.int64)], 0
    for drawn in _slices(rule, n_pre, n_post, key, 0, n_pre):
        here = (drawn.targets >= begin) & (drawn.targets < end)
        found.append(np.flatnonzero(here) + n)
        n += len(drawn.targets)
    return np.concatenate(found), n


def _slices(rule: Rule, n_pre: int, n_post: int, key: int, first: int, last: int) -> Iterator[Rows]:
    """All rows, so many at a time that they have about `SYNAPSES`."""
    width = last - first if isinstance(rule, FixedInDegree) else 16
    while first < last:
        stop = min(last, first + width)
        drawn = rule.rows(n_pre, n_post, key, first, stop)
        width = max(1, SYNAPSES * (stop - first) // max(1, len(drawn.targets)))
        yield drawn
        first = stop
