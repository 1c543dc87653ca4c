"""Read MATLAB files (.mat): arrays, cells, structs, and struct arrays of RDMs or images."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bregma.errors import InvalidRecording, UnknownName
from bregma.recording._damage import HDF5
from bregma.recording._dissimilarity import Dissimilarity
from bregma.recording._limits import Budget
from bregma.recording._matlab_5 import level_4, level_5
from bregma.recording._matlab_7_3 import Struct, level_7_3
from bregma.recording._recording import Missing, Recording
from bregma.recording._shelf import Shelf, from_shelf, images_of

SUFFIXES = (".mat",)

_RDM_FIELD = re.compile(r"(?i)^(rdm|rdms|rdv|dissimilarity|dissimilarities)$")
_IMAGE_FIELD = re.compile(r"(?i)^(image|img|picture|stimulus|pixels)$")
# How the RSA toolbox for MATLAB names its RDMs: "hIT | BE | Session: 1".
_RSA_NAME = re.compile(
    r"^(?P<area>[^|]+?) \| (?P<subject>[^|]+?)(?: \| Session: *(?P<session>\d+))?$"
)


def read(
    path: Path,
    key: str | None = None,
    *,
    dims: Sequence[str] | None = None,
    presentation: Sequence[str] | None = None,
    unit: Sequence[str] | None = None,
    time: str | None = None,
    sampling_rate: float | None = None,
    measured_in: str | None = None,
    missing: Missing = "raise",
    max_bytes: int | None = None,
) -> Recording | Dissimilarity:
    """Read RDMs, or one array of the file and the arrays that label it; see `from_shelf`.

    A struct array with a field ``RDM`` (square, or the pairs as a vector) gives a
    Dissimilarity whose table holds the other fields. Fields of a struct are named with dots
    (``"session.rates"``). `max_bytes` is the most that the file may take in memory.
    """
    content = _variables(path, key, max_bytes)
    structs = {name: value for name, value in content.items() if _rdm_field(value)}
    if key is None and len(structs) == 1:
        key = next(iter(structs))
    if key in structs:
        return _rdms(key, structs[key])
    return from_shelf(
        _shelf(content),
        key,
        dims=dims,
        presentation=presentation,
        unit=unit,
        time=time,
        sampling_rate=sampling_rate,
        measured_in=measured_in,
        missing=missing,
    )


def shelf(path: Path, *, max_bytes: int | None = None) -> Shelf:
    """All arrays of the file, with vectors as one-dimensional arrays."""
    return _shelf(_variables(path, None, max_bytes))


def images(path: Path, key: str | None) -> tuple[np.ndarray, pd.DataFrame]:
    """Images of a struct array with a field ``image``, or of an array, and their table."""
    content = _variables(path, key, None)
    structs = {
        name: field
        for name, value in content.items()
        if isinstance(value, Struct) and (field := _field(value, _IMAGE_FIELD))
    }
    if key is None and len(structs) == 1:
        key = next(iter(structs))
    if key in structs:
        struct, field = content[key], structs[key]
        pictures = [np.asarray(x) for x in struct.fields[field].flat]
        sizes = {x.shape for x in pictures}
        if len(sizes) != 1 or any(x.dtype.kind not in "iuf" for x in pictures):
            raise InvalidRecording(
                f"{key}.{field}: the images must be numbers of one size; there are "
                f"{len(sizes)} sizes"
            )
        return np.stack(pictures), pd.DataFrame(_columns(struct, but=field))
    return images_of(_shelf(content), key)


def _variables(path: Path, key: str | None, max_bytes: int | None) -> dict[str, Any]:
    """All variables: numbers with MATLAB's shape, texts as str, cells as object arrays, Structs."""
    budget = Budget(max_bytes)
    with path.open("rb") as file:
        head = file.read(512 + len(HDF5))
    if HDF5 in (head[:8], head[512:]):
        found = level_7_3(path, budget)
    elif head[126:128] in (b"IM", b"MI") and len(head) >= 128:
        found = level_5(path, budget)
    else:
        found = level_4(path, budget)
    if not found:
        raise InvalidRecording("it holds no variables")
    if key is not None and key.split(".")[0] not in found:
        raise UnknownName.of("variable", key, found)
    return found


