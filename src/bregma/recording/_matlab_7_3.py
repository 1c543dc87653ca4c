"""Decode MATLAB files of version 7.3, which are HDF5 files with MATLAB's own conventions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bregma._extras import require
from bregma.errors import InvalidRecording
from bregma.recording._limits import MAX_DEPTH, Budget


@dataclass(frozen=True)
class Struct:
    """A struct array: for each field an object array with one entry for each element."""

    fields: Mapping[str, np.ndarray]


def level_7_3(path: Path, budget: Budget) -> dict[str, Any]:
    """Variables of a file of version 7.3."""
    h5py = require("h5py", extra="neuro")
    with h5py.File(path, "r") as file:
        walk = _Walk(h5py, file, budget)
        return {name: walk.value(walk.member(file, name), 0) for name in file if name[:1] != "#"}


class _Walk:
    def __init__(self, h5py: Any, file: Any, budget: Budget) -> None:
        self.h5py, self.file, self.budget = h5py, file, budget

    def member(self, group: Any, name: str) -> Any:
        """One member of a group, where it lies in this file."""
        if isinstance(group.get(name, getlink=True), self.h5py.ExternalLink):
            raise InvalidRecording(f"{name!r} lies in another file, which is not followed")
        return group[name]

    def value(self, item: Any, depth: int) -> Any:
        """One variable; cells and struct arrays refer to their parts elsewhere in the file."""
        if depth > MAX_DEPTH:
            raise InvalidRecording(f"its structs lie more than {MAX_DEPTH} deep in each other")
        if isinstance(item, self.h5py.Group):
            self.budget.take(64, 64, "a struct")  # also ends a file that refers to itself
            return Struct(
                {name: _field(self.value(self.member(item, name), depth + 1)) for name in item}
            )
        if not isinstance(item, self.h5py.Dataset) or item.shape is None:
            raise InvalidRecording("there is something that is neither a variable nor a struct")
        if item.external:
            raise InvalidRecording(f"{item.name!r} points to other files, which are not followed")
        if int(item.attrs.get("MATLAB_empty", 0)):
            return np.empty((0, 0))
        size = item.size * item.dtype.itemsize
        self.budget.take(size + 64, item.id.get_storage_size(), repr(item.name))
        values = np.asarray(item[()]).T
        if values.dtype == object:
            cell = np.empty(values.shape, dtype=object)
            for i, reference in enumerate(values.flat):
                if not isinstance(reference, self.h5py.Reference) or not reference:
                    raise InvalidRecording(f"a cell in {item.name!r} refers to nothing")
                cell.flat[i] = self.value(self.file[reference], depth + 1)
            return cell
        kind = item.attrs.get("MATLAB_class", b"")
        if kind == b"char" and values.dtype.kind in "iu":
            rows = ["".join(map(chr, row)) for row in np.atleast_2d(values).tolist()]
            return rows[0] if len(rows) == 1 else np.array(rows)
        return values.astype(bool) if kind == b"logical" else values


def _field(value: Any) -> np.ndarray:
    """A field of a struct array is an array of references; that of one struct is a value."""
    if isinstance(value, np.ndarray) and value.dtype == object:
        return value
    cell = np.empty((1, 1), dtype=object)
    cell[0, 0] = value
    return cell
