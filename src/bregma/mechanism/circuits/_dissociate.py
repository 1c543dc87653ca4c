"""Which parts serve one ability, which another: chosen on some trials, tested on others."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd
from jaxtyping import Float

from bregma.errors import InvalidArgument
from bregma.evidence import Null
from bregma.mechanism.circuits._double_dissociation import (
    DoubleDissociation,
    double_dissociation,
    specialisation,
)
from bregma.run import spawn

Parts = tuple[str, ...]
Counts = dict[Hashable, int]  # parts of each stratum
Trials = tuple[Float[np.ndarray, " first"], Float[np.ndarray, " second"]]
# Removed parts, and half of the trials (0 to choose, 1 to test) -> scores of each trial, larger is
# better, of the first and of the second ability.
Score = Callable[[Sequence[str], int], Trials]
ROUNDING = 1e-5  # of the largest drop: less than this is none


@dataclass(frozen=True)
class Dissociated:
    """Parts for either of two abilities, and what goes with them.

    Parameters
    ----------
    first, second : list of str
        Parts for the first and for the second ability.
    parts : DataFrame (part)
        On the half on which they were chosen: drop of the ``first`` and of the ``second`` score
        without each part alone, and its ``specialisation``.
    drops : DataFrame (removed, ability)
        On the other half: drops without all parts of ``first`` or of ``second``.
    tested : DoubleDissociation
        Of these, trial by trial.
    random : Null
        The same sum for random sets of parts, as many of each stratum.
    """

    first: list[str]
    second: list[str]
    parts: pd.DataFrame
    drops: pd.DataFrame
    tested: DoubleDissociation
    random: Null


def dissociate(
    score: Score,
    parts: Sequence[str],
    size: int,
    *,
    strata: Sequence[Hashable] | None = None,
    least: float = 0.1,
    n: int = 200,
    level: float = 0.95,
    seed: int,
) -> Dissociated:
    """Find the parts without which one ability suffers more than another, and test them.

    Each part is removed alone, on the first half of the trials. Those for an ability are the ones
    that cost it most, among those that cost it more than the other one. On the second half all of
    them are removed together. There may be none.

    Parameters
    ----------
    score : callable
        ``score(removed, half)`` gives the scores of every trial of either ability: of a network
        without these parts (`PartRemoval`), of a circuit without these populations, from a table
        of lesions. Both on one scale, such as shares of the intact score. It is asked once for
        each set of parts.
    parts : sequence of str
        What can be removed.
    size : int
        Parts for each ability at most; fewer where fewer are specialised.
    strata : sequence, optional
        For each part what random sets share with the found ones, such as its layer.
    least : float
        How specialised parts have to be, 0 to 1; see `specialisation`.
    n : int
        Random sets, and exchanges of labels.
    level : float
        Of intervals.
    seed : int
        Of what is random.

    Returns
    -------
    Dissociated
        The parts, and the test.

    Raises
    ------
    InvalidArgument
        Nothing to choose from, parts of one name, numbers out of range, or scores that are not
        finite.

    Examples
    --------
    >>> def score(removed, half):  # "a" is needed for one ability, "b" for the other one
    ...     rng = np.random.default_rng(half)
    ...     return tuple(rng.normal(need not in removed, 0.1, 40) for need in "ab")
    >>> found = dissociate(score, ["a", "b", "c", "d"], 1, seed=0)
    >>> found.first, found.second, found.tested.crossed
    (['a'], ['b'], True)
    """
    names, groups = list(parts), list(strata if strata is not None else [0] * len(parts))
    if len(set(names)) < 2 or len(set(names)) != len(names) or len(groups) != len(names):
        raise InvalidArgument(
            f"two or more parts with names and strata of their own are needed, not {len(names)} "
            f"with {len(set(names))} names and {len(groups)} strata"
        )
    if not 1 <= size <= len(names) // 2 or not 0 <= least < 1 or n < 1:
        raise InvalidArgument(
            f"size must be from 1 to {len(names) // 2}, half of the parts, least in [0, 1) and n "
            f"1 or more, not {size}, {least} and {n}"
        )

    @cache  # random sets meet each other
    def scores(removed: tuple[str, ...], half: int) -> Trials:
        return _scores(score, removed, half)

    intact = _means(scores((), 0))
    drops = np.array([intact - _means(scores((name,), 0)) for name in names])
    special = specialisation(*drops.T)
    able = drops > ROUNDING * np.abs(drops).max()
    one = _top(names, drops[:, 0], able[:, 0] & (special > least), size)
    two = _top(names, drops[:, 1], able[:, 1] & (special < -least), size)
    tested, lost = _tested(scores((), 1), scores(one, 1), scores(two, 1), n, level, seed)
    n_one, n_two = _counts(names, groups, one), _counts(names, groups, two)
    values = [
        _index(scores(a, 1), scores(b, 1))
        for a, b in _random_sets(names, groups, n_one, n_two, n, seed)
    ]
    table = pd.DataFrame(
        {"first": drops[:, 0], "second": drops[:, 1], "specialisation": special},
        index=pd.Index(names, name="part"),
    )
    null = Null.of(
        tested.index,
        values,
        exchanged="the parts for either ability with random ones, as many of each stratum",
        n_arrangements=_n_sets(groups, n_one, n_two),
    )
    return Dissociated(list(one), list(two), table, lost, tested, null)


def _scores(score: Score, removed: tuple[str, ...], half: int) -> Trials:
    first, second = (np.asarray(x, float) for x in score(removed, half))
    for which, x in (("first", first), ("second", second)):
        if x.ndim != 1 or len(x) < 2 or not np.isfinite(x).all():
            raise InvalidArgument(
                f"scores of the {which} ability without {list(removed)} must be finite numbers of "
                f"two or more trials, not of the shape {x.shape}"
            )
    return first, second


def _means(trials: Trials) -> Float[np.ndarray, " ability"]:
    return np.array([x.mean() for x in trials])


def _top(names: list[str], drop: np.ndarray, able: np.ndarray, size: int) -> Parts:
    """Those whose removal costs most, in the order of all parts."""
    among = np.flatnonzero(able)
    best = among[np.argsort(-drop[among], kind="stable")][:size]
    return tuple(names[i] for i in sorted(best))


def _tested(
    intact: Trials, a: Trials, b: Trials, n: int, level: float, seed: int
) -> tuple[DoubleDissociation, pd.DataFrame]:
    # A trial of an ability, with its own parts removed and with the others.
    found = double_dissociation(
        np.stack([a[0], b[0]], 1), np.stack([a[1], b[1]], 1), n=n, level=level, seed=seed
    )
    lost = pd.DataFrame(
        [_means(intact) - _means(a), _means(intact) - _means(b)],
        index=pd.Index(["first", "second"], name="removed"),
        columns=pd.Index(["first", "second"], name="ability"),
    )
    return found, lost


def _index(a: Trials, b: Trials) -> float:
    return float((b[0] - a[0]).mean() + (a[1] - b[1]).mean())


def _counts(names: list[str], groups: list[Hashable], chosen: Parts) -> Counts:
    own = [group for name, group in zip(names, groups, strict=True) if name in chosen]
    return {group: own.count(group) for group in dict.fromkeys(groups)}


def _random_sets(
    names: list[str],
    groups: list[Hashable],
    n_one: Counts,
    n_two: Counts,
    n: int,
    seed: int,
) -> list[tuple[Parts, Parts]]:
    """Two sets without a common part, with as many of each stratum."""
    rng = spawn(seed, "dissociate", "random sets")
    strata = {
        group: [name for name, own in zip(names, groups, strict=True) if own == group]
        for group in n_one
    }
    drawn = []
    for _ in range(n):
        a, b = list[str](), list[str]()
        for group, of_it in strata.items():
            order = [of_it[i] for i in rng.permutation(len(of_it))]
            a += order[: n_one[group]]
            b += order[n_one[group] : n_one[group] + n_two[group]]
        drawn.append((tuple(sorted(a, key=names.index)), tuple(sorted(b, key=names.index))))
    return drawn


def _n_sets(groups: list[Hashable], n_one: Counts, n_two: Counts) -> int:
    """How many such pairs of sets there are."""
    count = 1
    for group, k in n_one.items():
        size = groups.count(group)
        count *= math.comb(size, k) * math.comb(size - k, n_two[group])
    return count
