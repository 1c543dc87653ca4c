"""Dissimilarity: representational dissimilarity matrices (RDMs) with their labels."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from bregma.errors import InvalidArgument, InvalidRecording, UnknownName
from bregma.recording._labels import (
    Labels,
    Table,
    check_ids,
    clean_labels,
    first_appearance,
    positions,
    select_mask,
    shown,
    table_columns,
)


class Dissimilarity:
    """One or several RDMs over the same stimuli.

    Parameters
    ----------
    values : array
        Shape (rdm, pair) or (pair,): dissimilarity of each pair of stimuli, in the order of
        ``numpy.triu_indices(n, 1)``. Cross-validated distances may be negative.
    stimuli : sequence, optional
        A distinct label for each stimulus; ``"0"``, ``"1"``, ... where none are given.
    rdms : DataFrame, mapping or sequence, optional
        What each RDM is: ``subject``, ``session``, ``area``, ``time`` ...; or a label each.
    measure : str
        Name of the dissimilarity, such as ``"correlation"``.
    name : str, optional
        Name of the set, used in tables and figures.

    Raises
    ------
    InvalidRecording
        Wrong shapes, NaN, labels that repeat.

    Examples
    --------
    >>> from bregma import Dissimilarity
    >>> Dissimilarity([1.0, 2.0, 1.5], stimuli=["cat", "dog", "cup"])
    Dissimilarity(1 RDM of 3 stimuli, unknown measure)
    """

    __slots__ = ("measure", "name", "rdms", "stimuli", "values")
    values: Float[np.ndarray, "rdm pair"]
    stimuli: Labels
    rdms: pd.DataFrame
    measure: str
    name: str | None

    def __init__(
        self,
        values: Any,
        *,
        stimuli: Iterable[Any] | None = None,
        rdms: Table | Iterable[Any] | None = None,
        measure: str = "unknown measure",
        name: str | None = None,
    ) -> None:
        values = np.atleast_2d(np.asarray(values, dtype=float))
        if values.ndim != 2 or values.size == 0:
            raise InvalidRecording(f"RDMs must be (rdm, pair), their shape is {values.shape}")
        n = (1 + int(np.sqrt(1 + 8 * values.shape[1]))) // 2
        if n * (n - 1) // 2 != values.shape[1]:
            raise InvalidRecording(
                f"{values.shape[1]} pairs belong to no number of stimuli "
                f"({n} have {n * (n - 1) // 2}); use Dissimilarity.from_square for matrices"
            )
        if stimuli is None:
            stimuli = np.arange(n).astype(str)
        labels = clean_labels(
            stimuli if isinstance(stimuli, np.ndarray) else list(stimuli), "stimuli"
        )
        check_ids(labels, "stimulus")
        if len(labels) != n:
            raise InvalidRecording(f"{len(labels)} stimuli, but {values.shape[1]} pairs of {n}")
        if not np.isfinite(values).all():
            i, j = np.triu_indices(n, 1)
            rdm, pair = np.argwhere(~np.isfinite(values))[0]
            raise InvalidRecording(
                f"{int((~np.isfinite(values)).sum())} dissimilarities are NaN or infinite, first "
                f"in RDM {rdm} between {shown([labels[i[pair]], labels[j[pair]]])}; "
                "leave those stimuli or RDMs out"
            )
        columns = table_columns(rdms, "rdm", len(values), np.arange(len(values)))
        ids = columns.pop("rdm")
        if not np.array_equal(ids, np.arange(len(values))):
            columns.setdefault("label", ids)
        values = values.view()  # read-only here, without touching the caller's own array
        values.flags.writeable = False
        for key, value in (("values", values), ("stimuli", labels), ("measure", str(measure)),
                           ("rdms", pd.DataFrame(columns, index=range(len(values)))),
                           ("name", name)):  # fmt: skip
            object.__setattr__(self, key, value)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Dissimilarity is never changed in place; make a new one ({name})")

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self.values, self.stimuli, self.rdms, self.measure, self.name)

    @classmethod
    def from_square(
        cls,
        matrices: Any,
        *,
        stimuli: Iterable[Any] | None = None,
        rdms: Table | Iterable[Any] | None = None,
        measure: str = "unknown measure",
        name: str | None = None,
    ) -> Dissimilarity:
        """Take square matrices.

        Parameters
        ----------
        matrices : array
            Shape (stimulus, stimulus) or (rdm, stimulus, stimulus), symmetric; the diagonal
            is not used.
        stimuli, rdms, measure, name
            As for the class.

        Returns
        -------
        Dissimilarity
            The RDMs.

        Raises
        ------
        InvalidRecording
            Not square or not symmetric.
        """
        square = np.asarray(matrices, dtype=float)
        square = square[None] if square.ndim == 2 else square
        if square.ndim != 3 or square.shape[1] != square.shape[2] or square.shape[1] < 2:
            raise InvalidRecording(f"RDMs must be square matrices, their shape is {square.shape}")
        scale = np.abs(square).max()
        uneven = np.abs(square - square.transpose(0, 2, 1)).max()
        if uneven > 1e-5 * scale:
            raise InvalidRecording(
                f"the matrices are not symmetric (they differ by up to {uneven:.3g}); "
                "average them with their transposes if that is what you mean"
            )
        i, j = np.triu_indices(square.shape[1], 1)
        return cls(square[:, i, j], stimuli=stimuli, rdms=rdms, measure=measure, name=name)

    @property
    def n_rdms(self) -> int:
        """Number of RDMs."""
        return len(self.values)

    @property
    def n_stimuli(self) -> int:
        """Number of stimuli."""
        return len(self.stimuli)

    @property
    def n_pairs(self) -> int:
        """Number of pairs of stimuli."""
        return self.values.shape[1]

    def square(self) -> Float[np.ndarray, "rdm stimulus stimulus"]:
        """Square matrices with a diagonal of zeros.

        Returns
        -------
        array
            Shape (rdm, stimulus, stimulus).
        """
        i, j = np.triu_indices(self.n_stimuli, 1)
        out = np.zeros((self.n_rdms, self.n_stimuli, self.n_stimuli))
        out[:, i, j] = out[:, j, i] = self.values
        return out

    def _with(self, values: Any, stimuli: Any, rdms: Any) -> Dissimilarity:
        return Dissimilarity(
            values, stimuli=stimuli, rdms=rdms, measure=self.measure, name=self.name
        )

    def named(self, name: str | None) -> Dissimilarity:
        """Same RDMs under another name.

        Parameters
        ----------
        name : str or None
            The name.

        Returns
        -------
        Dissimilarity
            The renamed RDMs.
        """
        return Dissimilarity(self.values, stimuli=self.stimuli, rdms=self.rdms,
                             measure=self.measure, name=name)  # fmt: skip

    def column(self, name: str) -> Labels:
        """Labels of one column of the table of RDMs.

        Parameters
        ----------
        name : str
            The column.

        Returns
        -------
        array
            One label for each RDM.
        """
        if name not in self.rdms:
            raise UnknownName.of("column of the table of RDMs", name, self.rdms)
        return clean_labels(self.rdms[name].to_numpy(), f"column {name!r}")

    def select(self, **wanted: Any) -> Dissimilarity:
        """Keep the RDMs that have the wanted labels.

        Parameters
        ----------
        **wanted : scalar, sequence, slice or function
            For each column of the table of RDMs.

        Returns
        -------
        Dissimilarity
            Those that fulfil all of them.
        """
        keep = np.ones(self.n_rdms, dtype=bool)
        for name, value in wanted.items():
            keep &= select_mask(self.column, list(self.rdms), name, value)
        if not keep.any():
            raise InvalidArgument(f"no RDM fulfils all of {wanted!r} at once")
        return self._with(self.values[keep], self.stimuli, self.rdms[keep].reset_index(drop=True))

    def select_stimuli(self, stimuli: Iterable[Any]) -> Dissimilarity:
        """Keep some stimuli, in the order in which they are given.

        Parameters
        ----------
        stimuli : sequence
            Labels, each at most once.

        Returns
        -------
        Dissimilarity
            The RDMs of these stimuli.

        Raises
        ------
        UnknownName
            A stimulus that is not there.
        """
        wanted = np.asarray(list(stimuli))
        rows = np.array(positions(self.stimuli, wanted.tolist(), "stimulus"))
        i, j = np.triu_indices(len(rows), 1)
        return self._with(self.values[:, self._pair(rows[i], rows[j])], wanted, self.rdms)

    def _pair(self, i: Any, j: Any) -> Any:
        """Index of the pair (i, j) in the order of triu_indices."""
        low, high = np.minimum(i, j), np.maximum(i, j)
        return low * self.n_stimuli - low * (low + 1) // 2 + high - low - 1

    def align(self, other: Dissimilarity) -> tuple[Dissimilarity, Dissimilarity]:
        """Bring two sets to the stimuli that they share, in the order of this one.

        Parameters
        ----------
        other : Dissimilarity
            The other set.

        Returns
        -------
        (Dissimilarity, Dissimilarity)
            Both over the same stimuli.

        Raises
        ------
        InvalidRecording
            Fewer than two stimuli are shared.
        """
        there = set(other.stimuli.tolist())
        shared = [s for s in self.stimuli.tolist() if s in there]
        if len(shared) < 2:
            raise InvalidRecording(
                f"the RDMs share {len(shared)} stimuli: one has {shown(self.stimuli)}, the "
                f"other {shown(other.stimuli)}; the labels must name them alike"
            )
        if len(shared) == self.n_stimuli and np.array_equal(self.stimuli, other.stimuli):
            return self, other
        return self.select_stimuli(shared), other.select_stimuli(shared)

    def mean(self, by: str | None = None) -> Dissimilarity:
        """Average RDMs, all of them or those of each label.

        Parameters
        ----------
        by : str, optional
            A column of the table of RDMs, such as ``"subject"``.

        Returns
        -------
        Dissimilarity
            One RDM, or one for each label; columns that are constant within each stay.
        """
        labels = np.zeros(self.n_rdms, dtype=int) if by is None else self.column(by)
        distinct, rank = first_appearance(labels)
        groups = [np.flatnonzero(rank == i) for i in range(len(distinct))]
        values = np.stack([self.values[rows].mean(axis=0) for rows in groups])
        table = {
            str(name): [column.iloc[rows[0]] for rows in groups]
            for name, column in self.rdms.items()
            if all(column.iloc[rows].nunique(dropna=False) == 1 for rows in groups)
        }
        return self._with(values, self.stimuli, table)

    def concat(self, *others: Dissimilarity) -> Dissimilarity:
        """Put sets of RDMs over the same stimuli together.

        Parameters
        ----------
        *others : Dissimilarity
            Sets of the same measure; stimuli are brought to this one's order.

        Returns
        -------
        Dissimilarity
            All RDMs; columns that only some sets have are left out.
        """
        parts = [self]
        for other in others:
            if set(other.stimuli.tolist()) != set(self.stimuli.tolist()):
                raise InvalidRecording("the RDMs are not over the same stimuli; .align() them")
            if other.measure != self.measure:
                raise InvalidRecording(f"one set is {self.measure}, another {other.measure}")
            parts.append(other.select_stimuli(self.stimuli))
        shared = [name for name in self.rdms if all(name in part.rdms for part in parts)]
        table = pd.concat([part.rdms[shared] for part in parts], ignore_index=True)
        return self._with(np.concatenate([part.values for part in parts]), self.stimuli, table)

    def save(self, path: str | Path) -> Path:
        """Write to a file that `bregma.read` gives back exactly.

        Parameters
        ----------
        path : str or Path
            Ending in ``.zarr`` or ``.nc``; replaced in one step if it exists.

        Returns
        -------
        Path
            Where it was written.
        """
        from bregma.recording._read import write

        return write(self, path)

    def identical(self, other: object) -> bool:
        """Whether values, labels, tables, measure and name are all the same.

        Parameters
        ----------
        other : object
            What to compare with.

        Returns
        -------
        bool
            True where nothing differs.
        """
        return (
            isinstance(other, Dissimilarity)
            and (self.measure, self.name) == (other.measure, other.name)
            and np.array_equal(self.values, other.values)
            and self.stimuli.dtype.kind == other.stimuli.dtype.kind
            and np.array_equal(self.stimuli, other.stimuli)
            and self.rdms.equals(other.rdms)
        )

    def __repr__(self) -> str:
        name = f"{self.name!r}, " if self.name else ""
        many = "RDM" if self.n_rdms == 1 else "RDMs"
        return (
            f"Dissimilarity({name}{self.n_rdms} {many} of {self.n_stimuli} stimuli, {self.measure})"
        )

    def __rich__(self) -> Any:
        from bregma.recording._show import as_rich, summary_of_rdms

        return as_rich(self, summary_of_rdms(self))

    def _repr_html_(self) -> str:
        table = self.rdms.head(20).to_html(escape=True) if len(self.rdms.columns) else ""
        return f"<div><b>{escape(repr(self))}</b>{table}</div>"


def _rebuild(values: Any, stimuli: Any, rdms: Any, measure: str, name: str | None) -> Dissimilarity:
    return Dissimilarity(values, stimuli=stimuli, rdms=rdms, measure=measure, name=name)
