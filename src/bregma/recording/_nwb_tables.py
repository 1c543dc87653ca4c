"""Tables of an NWB file as flat columns, and its names of units of measurement."""

from __future__ import annotations

from typing import Any

import numpy as np

from bregma.errors import InvalidArgument, InvalidRecording
from bregma.recording._labels import Labels
from bregma.recording._measured_in import check_measured_in

_MEASURED_IN = {
    "volts": "V", "volt": "V", "millivolts": "mV", "microvolts": "uV", "amperes": "A",
    "ampere": "A", "amps": "A", "picoamperes": "pA", "siemens": "S", "ohms": "Ohm",
    "seconds": "s", "meters": "m", "metres": "m", "meter": "m", "centimeters": "cm",
    "hertz": "Hz", "farads": "F", "radians": "rad", "degrees": "deg", "meters/second": "m/s",
    "meters per second": "m/s", "percent": "%", "df/f": "dF/F", "dff": "dF/F", "pixels": "pixel",
}  # fmt: skip


def measured_in_of(unit: Any) -> str | None:
    """Unit of measurement of a series, or None where bregma knows none of that name."""
    text = str(unit).strip()
    try:
        return check_measured_in(_MEASURED_IN.get(text.lower(), text or None))
    except InvalidArgument:
        return None


def columns_of(table: Any, rows: Any = slice(None)) -> dict[str, Labels]:
    """Columns of a DynamicTable that hold one number, text or object name in each row."""
    from hdmf.common import DynamicTableRegion, VectorIndex

    columns = {}
    for column in table.columns:
        index = table[column.name] if isinstance(column, VectorIndex) else None
        if any(c is not column and getattr(c, "target", None) is column for c in table.columns):
            continue  # values of a ragged column; its index comes by itself
        if isinstance(column, DynamicTableRegion):
            continue
        if index is not None:
            labels = _joined(column)
            if labels is None:
                continue
            name = column.target.name
        else:
            shape = np.shape(column.data)
            if len(shape) != 1:
                continue
            name, labels = column.name, column.data[:]
        labels = flat_labels(np.asarray(labels)[rows])
        if labels is not None:
            columns[str(name)] = labels
    return columns


def flat_labels(values: Any) -> Labels | None:
    """Numbers or text as labels; objects of the file by their names; None for anything else."""
    if values.dtype.kind in "biufU":
        return values
    texts = []
    for value in values:
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        elif not isinstance(value, str):
            value = getattr(value, "name", None)
        if not isinstance(value, str):
            return None
        texts.append(value)
    return np.array(texts, dtype=str)


def ends_of(index: Any, length: int) -> Any:
    """Where each row of a ragged column ends, checked against the length of its values."""
    ends = np.asarray(index.data[:], dtype=np.int64)
    if len(ends) and (ends[-1] != length or (np.diff(ends, prepend=0) < 0).any()):
        raise InvalidRecording(f"the table is damaged: {index.name!r} does not fit its values")
    return ends


def _joined(index: Any) -> Any:
    """Ragged text (such as tags) as one text for each row; None where it is no text."""
    target = index.target
    if not hasattr(target, "data") or np.ndim(target.data) != 1:
        return None
    values = flat_labels(np.asarray(target.data[:1]))
    if values is None or values.dtype.kind != "U":
        return None
    values = flat_labels(np.asarray(target.data[:]))
    if values is None:
        return None
    ends = ends_of(index, len(values))
    return np.array([",".join(part) for part in np.split(values, ends[:-1])], dtype=str)
