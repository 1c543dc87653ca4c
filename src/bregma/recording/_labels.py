"""Labels of presentations and units: what a coordinate may hold, and tables of them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Shaped

from bregma.errors import InvalidArgument, InvalidRecording, UnknownName

Labels = Shaped[np.ndarray, " _"]
Table = pd.DataFrame | Mapping[str, Any]


def shown(labels: Any, most: int = 5) -> str:
    """The first few labels, for a message."""
    labels = list(labels)
    text = ", ".join(repr(x.item() if isinstance(x, np.generic) else x) for x in labels[:most])
    return text + (f", ... ({len(labels)} in all)" if len(labels) > most else "")


def clean_labels(values: Any, what: str) -> Labels:
    """One-dimensional array of numbers, booleans, dates or text; text is held as NumPy str."""
    if hasattr(values, "detach"):  # a torch tensor
        values = values.detach().cpu().numpy()
    array = np.asarray(values)
    if array.ndim != 1:
        raise InvalidRecording(f"{what} must be one-dimensional, its shape is {array.shape}")
    if array.dtype == object or array.dtype.kind in "OT":
        if not all(isinstance(x, str) for x in array):
            odd = next(x for x in array if not isinstance(x, str))
            raise InvalidRecording(
                f"{what} mixes text with other things, such as {odd!r}; "
                "make all of it text or all of it numbers"
            )
        array = array.astype(str) if array.size else np.empty(0, dtype="<U1")
    if array.dtype.kind not in "biufUMm":
        raise InvalidRecording(f"{what} holds {array.dtype}; numbers, text and dates are possible")
    return array


def check_ids(ids: Labels, what: str) -> None:
    """Refuse ids that are missing, empty or given twice."""
    if ids.dtype.kind == "f" and not np.isfinite(ids).all():
        raise InvalidRecording(f"{what} ids hold NaN or infinity; give every {what} a name")
    if ids.dtype.kind == "U" and (ids == "").any():
        raise InvalidRecording(f"{what} ids hold empty text; give every {what} a name")
    if len(set(ids.tolist())) < len(ids):  # a set is several times faster than sorting
        names, counts = np.unique(ids, return_counts=True)
        raise InvalidRecording(
            f"{what} ids are given more than once: {shown(names[counts > 1])}; "
            f"make them unique, for example by putting subject or session before the name"
        )


def table_columns(table: Any, dim: str, length: int, default_ids: Any) -> dict[str, Labels]:
    """Columns of a table, a mapping or a sequence of ids, with the ids under the name `dim`.

    Where it has no ids they are the default ones; None leaves that to others.
    """
    if table is None:
        columns: dict[str, Any] = {}
    elif isinstance(table, pd.DataFrame):
        columns = {str(name): table[name].to_numpy() for name in table}
        named = table.index.name == dim or not isinstance(table.index, pd.RangeIndex)
        if dim not in columns and named:
            columns[dim] = table.index.to_numpy()
    elif isinstance(table, Mapping):
        columns = dict(table)
    else:
        columns = {dim: table}
    if default_ids is not None:
        columns.setdefault(dim, default_ids)
    cleaned = {}
    for name, values in columns.items():
        if np.ndim(values) == 0:
            values = np.full(length, values)
        labels = clean_labels(values, f"{dim} coordinate {name!r}")
        if len(labels) != length:
            raise InvalidRecording(
                f"{dim} coordinate {name!r} has {len(labels)} entries, "
                f"but the values have {length} along {dim!r}"
            )
        cleaned[name] = labels
    return cleaned


def matches(labels: Labels, wanted: Any) -> Bool[np.ndarray, " _"]:
    """Which labels a scalar, a sequence, a slice (both ends included) or a function selects."""
    if isinstance(wanted, slice):
        if wanted.step is not None:
            raise InvalidArgument("a slice over labels has no step; use slice(start, stop)")
        keep = np.ones(len(labels), dtype=bool)
        if wanted.start is not None:
            keep &= labels >= wanted.start
        if wanted.stop is not None:
            keep &= labels <= wanted.stop
        return keep
    if isinstance(wanted, Callable):  # type: ignore[arg-type]
        return np.asarray(wanted(labels), dtype=bool)
    wanted = np.atleast_1d(np.asarray(wanted))
    if wanted.size and (wanted.dtype.kind == "U") != (labels.dtype.kind == "U"):
        return np.zeros(len(labels), dtype=bool)  # text never equals a number
    return np.isin(labels, wanted)


def select_mask(
    coordinates: Callable[[str], Labels], names: Sequence[Hashable], name: str, wanted: Any
) -> Bool[np.ndarray, " _"]:
    """Mask of one coordinate, or the error that says what could have been selected."""
    if name not in names:
        raise UnknownName.of("coordinate", name, names)
    labels = coordinates(name)
    keep = matches(labels, wanted)
    if not keep.any():
        raise InvalidArgument(
            f"nothing has {name}={wanted!r}; {name!r} holds {shown(np.unique(labels))}"
        )
    return keep


def positions(labels: Labels, wanted: Sequence[Any], kind: str) -> list[int]:
    """Where each of the wanted labels is among distinct ones; `kind` says what they are."""
    where = {label: i for i, label in enumerate(labels.tolist())}
    for label in wanted:
        if label not in where:
            raise UnknownName.of(kind, label, where)
    return [where[label] for label in wanted]


def first_appearance(labels: Labels) -> tuple[Labels, Any]:
    """Distinct labels in the order of their first appearance, and the rank of each label."""
    distinct, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return distinct[order], rank[inverse]
