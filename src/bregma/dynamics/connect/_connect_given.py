"""Connections that are given, as a matrix or as the table of a connectome, with their weights."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse
from jaxtyping import Float64, Int64

from bregma.dynamics.connect._connect import Rows, Rule, check_slice
from bregma.errors import InvalidArgument, UnknownName


@dataclass(frozen=True, eq=False)
class _Stored:
    """A whole graph in memory, with numbers of each synapse."""

    shape: tuple[int, int]
    indptr: Int64[np.ndarray, " pre_and_end"]
    targets: Any
    numbers: dict[str, Any]

    def rows(self, n_pre: int, n_post: int, key: int, first: int, last: int) -> Rows:
        check_slice(n_pre, n_post, key, first, last)
        if (n_pre, n_post) != self.shape:
            raise InvalidArgument(
                f"the connections given are those of {self.shape[0]} presynaptic and "
                f"{self.shape[1]} postsynaptic units, not of {n_pre} and {n_post}"
            )
        begin, end = self.indptr[[first, last]]
        return Rows(self.indptr[first : last + 1] - begin, self.targets[begin:end])

    def values(self, first: int, last: int) -> dict[str, Float64[np.ndarray, " synapse"]]:
        check_slice(*self.shape, 0, first, last)
        begin, end = self.indptr[[first, last]]
        return {name: numbers[begin:end] for name, numbers in self.numbers.items()}


def _read_only(values: Any, dtype: Any) -> np.ndarray:
    values = np.array(values, dtype)
    values.flags.writeable = False
    return values


@dataclass(frozen=True, eq=False)
class FromMatrix(Rule):
    """Synapses and weights of a matrix.

    Parameters
    ----------
    weights : array (pre, post) or SciPy sparse matrix
        Weights. Of an array, the entries that are not 0 are synapses; of a sparse matrix, those
        that are stored, also where they are 0. Entries stored twice are added, as SciPy does.

    Raises
    ------
    InvalidArgument
        If this is no matrix of finite numbers; from `rows`, if the sizes are others.
    """

    weights: Any
    _stored: _Stored = field(init=False, repr=False)

    def __post_init__(self) -> None:
        sparse = scipy.sparse.issparse(self.weights)
        given = self.weights if sparse else np.asarray(self.weights)
        if given.ndim != 2 or given.dtype.kind not in "biuf":
            raise InvalidArgument(
                f"weights must be a matrix (pre, post) of real numbers, not of {given.dtype} in "
                f"{given.ndim} dimensions"
            )
        matrix = scipy.sparse.csr_array(given, dtype=np.float64, copy=True)
        matrix.sum_duplicates()  # sorts the rows as well
        if not np.isfinite(matrix.data).all():
            raise InvalidArgument(
                f"{int((~np.isfinite(matrix.data)).sum())} weights are NaN or infinite"
            )
        stored = _Stored(
            matrix.shape,
            _read_only(matrix.indptr, np.int64),
            _read_only(matrix.indices, np.int32),
            {"weight": _read_only(matrix.data, np.float64)},
        )
        object.__setattr__(self, "_stored", stored)

    def rows(self, n_pre: int, n_post: int, key: int, first: int, last: int) -> Rows:
        return self._stored.rows(n_pre, n_post, key, first, last)

    def values(self, first: int, last: int) -> dict[str, Float64[np.ndarray, " synapse"]]:
        """Weights of the synapses of a slice, in the order of `rows`.

        Parameters
        ----------
        first, last : int
            The slice of presynaptic units.

        Returns
        -------
        dict of str to array (synapse,)
            ``"weight"``.

        Raises
        ------
        InvalidArgument
            If there is no such slice.
        """
        return self._stored.values(first, last)


@dataclass(frozen=True, eq=False)
class FromTable(Rule):
    """Synapses of a table, such as the edge list of a connectome.

    Parameters
    ----------
    table : pandas.DataFrame
        A row for each synapse: ``pre`` and ``post`` hold ids of units, ``weight`` and ``delay``
        (both optional) its numbers. A pair of units is one synapse and occurs once; how several
        are put together is for you to say, for instance
        ``table.groupby(["pre", "post"], as_index=False).agg({"weight": "sum", "delay": "min"})``.
    pre, post : iterable
        Ids of the units of both populations, in their order.

    Raises
    ------
    UnknownName
        If the table has no column ``pre`` or ``post``, or names a unit that is not in the
        population.
    InvalidArgument
        If ids or pairs occur twice, or numbers are not finite; from `rows`, if the sizes are
        others.
    """

    table: pd.DataFrame
    pre: Iterable[Hashable]
    post: Iterable[Hashable]
    _stored: _Stored = field(init=False, repr=False)

    def __post_init__(self) -> None:
        columns = [str(c) for c in self.table.columns]
        ids, place = {}, {}
        for side in ("pre", "post"):
            if side not in columns:
                raise UnknownName.of("column", side, columns)
            ids[side] = _ids(getattr(self, side), side)
            place[side] = _places(self.table[side], ids[side], side)
            object.__setattr__(self, side, ids[side])
        shape = len(ids["pre"]), len(ids["post"])
        pair = place["pre"] * shape[1] + place["post"]
        order = np.argsort(pair, kind="stable")
        again = np.flatnonzero(np.diff(pair[order]) == 0)
        if len(again):
            row = self.table.iloc[order[again[0] + 1]]
            raise InvalidArgument(
                f"{len(again)} synapses join units that are joined already, first "
                f"{row['pre']} -> {row['post']}; put them together first, for instance with "
                'table.groupby(["pre", "post"], as_index=False)["weight"].sum()'
            )
        count = np.bincount(place["pre"], minlength=shape[0])
        numbers = {name: _numbers(self.table[name], name)[order]
                   for name in ("weight", "delay") if name in columns}  # fmt: skip
        stored = _Stored(
            shape,
            _read_only(np.append(0, np.cumsum(count)), np.int64),
            _read_only(place["post"][order], np.int32),
            {name: _read_only(values, np.float64) for name, values in numbers.items()},
        )
        object.__setattr__(self, "_stored", stored)

    def rows(self, n_pre: int, n_post: int, key: int, first: int, last: int) -> Rows:
        return self._stored.rows(n_pre, n_post, key, first, last)

    def values(self, first: int, last: int) -> dict[str, Float64[np.ndarray, " synapse"]]:
        """Numbers of the synapses of a slice, in the order of `rows`.

        Parameters
        ----------
        first, last : int
            The slice of presynaptic units.

        Returns
        -------
        dict of str to array (synapse,)
            ``"weight"`` and ``"delay"``, those that the table has.

        Raises
        ------
        InvalidArgument
            If there is no such slice.
        """
        return self._stored.values(first, last)


def _ids(given: Iterable[Hashable], side: str) -> pd.Index:
    index = pd.Index(list(given))
    if not index.is_unique:
        raise InvalidArgument(f"{side} names {index[index.duplicated()][0]!r} more than once")
    return index


def _places(named: pd.Series, ids: pd.Index, side: str) -> Int64[np.ndarray, " synapse"]:
    place = ids.get_indexer(pd.Index(named)).astype(np.int64)
    unknown = pd.unique(named[place < 0])
    if len(unknown):
        first = ", ".join(map(repr, unknown[:5].tolist()))
        more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
        raise UnknownName(
            f"column {side!r} names units that are not in the population of {len(ids)}: "
            f"{first}{more}; leave those rows out or add the units"
        )
    return place


def _numbers(column: pd.Series, name: str) -> Float64[np.ndarray, " synapse"]:
    try:
        values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise InvalidArgument(f"column {name!r} must hold numbers: {error}") from error
    for wrong, what in (
        (~np.isfinite(values), "NaN or infinite"),
        (values < 0 if name == "delay" else np.zeros(0, bool), "negative"),
    ):
        if wrong.any():
            raise InvalidArgument(f"column {name!r} is {what}, first in row {np.argmax(wrong)}")
    return values
