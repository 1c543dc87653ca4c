"""Double dissociation: two lesions, two abilities, and each lesion costs its own ability more."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy import stats

from bregma.errors import InvalidArgument, NotIdentifiable
from bregma.evidence import Interval, Null
from bregma.mechanism._means import student_half
from bregma.run import spawn

Scores = Float[np.ndarray, "case 2"]
CHUNK = 2**22  # numbers in flight


@dataclass(frozen=True)
class DoubleDissociation:
    """How far two lesions and two abilities go apart.

    Parameters
    ----------
    first, second : float
        How much more the first group loses in its own column than in the other one, and the same
        of the second group. One of them alone is a single dissociation, which may only say that
        one ability is the harder one.
    index : float
        Their sum.
    first_interval, second_interval, interval : Interval
        Of these three, over cases (Student, for the sum Welch).
    null : Null
        The sum where groups are exchanged among cases.
    """

    first: float
    second: float
    index: float
    first_interval: Interval
    second_interval: Interval
    interval: Interval
    null: Null

    @property
    def crossed(self) -> bool:
        """Whether both differences are above 0 with their intervals: a double dissociation."""
        return min(self.first_interval.low, self.second_interval.low) > 0


def double_dissociation(
    first: ArrayLike, second: ArrayLike, *, n: int = 999, level: float = 0.95, seed: int
) -> DoubleDissociation:
    r"""Whether each of two groups is worse in its own column than in the other one.

    .. math:: D = \langle y_{\text{other}} - y_{\text{own}} \rangle_{\text{first}} +
        \langle y_{\text{other}} - y_{\text{own}} \rangle_{\text{second}}

    Cases are what was tested twice. With patients, groups are lesions and columns abilities: those
    with the first lesion are worse at the first ability. With a network, cases are trials, groups
    abilities and columns lesions: trials of the first ability suffer from the first lesion. In both
    the score without a lesion cancels, and with it how hard an ability is.

    Parameters
    ----------
    first, second : array (case, 2)
        Scores of the cases of each group, larger is better; the first column is the first group's
        own, the second column the second group's own.
    n : int
        Exchanges of the group among cases; all of them where they are fewer.
    level : float
        Of the intervals.
    seed : int
        Draws the exchanges.

    Returns
    -------
    DoubleDissociation
        Both differences and their sum.

    Raises
    ------
    InvalidArgument
        Tables of another shape or with numbers that are not finite, or a number out of range.
    NotIdentifiable
        A group with fewer than two cases.

    References
    ----------
    Shallice (1988), From neuropsychology to mental structure.
    Dunn and Kirsner (2003), What can we infer from double dissociations?

    Examples
    --------
    >>> speech, reading = [[2, 9], [3, 8], [1, 9], [2, 7]], [[8, 4], [9, 3], [9, 5], [7, 3]]
    >>> found = double_dissociation(speech, reading, seed=0)
    >>> found.index, found.crossed
    (10.75, True)
    """
    own, other = (_table(name, x) for name, x in (("first", first), ("second", second)))
    if n < 1 or not 0 < level < 1:
        raise InvalidArgument(f"n must be 1 or more and level in (0, 1), not {n} and {level}")
    # How much more each case favours the second column; the second group should not.
    a, b = own[:, 1] - own[:, 0], other[:, 1] - other[:, 0]
    values, count, exact = _exchanged(np.concatenate([a, b]), len(a), n, seed)
    index = float(a.mean() - b.mean())
    return DoubleDissociation(
        first=float(a.mean()),
        second=float(-b.mean()),
        index=index,
        first_interval=_student(a, level),
        second_interval=_student(-b, level),
        interval=_welch(a, b, level),
        null=Null.of(
            index,
            values,
            exchanged="the group of each case with that of another one",
            n_arrangements=count,
            exact=exact,
        ),
    )


def specialisation(first: ArrayLike, second: ArrayLike) -> Float[np.ndarray, " part"]:
    r"""To which of two abilities parts belong, from what their removal costs.

    .. math:: s = \frac{d_1 - d_2}{|d_1| + |d_2|}

    Parameters
    ----------
    first, second : array (part,)
        Drop of either score without each part, on scales that can be compared, such as shares of
        the intact score.

    Returns
    -------
    array (part,)
        1 where the first ability alone suffers, -1 where the second does; 0 where nothing does.

    Raises
    ------
    InvalidArgument
        Other shapes, or numbers that are not finite.

    Examples
    --------
    >>> specialisation([0.4, 0.0, 0.75], [0.0, 0.5, 0.25]).tolist()
    [1.0, -1.0, 0.5]
    """
    one, two = np.asarray(first, float), np.asarray(second, float)
    if one.ndim != 1 or one.shape != two.shape or not np.isfinite([one, two]).all():
        raise InvalidArgument(
            f"drops must be finite, one of each part in both, not of the shapes {one.shape} and "
            f"{two.shape}"
        )
    both = np.abs(one) + np.abs(two)
    return np.divide(one - two, both, out=np.zeros_like(both), where=both > 0)


def _table(name: str, scores: ArrayLike) -> Scores:
    table = np.asarray(scores, float)
    if table.ndim != 2 or table.shape[1] != 2 or not np.isfinite(table).all():
        raise InvalidArgument(
            f"{name} must have two finite scores of each case, (case, 2), not the shape "
            f"{table.shape}" + (" with NaN" if table.ndim == 2 and table.shape[1] == 2 else "")
        )
    if len(table) < 2:
        raise NotIdentifiable(f"{name} has {len(table)} cases; two or more are needed")
    return table


def _exchanged(
    x: Float[np.ndarray, " case"], n_first: int, n: int, seed: int
) -> tuple[Float[np.ndarray, " draw"], int, bool]:
    """Differences of means of random groups; how many there are, and whether these are all."""
    count = math.comb(len(x), n_first)
    rest = len(x) - n_first
    if count <= n:
        sums = np.array([x[list(group)].sum() for group in combinations(range(len(x)), n_first)])
    else:
        rng = spawn(seed, "double_dissociation")
        step = max(1, CHUNK // len(x))
        drawn = [
            rng.permuted(np.tile(x, (min(step, n - i), 1)), axis=1)[:, :n_first].sum(1)
            for i in range(0, n, step)
        ]
        sums = np.concatenate(drawn)
    return sums / n_first - (x.sum() - sums) / rest, count, count <= n


def _student(x: Float[np.ndarray, " case"], level: float) -> Interval:
    middle, half = float(x.mean()), float(student_half(x, level))
    return Interval(middle - half, middle + half, level, "Student")


def _welch(a: Float[np.ndarray, " case"], b: Float[np.ndarray, " other"], level: float) -> Interval:
    middle = float(a.mean() - b.mean())
    one, two = a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)
    if one + two == 0:
        return Interval(middle, middle, level, "Welch")
    freedom = (one + two) ** 2 / (one**2 / (len(a) - 1) + two**2 / (len(b) - 1))
    half = float(stats.t.ppf((1 + level) / 2, freedom) * np.sqrt(one + two))
    return Interval(middle - half, middle + half, level, "Welch")
