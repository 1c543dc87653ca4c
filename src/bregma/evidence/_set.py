"""The answers to one question about several models, and the tests between them."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
import pandas as pd

from bregma.errors import InvalidArgument, UnknownName

from ._cite import bibtex
from ._evidence import Evidence, as_frame
from ._multiple import benjamini_hochberg, holm

if TYPE_CHECKING:
    import plotly.graph_objects as go

_TEST = ["difference", "low", "high", "t", "dof", "p", "p_fdr", "p_fwe"]
PAIRWISE = ["brain", "model_a", "model_b", *_TEST]
TEXT_COLUMNS = ("brain", "model", "model_a", "model_b")
AGAINST_CEILING = ["brain", "model", "ceiling_lower", *_TEST]


def corrected(table: pd.DataFrame) -> pd.DataFrame:
    """The table with its p-values corrected as one family (columns ``p_fdr`` and ``p_fwe``)."""
    p = table["p"].to_numpy(float)
    return table.assign(p_fdr=benjamini_hochberg(p), p_fwe=holm(p))


class EvidenceSet(Sequence[Evidence]):
    """Evidence about several models, with the tests between them.

    Parameters
    ----------
    evidences : iterable of Evidence
        One per brain (or part of it) and model.
    pairwise : DataFrame, optional
        Tests between models: ``brain``, ``model_a``, ``model_b``, ``difference`` (a - b), ``low``,
        ``high``, ``t``, ``dof``, ``p`` (two-sided), ``p_fdr``, ``p_fwe``.
    against_ceiling : DataFrame, optional
        Tests of each model against the lower ceiling: ``brain``, ``model``, ``ceiling_lower``,
        ``difference`` (model - ceiling), and the rest as above.
    exhibits : mapping, optional
        What a report should show beside the numbers, under the argument names of
        `bregma.report.html` (RDMs, images); no part of the evidence, not written to JSON.

    Raises
    ------
    InvalidArgument
        When a brain and a model meet twice, or a table lacks a column.
    """

    def __init__(
        self,
        evidences: Iterable[Evidence],
        *,
        pairwise: pd.DataFrame | None = None,
        against_ceiling: pd.DataFrame | None = None,
        exhibits: Mapping[str, Any] | None = None,
    ) -> None:
        self.evidences = tuple(evidences)
        met: set[tuple[str, str]] = set()
        for e in self.evidences:
            if (e.brain, e.model) in met:
                raise InvalidArgument(f"{e.brain!r} and {e.model!r} meet twice in one set")
            met.add((e.brain, e.model))
        self.pairwise = _table(pairwise, PAIRWISE, "pairwise")
        self.against_ceiling = _table(against_ceiling, AGAINST_CEILING, "against_ceiling")
        self.exhibits = dict(exhibits or {})

    @classmethod
    def join(cls, sets: Iterable[EvidenceSet]) -> EvidenceSet:
        """Sets about several brains (or parts of one) as one family of tests.

        Parameters
        ----------
        sets : iterable of EvidenceSet
            The sets.

        Returns
        -------
        EvidenceSet
            All their evidence; the p-values of the tests are corrected over all of it.
        """
        sets = list(sets)
        tables: dict[str, Any] = {}
        for name in ("pairwise", "against_ceiling"):
            parts = [getattr(s, name) for s in sets if len(getattr(s, name))]
            tables[name] = corrected(pd.concat(parts, ignore_index=True)) if parts else None
        return cls((e for s in sets for e in s), **tables)

    @overload
    def __getitem__(self, index: int | str) -> Evidence: ...
    @overload
    def __getitem__(self, index: slice) -> EvidenceSet: ...

    def __getitem__(self, index: int | str | slice) -> Evidence | EvidenceSet:
        """Evidence by position or by the name of its model (of the first brain); or a part."""
        if isinstance(index, slice):
            return self._part(self.evidences[index])
        if isinstance(index, str):
            for e in self.evidences:
                if e.model == index:
                    return e
            raise UnknownName.of("model", index, self.models)
        return self.evidences[index]

    def __len__(self) -> int:
        return len(self.evidences)

    def __iter__(self) -> Iterator[Evidence]:
        return iter(self.evidences)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, EvidenceSet) and (
            self.evidences == other.evidences
            and self.pairwise.equals(other.pairwise)
            and self.against_ceiling.equals(other.against_ceiling)
        )

    __hash__ = None  # type: ignore[assignment]

    def _part(self, evidences: Sequence[Evidence]) -> EvidenceSet:
        kept = {(e.brain, e.model) for e in evidences}
        pairs = self.pairwise.to_dict("records")
        a = [
            (r["brain"], r["model_a"]) in kept and (r["brain"], r["model_b"]) in kept for r in pairs
        ]
        c = [(r["brain"], r["model"]) in kept for r in self.against_ceiling.to_dict("records")]
        return EvidenceSet(
            evidences,
            pairwise=self.pairwise.loc[np.array(a, bool)],
            against_ceiling=self.against_ceiling.loc[np.array(c, bool)],
            exhibits=self.exhibits,
        )

    @property
    def brains(self) -> list[str]:
        """Names of the brains (or parts of one), in order."""
        return list(dict.fromkeys(e.brain for e in self.evidences))

    @property
    def models(self) -> list[str]:
        """Names of the models, in order."""
        return list(dict.fromkeys(e.model for e in self.evidences))

    def showing(self, **exhibits: Any) -> EvidenceSet:
        """The same evidence with more to show in its report.

        Parameters
        ----------
        **exhibits : object
            Arguments of `bregma.report.html`, such as ``rdms`` and ``stimuli``.

        Returns
        -------
        EvidenceSet
            An equal set.
        """
        return EvidenceSet(
            self.evidences,
            pairwise=self.pairwise,
            against_ceiling=self.against_ceiling,
            exhibits={**self.exhibits, **exhibits},
        )

    @property
    def citations(self) -> tuple[str, ...]:
        """Keys of all sources, each once."""
        return tuple(dict.fromkeys(key for e in self.evidences for key in e.citations))

    def of_brain(self, brain: str) -> EvidenceSet:
        """The evidence about one brain (or part of it).

        Parameters
        ----------
        brain : str
            Its name.

        Returns
        -------
        EvidenceSet
            That part; corrected p-values stay those of the whole family.

        Raises
        ------
        UnknownName
            When there is no such brain.
        """
        if brain not in self.brains:
            raise UnknownName.of("brain", brain, self.brains)
        return self._part([e for e in self.evidences if e.brain == brain])

    def to_frame(self) -> pd.DataFrame:
        """All numbers as a table with a row per brain and model.

        Returns
        -------
        DataFrame
            Scores, intervals, ceilings and p-values; ``p_fdr`` and ``p_fwe`` are corrected over
            all rows. What does not exist is missing (NA).
        """
        table = as_frame(self.evidences)
        if len(table) == 0:
            return table
        p = table["p"].to_numpy(float)
        table.insert(6, "p_fdr", benjamini_hochberg(p))
        table.insert(7, "p_fwe", holm(p))
        return table

    def to_json(self) -> str:
        """The set as JSON text, exactly.

        Returns
        -------
        str
            Text that `from_json` turns into an equal set.
        """
        from ._json import set_to_json

        return set_to_json(self)

    @classmethod
    def from_json(cls, text: str) -> EvidenceSet:
        """Read a set from JSON text.

        Parameters
        ----------
        text : str
            What `to_json` gave.

        Returns
        -------
        EvidenceSet
            Equal to the one that was written.

        Raises
        ------
        InvalidArgument
            When the text is truncated, of another kind, or holds impossible values.
        """
        from ._json import set_from_json

        return set_from_json(text)

    def cite(self) -> str:
        """BibTeX of the methods that made this evidence.

        Returns
        -------
        str
            One entry per source.
        """
        return bibtex(self.citations)

    def plot(self, kind: Literal["scores", "nulls"] = "scores") -> go.Figure:
        """Bars with intervals and ceilings, or each score above its null distribution.

        Parameters
        ----------
        kind : {"scores", "nulls"}
            What to show; both group by brain where there are several.

        Returns
        -------
        plotly.graph_objects.Figure
            The figure.

        Raises
        ------
        InvalidArgument
            When there is nothing to plot.
        """
        from ._plot import plot_nulls, plot_scores

        if not self.evidences:
            raise InvalidArgument("an empty set of evidence has nothing to plot")
        return {"scores": plot_scores, "nulls": plot_nulls}[kind](self.evidences)

    def report(self, path: str | Path, **parts: Any) -> Path:
        """Write the HTML report of this evidence.

        Parameters
        ----------
        path : str or Path
            Where to write.
        **parts : object
            What else to show, in place of the set's own exhibits; see `bregma.report.html`.

        Returns
        -------
        Path
            The file.
        """
        # The report stands above this room, so it is called by name: nothing here depends on it.
        report = importlib.import_module("bregma.report")
        written: Path = report.html(self, path=path, **{**self.exhibits, **parts})
        return written

    def __repr__(self) -> str:
        return "\n".join(map(str, self.evidences)) or "EvidenceSet()"

    def __rich__(self) -> Any:
        from ._display import rich_set

        return rich_set(self)

    def _repr_html_(self) -> str:
        from ._display import html_table

        return html_table(self.to_frame())


def _table(table: pd.DataFrame | None, columns: list[str], name: str) -> pd.DataFrame:
    table = pd.DataFrame(columns=columns) if table is None else table
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise InvalidArgument(f"the table {name} lacks the columns {', '.join(missing)}")
    kinds = {c: "str" if c in TEXT_COLUMNS else "float64" for c in columns}
    table = table[columns].astype(kinds).reset_index(drop=True)
    numbers = table.select_dtypes("number").to_numpy(float)
    if not np.isfinite(numbers).all():
        raise InvalidArgument(f"the table {name} holds a number that is not finite")
    return table
