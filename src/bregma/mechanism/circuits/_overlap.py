"""Whether two circuits share more than chance."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from typing import Any

from scipy import stats

from bregma.errors import InvalidArgument
from bregma.mechanism.circuits._circuit import Circuit


@dataclass(frozen=True)
class Overlap:
    """What two circuits share.

    Parameters
    ----------
    n_shared : int
        How many edges, nodes or heads.
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
    return overlap_of(a, b, n, of)


def overlap_of(a: Set[Any], b: Set[Any], n: int, what: str) -> Overlap:
    """What two sets out of n share, against two random ones of these sizes."""
    if not a or not b:
        raise InvalidArgument(f"a circuit without {what} shares nothing")
    shared, chance = len(a & b), stats.hypergeom(n, len(a), len(b))
    return Overlap(shared, shared / len(a | b), len(a) * len(b) / n, float(chance.sf(shared - 1)))
