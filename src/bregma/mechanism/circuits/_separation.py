"""Whether things of one kind go together more than things of different kinds."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from bregma.errors import InvalidArgument, NotIdentifiable, UnknownName
from bregma.evidence import Null, arrangements


@dataclass(frozen=True)
class Separation:
    """How much higher a table is within groups than between them.

    Parameters
    ----------
    within : mapping of str to float
        Mean over the pairs of two members of each group; groups of one member have none.
    between : float
        Mean over all pairs from different groups.
    difference : float
        Mean over pairs of one group (of all groups, or of the one that was asked for), less that
        over pairs of different groups.
    null : Null
        The same where members are exchanged between groups.
    """

    within: Mapping[str, float]
    between: float
    difference: float
    null: Null


def separation(
    table: Float[np.ndarray, "thing other"],
    groups: Sequence[str],
    *,
    of: str | None = None,
    n: int = 9999,
    seed: int,
) -> Separation:
    """Compare a table within groups and between them, with a test that exchanges the labels.

    The diagonal is left out. The table need not be symmetric.

    Parameters
    ----------
    table : array (thing, thing)
        Overlap, faithfulness, correlation, ... of every thing with every other one.
    groups : sequence of str
        To which group each thing belongs.
    of : str, optional
        Whether this group alone holds together; by default all of them.
    n : int
        How many orders of the labels to draw at most; all of them where they are fewer.
    seed : int
        Draws them.

    Returns
    -------
    Separation
        Its null says how many different assignments there are: with 3 and 3 things only 10
        partitions, so that no p is below 0.1.

    Raises
    ------
    InvalidArgument
        A table that is not square, not finite or does not fit the labels.
    UnknownName
        A group that is not there.
    NotIdentifiable
        One group alone, or no group with two members.

    Examples
    --------
    >>> table = np.array([[1, 0.9, 0.1], [0.8, 1, 0.2], [0.1, 0.2, 1]])
    >>> round(separation(table, ["formal", "formal", "functional"], seed=0).difference, 3)
    0.7
    """
    table, labels = np.asarray(table, float), np.asarray(groups, dtype=str)
    if table.shape != (len(labels),) * 2 or not np.isfinite(table).all():
        raise InvalidArgument(
            f"the table must be finite, with a row and a column for each of {len(labels)} "
            f"things; it has the shape {table.shape}, and {int((~np.isfinite(table)).sum())} "
            "entries that are not finite"
        )
    names, numbers = np.unique(labels, return_inverse=True)
    if of is not None and of not in names:
        raise UnknownName.of("group", of, names)
    sizes = Counter(numbers.tolist())
    asked = list(range(len(names))) if of is None else [names.tolist().index(of)]
    if len(names) < 2 or all(sizes[k] < 2 for k in asked):
        raise NotIdentifiable(
            "two groups or more are needed, with two members or more in one that is asked for, "
            f"not {dict(Counter(labels.tolist()))}"
        )
    orders = arrangements(len(labels), n, seed=seed)
    values = _difference(table, numbers[orders.order], asked)
    [score] = _difference(table, numbers[None], asked).tolist()
    inside = _sums_within(table, numbers[None])[:, 0]
    return Separation(
        within={
            str(name): float(inside[k] / (sizes[k] * (sizes[k] - 1)))
            for k, name in enumerate(names)
            if sizes[k] > 1
        },
        between=float(table[numbers[:, None] != numbers].mean()),
        difference=score,
        null=Null.of(
            score,
            values,
            exchanged="the group of each thing with that of another one",
            n_arrangements=_n_different(sizes, asked),
            exact=orders.exact,
        ),
    )


def _sums_within(
    table: Float[np.ndarray, "thing thing"], numbers: Int[np.ndarray, "draw thing"]
) -> Float[np.ndarray, "group draw"]:
    """Sum over the pairs of different members of each group."""
    table = table - np.diag(np.diag(table))
    sums = []
    for k in range(numbers.max() + 1):
        member = (numbers == k).astype(float)
        sums.append(((member @ table) * member).sum(1))
    return np.stack(sums)


def _difference(
    table: Float[np.ndarray, "thing thing"],
    numbers: Int[np.ndarray, "draw thing"],
    asked: Sequence[int],
) -> Float[np.ndarray, " draw"]:
    """Mean over the pairs of groups that are asked for, less that over pairs of two groups."""
    sums, sizes = _sums_within(table, numbers), np.bincount(numbers[0])
    pairs = sizes * (sizes - 1)
    n_apart = sizes.sum() ** 2 - (sizes**2).sum()
    apart = (table.sum() - np.trace(table) - sums.sum(0)) / n_apart
    return sums[asked].sum(0) / pairs[asked].sum() - apart


def _n_different(sizes: Mapping[int, int], asked: Sequence[int]) -> int:
    """Assignments that differ: groups of one size change nothing where they change places."""
    count = math.factorial(sum(sizes.values()))
    for size in sizes.values():
        count //= math.factorial(size)
    alike = [size for k, size in sizes.items() if len(asked) == len(sizes) or k not in asked]
    for many in Counter(alike).values():
        count //= math.factorial(many)
    return count
