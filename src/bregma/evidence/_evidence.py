"""One answer: a score with all that makes it evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from bregma.errors import InvalidArgument

from ._cite import bibtex, check_keys
from ._parts import Ceiling, Interval, Null, finite, sentence
from ._settings import json_safe

if TYPE_CHECKING:
    import plotly.graph_objects as go


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
            sentence(f"the {name} of evidence", getattr(self, name))
        finite("a score", self.score, *self.per_subject)
        if (self.normalised is None) != (self.normalised_interval is None):
            raise InvalidArgument("a normalised score and its interval come together")
        if self.normalised is None:
            sentence("why there is no normalised score (ceiling_reason)", self.ceiling_reason)
        else:
            finite("a normalised score", self.normalised)
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
