"""What makes a score evidence: its interval, its null with the p-value, its ceiling."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from bregma.errors import InvalidArgument

TIE = 1e-10  # two scores closer than this, relative to their size, differ by rounding only


def finite(what: str, *values: float | int) -> None:
    if not all(math.isfinite(value) for value in values):
        raise InvalidArgument(f"{what} must be finite, not {', '.join(map(str, values))}")


def probability(what: str, value: float) -> None:
    if not 0 < value <= 1:
        raise InvalidArgument(f"{what} must lie in (0, 1], not {value}")


def sentence(what: str, text: str) -> None:
    if not text.strip():
        raise InvalidArgument(f"{what} must be said in words, not left empty")


@dataclass(frozen=True)
class Interval:
    """A confidence interval.

    Parameters
    ----------
    low, high : float
        Its ends.
    level : float
        How often such intervals hold the truth, in (0, 1).
    kind : str
        How it was made, in words.

    Raises
    ------
    InvalidArgument
        When an end is not finite, the ends are swapped, or the level is no probability.
    """

    low: float
    high: float
    level: float
    kind: str

    def __post_init__(self) -> None:
        finite("the ends of an interval", self.low, self.high)
        if self.low > self.high:
            raise InvalidArgument(f"an interval from {self.low} down to {self.high} is empty")
        if not 0 < self.level < 1:
            raise InvalidArgument(f"the level of an interval lies in (0, 1), not {self.level}")
        sentence("the kind of an interval", self.kind)

    def __contains__(self, value: float) -> bool:
        return bool(self.low <= value <= self.high)


@dataclass(frozen=True, eq=False)
class Null:
    """Scores that come out when there is nothing to find.

    Parameters
    ----------
    values : array of shape (draw,)
        The scores under the null.
    exchanged : str
        One sentence: what was exchanged with what.
    n_arrangements : float
        How many distinct arrangements there are, the observed one included; may be infinite, and
        is where there are more than a float can hold.
    p_value : float
        One-sided p of the observed score, in (0, 1].

    Raises
    ------
    InvalidArgument
        When there are no draws, one is not finite, the sentence is empty, or p is outside (0, 1].
    """

    values: Float[np.ndarray, " draw"]
    exchanged: str
    n_arrangements: float | int
    p_value: float

    def __post_init__(self) -> None:
        values = np.array(self.values, dtype=float)
        if values.size == 0:
            raise InvalidArgument("a null needs at least one draw")
        if not np.isfinite(values).all():
            bad = int(np.flatnonzero(~np.isfinite(values))[0])
            raise InvalidArgument(f"draw {bad} of the null is {values[bad]}, not a number")
        if not self.n_arrangements >= 1:
            raise InvalidArgument(f"a null has 1 or more arrangements, not {self.n_arrangements}")
        try:
            count = float(self.n_arrangements)
        except OverflowError:  # a whole number above every float
            count = math.inf
        sentence("what the null exchanged", self.exchanged)
        probability("the p-value of a null", self.p_value)
        values.flags.writeable = False
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "n_arrangements", count)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Null) and (
            (self.exchanged, self.n_arrangements, self.p_value)
            == (other.exchanged, other.n_arrangements, other.p_value)
            and np.array_equal(self.values, other.values)
        )

    __hash__ = None  # type: ignore[assignment]

    @classmethod
    def of(
        cls,
        score: float | int,
        values: Sequence[float | int] | Float[np.ndarray, " draw"],
        *,
        exchanged: str,
        n_arrangements: float | int = math.inf,
        exact: bool = False,
    ) -> Null:
        """Build the null of one score, with its p-value.

        Parameters
        ----------
        score : float
            The observed score; larger means better.
        values : array of shape (draw,)
            The scores under the null.
        exchanged : str
            One sentence: what was exchanged with what.
        n_arrangements : float
            How many distinct arrangements there are.
        exact : bool
            Whether `values` holds every arrangement once, the observed one included.

        Returns
        -------
        Null
            With p = (1 + #{null >= score}) / (1 + draws), or #{null >= score} / draws when exact.

        References
        ----------
        Phipson and Smyth (2010), Permutation p-values should never be zero.
        """
        values = np.asarray(values, dtype=float)
        return cls(values, exchanged, n_arrangements, permutation_p(score, values, exact=exact))

    @property
    def smallest_p(self) -> float:
        """The smallest p that this null can give, from its arrangements and its draws."""
        return max(1 / self.n_arrangements, 1 / (1 + self.values.size))


def permutation_p(
    score: float | int,
    null: Sequence[float | int] | Float[np.ndarray, " draw"],
    *,
    exact: bool = False,
) -> float:
    """One-sided p-value of a score among the scores of a null.

    A draw that differs from the score by rounding only counts as equal to it, which errs on the
    safe side.

    Parameters
    ----------
    score : float
        The observed score; larger means better.
    null : array of shape (draw,)
        The scores under the null.
    exact : bool
        Whether `null` holds every arrangement once, the observed one included.

    Returns
    -------
    float
        (1 + #{null >= score}) / (1 + draws), or #{null >= score} / draws when exact.

    Raises
    ------
    InvalidArgument
        When there are no draws, or the score or a draw is not finite, or an exact null does not
        hold the observed arrangement.

    References
    ----------
    Phipson and Smyth (2010), Permutation p-values should never be zero.

    Examples
    --------
    >>> permutation_p(0.9, [0.1, 0.2, 0.95, 0.3])
    0.4
    """
    null = np.asarray(null, dtype=float)
    finite("the score and its null", score, *([] if null.size == 0 else [null.min(), null.max()]))
    if null.size == 0:
        raise InvalidArgument("a null needs at least one draw")
    reached = int((null >= score - TIE * max(abs(score), float(np.abs(null).max()))).sum())
    if not exact:
        return (1 + reached) / (1 + null.size)
    if reached == 0:
        raise InvalidArgument(
            "no draw of the exact null reaches the score: it lacks the observed arrangement"
        )
    return reached / null.size


@dataclass(frozen=True)
class Ceiling:
    """How well the true model could score on these noisy data.

    Parameters
    ----------
    lower, upper : float
        Bounds of the best score that is possible.
    kind : str
        What the ceiling is, such as ``"reliability"`` or ``"explainable variance"``.
    formula : str
        How it was computed, in words.
    interval : Interval, optional
        Confidence interval of the lower bound.
    p_value : float, optional
        One-sided p of the lower bound being above chance.

    Raises
    ------
    InvalidArgument
        When a bound is not finite, the bounds are swapped, or a description is empty.
    """

    lower: float
    upper: float
    kind: str
    formula: str
    interval: Interval | None = None
    p_value: float | None = None

    def __post_init__(self) -> None:
        finite("the bounds of a ceiling", self.lower, self.upper)
        if self.lower > self.upper + TIE * max(abs(self.upper), 1):
            raise InvalidArgument(
                f"the lower ceiling {self.lower} is above the upper one {self.upper}"
            )
        sentence("the kind of a ceiling", self.kind)
        sentence("the formula of a ceiling", self.formula)
        if self.p_value is not None:
            probability("the p-value of a ceiling", self.p_value)
