"""Rules of connection: who targets whom, as a pure function of a rule, sizes and a key.

A rule never holds its synapses. It draws the rows of any slice of presynaptic units, and the same
rows come out whatever else was drawn: so a graph can be made again instead of stored, in parts
that fit into memory, on as many machines as one likes. Rows are sorted and hold no target twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int32, Int64

from bregma.dynamics.connect import _connect_kernels as kernels
from bregma.errors import InvalidArgument

LARGEST = 2**31 - 1  # units of a population: targets are int32


class Rows(NamedTuple):
    """Outgoing synapses of consecutive units, as in a CSR matrix.

    Parameters
    ----------
    indptr : array (row + 1,)
        Where the synapses of each unit begin; the last entry is their number.
    targets : array (synapse,)
        Postsynaptic units, rising within each row.
    """

    indptr: Int64[np.ndarray, " row_and_end"]
    targets: Int32[np.ndarray, " synapse"]


@runtime_checkable
class Rule(Protocol):
    """What connects two populations, or one with itself."""

    def rows(self, n_pre: int, n_post: int, key: int, first: int, last: int) -> Rows:
        """Draw the outgoing synapses of the presynaptic units `first` to `last` - 1.

        Parameters
        ----------
        n_pre, n_post : int
            Sizes of the populations.
        key : int
            Of the random numbers, from `bregma.run.derive`. The same key gives the same graph.
        first, last : int
            The slice; targets are counted from the beginning of the postsynaptic population.

        Returns
        -------
        Rows
            The synapses of the slice, equal to that slice of the whole graph.
        """
        ...


def check_slice(n_pre: int, n_post: int, key: int, first: int, last: int) -> None:
    """Refuse sizes, keys and slices that cannot be."""
    for name, n in (("n_pre", n_pre), ("n_post", n_post)):
        if not 0 <= n <= LARGEST:
            raise InvalidArgument(f"{name} must lie between 0 and {LARGEST}, not {n}")
    if not 0 <= key < 2**63:
        raise InvalidArgument(f"key must lie between 0 and 2**63 - 1, not {key}; use run.derive")
    if not 0 <= first <= last <= n_pre:
        raise InvalidArgument(f"the slice [{first}, {last}) is not within the {n_pre} units")


def check_probability(p: float, name: str) -> None:
    """Refuse what is no probability."""
    if not 0 <= p <= 1:
        raise InvalidArgument(f"{name} must lie between 0 and 1, not {p}")


def excluded(self_connections: bool, n_pre: int, n_post: int) -> int:
    """How many targets a unit loses because it may not target itself."""
    if not self_connections and n_pre != n_post:
        raise InvalidArgument(
            f"self_connections=False connects a population with itself, but there are {n_pre} "
            f"presynaptic and {n_post} postsynaptic units"
        )
    return 0 if self_connections or n_post == 0 else 1


def capacity_for(n_candidates: int, p: float) -> int:
    """Room for about as many synapses as will be drawn; more is made where it is too little."""
    return int(n_candidates * p + 6 * (n_candidates * p * (1 - p)) ** 0.5) + 64


def complete_rows(n_post: int, first: int, last: int, others: int) -> Rows:
    """Every target of every unit, without itself where `others` is 1."""
    width = n_post - others
    targets = np.broadcast_to(np.arange(width, dtype=np.int32), (last - first, width)).copy()
    if others:
        targets += targets >= np.arange(first, last, dtype=np.int32)[:, None]
    return Rows(np.arange(last - first + 1) * width, targets.ravel())


def empty_rows(first: int, last: int) -> Rows:
    """No synapses."""
    return Rows(np.zeros(last - first + 1, np.int64), np.empty(0, np.int32))


@dataclass(frozen=True)
class FixedProbability(Rule):
    """Each pair of units is connected with the same probability, independently of all others.

    Parameters
    ----------
    p : float
        Probability of a synapse.
    self_connections : bool
        Whether a unit may target itself; False is for a population connected with itself.

    Raises
    ------
    InvalidArgument
        If `p` is not between 0 and 1; from `rows`, if `self_connections` is False and the sizes
        differ.
    """

    p: float
    self_connections: bool = True

    def __post_init__(self) -> None:
        check_probability(self.p, "p")

    def rows(self, n_pre: int, n_post: int, key: int, first: int, last: int) -> Rows:
        check_slice(n_pre, n_post, key, first, last)
        others = excluded(self.self_connections, n_pre, n_post)
        if self.p == 0:
            return empty_rows(first, last)
        if self.p == 1:
            return complete_rows(n_post, first, last, others)
        capacity = capacity_for((last - first) * n_post, self.p)
        hazard = kernels.hazard_of(float(self.p))
        return Rows(*kernels.bernoulli_rows(key, first, last, n_post, hazard, others, capacity))


@dataclass(frozen=True)
class FixedOutDegree(Rule):
    """Each presynaptic unit targets the same number of units, all choices equally likely.

    Parameters
    ----------
    k : int
        Targets of each unit.
    self_connections : bool
        Whether a unit may target itself; False is for a population connected with itself.

    Raises
    ------
    InvalidArgument
        If `k` is negative; from `rows`, if there are fewer than `k` units to target, or if
        `self_connections` is False and the sizes differ.
    """

    k: int
    self_connections: bool = True

    def __post_init__(self) -> None:
        _check_degree(self.k)

    def rows(self, n_pre: int, n_post: int, key: int, first: int, last: int) -> Rows:
        check_slice(n_pre, n_post, key, first, last)
        others = excluded(self.self_connections, n_pre, n_post)
        _check_enough(self.k, n_post - others, "targets")
        return Rows(*kernels.out_degree_rows(key, first, last, n_post, self.k, others))


@dataclass(frozen=True)
class FixedInDegree(Rule):
    """Each postsynaptic unit has the same number of sources, all choices equally likely.

    The sources of every target are drawn, and those in the slice are kept: memory is that of the
    slice, but a slice takes the time of drawing the whole graph twice. Take few, large slices.

    Parameters
    ----------
    k : int
        Sources of each unit.
    self_connections : bool
        Whether a unit may target itself; False is for a population connected with itself.

    Raises
    ------
    InvalidArgument
        If `k` is negative; from `rows`, if there are fewer than `k` units to choose from, or if
        `self_connections` is False and the sizes differ.
    """

    k: int
    self_connections: bool = True

    def __post_init__(self) -> None:
        _check_degree(self.k)

    def rows(self, n_pre: int, n_post: int, key: int, first: int, last: int) -> Rows:
        check_slice(n_pre, n_post, key, first, last)
        others = excluded(self.self_connections, n_pre, n_post)
        if n_post > 0:
            _check_enough(self.k, n_pre - others, "sources")
        return Rows(*kernels.in_degree_rows(key, first, last, n_pre, 0, n_post, self.k, others))


@dataclass(frozen=True)
class AllToAll(Rule):
    """Each presynaptic unit targets every postsynaptic one.

    Parameters
    ----------
    self_connections : bool
        Whether a unit targets itself; False is for a population connected with itself.

    Raises
    ------
    InvalidArgument
        From `rows`, if `self_connections` is False and the sizes differ.
    """

    self_connections: bool = True

    def rows(self, n_pre: int, n_post: int, key: int, first: int, last: int) -> Rows:
        check_slice(n_pre, n_post, key, first, last)
        return complete_rows(n_post, first, last, excluded(self.self_connections, n_pre, n_post))


@dataclass(frozen=True)
class OneToOne(Rule):
    """Unit i targets unit i; the populations must be of one size."""

    def rows(self, n_pre: int, n_post: int, key: int, first: int, last: int) -> Rows:
        check_slice(n_pre, n_post, key, first, last)
        if n_pre != n_post:
            raise InvalidArgument(
                f"OneToOne needs as many presynaptic as postsynaptic units, not {n_pre} and "
                f"{n_post}"
            )
        return Rows(np.arange(last - first + 1), np.arange(first, last, dtype=np.int32))


def _check_degree(k: int) -> None:
    if not 0 <= k <= LARGEST:
        raise InvalidArgument(f"k must lie between 0 and {LARGEST}, not {k}")


def _check_enough(k: int, n: int, what: str) -> None:
    if k > n:
        raise InvalidArgument(f"there are only {n} units to choose {k} different {what} from")
