"""One answer and the parts that make it evidence: null, ceiling, interval."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from bregma.errors import InvalidArgument

from ._cite import bibtex, check_keys

if TYPE_CHECKING:
    import plotly.graph_objects as go

TIE = 1e-10  # two scores closer than this, relative to their size, differ by rounding only


def _finite(what: str, *values: float | int) -> None:
    if not all(math.isfinite(value) for value in values):
        raise InvalidArgument(f"{what} must be finite, not {', '.join(map(str, values))}")


def _probability(what: str, value: float) -> None:
    if not 0 < value <= 1:
        raise InvalidArgument(f"{what} must lie in (0, 1], not {value}")


def _sentence(what: str, text: str) -> None:
    if not text.strip():
        raise InvalidArgument(f"{what} must be said in words, not left empty")


def json_safe(value: Any, where: str = "settings") -> Any:
    """Copy `value` into dicts with text keys, lists, text, numbers, booleans and None.

    Parameters
    ----------
    value : object
        What should be stored.
    where : str
        Its place, for the error.

    Returns
    -------
    object
        The copy; NumPy numbers and arrays have become Python numbers and lists.

    Raises
    ------
    InvalidArgument
        When something in it cannot be stored as JSON, or a number is not finite.
    """
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        _finite(where, value)
        return value
    if isinstance(value, Mapping):
        return {str(key): json_safe(item, f"{where}[{key!r}]") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_safe(item, f"{where}[{i}]") for i, item in enumerate(value)]
    raise InvalidArgument(
        f"{where} is a {type(value).__name__}; "
        "only text, numbers, booleans, None, lists and dicts can be stored"
    )


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
        _finite("the ends of an interval", self.low, self.high)
        if self.low > self.high:
            raise InvalidArgument(f"an interval from {self.low} down to {self.high} is empty")
        if not 0 < self.level < 1:
            raise InvalidArgument(f"the level of an interval lies in (0, 1), not {self.level}")
        _sentence("the kind of an interval", self.kind)

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
        How many distinct arrangements there are, the observed one included; may be infinite.
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
        _sentence("what the null exchanged", self.exchanged)
        _probability("the p-value of a null", self.p_value)
        values.flags.writeable = False
        object.__setattr__(self, "values", values)

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
    _finite("the score and its null", score, *([] if null.size == 0 else [null.min(), null.max()]))
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
        _finite("the bounds of a ceiling", self.lower, self.upper)
        if self.lower > self.upper + TIE * max(abs(self.upper), 1):
            raise InvalidArgument(
                f"the lower ceiling {self.lower} is above the upper one {self.upper}"
            )
        _sentence("the kind of a ceiling", self.kind)
        _sentence("the formula of a ceiling", self.formula)
        if self.p_value is not None:
            _probability("the p-value of a ceiling", self.p_value)


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """An answer: a score with its null, ceiling, interval and p-value. Never NaN, never clipped.

    Parameters
    ----------
    question : str
        What was asked, as ``"brain ~ model"``.
    brain, model : str
        The two sides.
    score : float
        The raw score; larger means more alike.
    null : Null
        Scores under a null of the data.
    interval : Interval
        Confidence interval of the score.
    method : str
        What was computed, in words.
    n : dict of str to int
        What was counted: stimuli, subjects, draws.
    ceiling : Ceiling, optional
        How well the true model could score.
    ceiling_reason : str
        Why there is no ceiling, or no share of it; empty where there is one.
    normalised : float, optional
        Score divided by the lower ceiling; may be above 1.
    normalised_interval : Interval, optional
        Its confidence interval, to which the ceiling's uncertainty has contributed.
    system_null : Null, optional
        Scores of null systems, such as untrained twins of the model.
    per_subject : tuple of float
        The score in each subject, where there are subjects.
    settings : dict
        Everything that was chosen; text, numbers, booleans, lists and dicts.
    seed : int, optional
        What the random numbers came from.
    citations : tuple of str
        Keys of the methods' sources.

    Raises
    ------
    InvalidArgument
        When a number is not finite, a text is empty, or parts contradict each other.
    UnknownName
        When a citation key is not known.
    """

    question: str
    brain: str
    model: str
    score: float
    null: Null
    interval: Interval
    method: str
    n: dict[str, int]
    ceiling: Ceiling | None = None
    ceiling_reason: str = ""
    normalised: float | None = None
    normalised_interval: Interval | None = None
    system_null: Null | None = None
    per_subject: tuple[float, ...] = ()
    settings: dict[str, Any]
    seed: int | None
    citations: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("question", "brain", "model", "method"):
            _sentence(f"the {name} of evidence", getattr(self, name))
        _finite("a score", self.score, *self.per_subject)
        if (self.normalised is None) != (self.normalised_interval is None):
            raise InvalidArgument("a normalised score and its interval come together")
        if self.normalised is None:
            _sentence("why there is no normalised score (ceiling_reason)", self.ceiling_reason)
        else:
            _finite("a normalised score", self.normalised)
            if self.ceiling is None:
                raise InvalidArgument("a normalised score needs the ceiling that it refers to")
        if any(count < 0 for count in self.n.values()):
            raise InvalidArgument(f"counts are not negative: {self.n}")
        check_keys(self.citations)
        object.__setattr__(self, "settings", json_safe(self.settings))

    @property
    def p_value(self) -> float:
        """One-sided p of the score under the null of the data, not corrected for other models."""
        return self.null.p_value

    def to_frame(self) -> pd.DataFrame:
        """All numbers as a table of one row.

        Returns
        -------
        DataFrame
            One row; what does not exist is missing (NA) in it.
        """
        return as_frame([self])

    def to_json(self) -> str:
        """The evidence as JSON text, exactly.

        Returns
        -------
        str
            Text that `from_json` turns into equal evidence.
        """
        from ._json import evidence_to_json

        return evidence_to_json(self)

    @classmethod
    def from_json(cls, text: str) -> Evidence:
        """Read evidence from JSON text.

        Parameters
        ----------
        text : str
            What `to_json` gave.

        Returns
        -------
        Evidence
            Equal to the one that was written.

        Raises
        ------
        InvalidArgument
            When the text is truncated, of another kind, or holds impossible values.
        """
        from ._json import evidence_from_json

        return evidence_from_json(text)

    def cite(self) -> str:
        """BibTeX of the methods that made this evidence.

        Returns
        -------
        str
            One entry per source.
        """
        return bibtex(self.citations)

    def plot(self) -> go.Figure:
        """The score with its interval and ceiling, above its null distribution.

        Returns
        -------
        plotly.graph_objects.Figure
            The figure.
        """
        from ._plot import plot_nulls

        return plot_nulls([self])

    def __str__(self) -> str:
        from ._display import one_line

        return one_line(self)

    __repr__ = __str__

    def __rich__(self) -> Any:
        from ._display import rich_evidence

        return rich_evidence(self)

    def _repr_html_(self) -> str:
        from ._display import html_table

        return html_table(self.to_frame())


def as_frame(evidences: Sequence[Evidence]) -> pd.DataFrame:
    """A table with a row for each Evidence; numbers that do not exist are NA."""
    if not evidences:
        return pd.DataFrame()
    table = pd.DataFrame([_row(e) for e in evidences])
    return table.astype({c: "Float64" for c in table if c not in ("brain", "model", "method")})


def _row(evidence: Evidence) -> dict[str, Any]:
    ceiling, share, twins = evidence.ceiling, evidence.normalised_interval, evidence.system_null
    return {
        "brain": evidence.brain,
        "model": evidence.model,
        "score": evidence.score,
        "low": evidence.interval.low,
        "high": evidence.interval.high,
        "p": evidence.p_value,
        "ceiling_lower": ceiling.lower if ceiling else pd.NA,
        "ceiling_upper": ceiling.upper if ceiling else pd.NA,
        "normalised": pd.NA if evidence.normalised is None else evidence.normalised,
        "normalised_low": share.low if share else pd.NA,
        "normalised_high": share.high if share else pd.NA,
        "p_system": twins.p_value if twins else pd.NA,
        "level": evidence.interval.level,
        "method": evidence.method,
    }