def _shelf(content: dict[str, Any]) -> Shelf:
    arrays = {name: array for name, value in content.items() for name, array in _flat(name, value)}

    def load(name: str) -> np.ndarray:
        if arrays[name].dtype == object:
            raise InvalidRecording(f"{name!r} is a cell array of unequal parts, not one array")
        return arrays[name]

    return Shelf({name: (array.shape, array.dtype) for name, array in arrays.items()}, load)


def _flat(name: str, value: Any) -> Iterator[tuple[str, np.ndarray]]:
    """Arrays under their names; fields of a struct as ``struct.field``."""
    if isinstance(value, Struct):
        for field, parts in value.fields.items():
            inner = parts.flat[0] if parts.size == 1 else parts
            yield from _flat(f"{name}.{field}", inner)
        return
    array = np.asarray(value)
    if array.dtype == object:
        array = _from_cell(array)
    # MATLAB has no one-dimensional arrays: a row or a column is meant.
    if array.ndim == 2 and 1 in array.shape and array.size > 1:
        array = array.ravel()
    yield name, array


def _from_cell(cell: np.ndarray) -> np.ndarray:
    """A cell array as one array where that can be: of texts, of numbers, of equal matrices."""
    parts = list(cell.flat)
    if parts and all(isinstance(x, str) for x in parts):
        return np.array(parts).reshape(cell.shape)
    numbers = [x for x in parts if isinstance(x, np.ndarray) and x.dtype.kind in "biuf"]
    if parts and len(numbers) == len(parts) and len({x.shape for x in numbers}) == 1:
        if numbers[0].size == 1:
            return np.array([x.item() for x in numbers]).reshape(cell.shape)
        return np.stack(numbers)
    return cell


def _field(struct: Struct, pattern: re.Pattern[str]) -> str | None:
    return next((field for field in struct.fields if pattern.match(field)), None)


def _rdm_field(value: Any) -> str | None:
    """Field that holds dissimilarities, where this is a struct array of RDMs."""
    if not isinstance(value, Struct) or (field := _field(value, _RDM_FIELD)) is None:
        return None
    parts = list(value.fields[field].flat)
    fits = all(isinstance(x, np.ndarray) and x.ndim == 2 and x.dtype.kind in "iuf" for x in parts)
    return field if parts and fits else None


def _rdms(name: str, struct: Struct) -> Dissimilarity:
    field = _rdm_field(struct)
    assert field is not None
    parts = list(struct.fields[field].flat)
    shapes = {x.shape for x in parts}
    if len(shapes) != 1:
        raise InvalidRecording(
            f"the RDMs of {name!r} have different shapes: {', '.join(map(str, sorted(shapes)))}"
        )
    values = np.stack(parts).astype(float)  # struct arrays are walked row by row
    columns = _columns(struct, but=field)
    columns |= _parsed(columns.get("name"))
    if 1 in shapes.pop():
        # squareform of MATLAB goes down the columns of the lower triangle, which is the
        # order of the rows of the upper triangle: that of numpy.triu_indices.
        return Dissimilarity(values.reshape(len(values), -1), rdms=columns, name=name)
    return Dissimilarity.from_square(values, rdms=columns, name=name)


def _columns(struct: Struct, but: str) -> dict[str, np.ndarray]:
    """Fields that hold one number or one text in every element."""
    found = {}
    for field, parts in struct.fields.items():
        values = [
            x.item() if isinstance(x, np.ndarray) and x.size == 1 and x.dtype != object else x
            for x in parts.flat
        ]
        kinds = {str if isinstance(x, str) else float for x in values if np.isscalar(x)}
        if field != but and len(kinds) == 1 and all(np.isscalar(x) for x in values):
            found[field] = np.array(values)
    return found


def _parsed(names: np.ndarray | None) -> dict[str, np.ndarray]:
    """Area, subject and session, where all names follow the RSA toolbox."""
    found = [_RSA_NAME.match(str(name)) for name in ([] if names is None else names)]
    if not found or not all(found):
        return {}
    rows = [match.groupdict() for match in found if match is not None]
    columns = {x: np.array([row[x] for row in rows]) for x in ("area", "subject")}
    if all(row["session"] is not None for row in rows):
        columns["session"] = np.array([int(row["session"]) for row in rows])
    return columns
