"""Read NumPy files (.npz, .npy) without ever unpickling."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from bregma.errors import InvalidRecording
from bregma.recording._dissimilarity import Dissimilarity
from bregma.recording._limits import Budget
from bregma.recording._recording import Missing, Recording
from bregma.recording._shelf import Shelf, from_shelf

SUFFIXES = (".npz", ".npy")


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
    """Read one array of the file and the arrays that label it; see `from_shelf`.

    `max_bytes` is the most that one array may take in memory.
    """
    return from_shelf(
        shelf(path, max_bytes=max_bytes),
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
    """Headers of all arrays; values are read when they are asked for."""
    size = path.stat().st_size
    if path.suffix.lower() == ".npy":

        def load_one(_: str) -> np.ndarray:
            with path.open("rb") as file:
                shape, dtype, start = _header(file)
                _check(path.stem, shape, dtype, size - start, size, max_bytes)
                file.seek(0)
                return np.asarray(npy.read_array(file, allow_pickle=False))

        with path.open("rb") as whole:
            return Shelf({path.stem: _header(whole)[:2]}, load_one)

    def load(name: str) -> np.ndarray:
        with zipfile.ZipFile(path) as archive:
            info = archive.getinfo(f"{name}.npy")
            with archive.open(info) as file:
                shape, dtype, start = _header(file)
            # The archive's own directory may lie too: nothing is larger than the file.
            stored = min(info.compress_size, size)
            _check(name, shape, dtype, info.file_size - start, stored, max_bytes)
            with archive.open(info) as file:
                return np.asarray(npy.read_array(file, allow_pickle=False))

    shapes = {}
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if info.filename.endswith(".npy"):
                with archive.open(info) as file:
                    shapes[info.filename.removesuffix(".npy")] = _header(file)[:2]
    return Shelf(shapes, load)


def _header(file: Any) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """Shape, dtype and the length of the header itself."""
    version = npy.read_magic(file)
    reader = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = reader(file)
    if any(n < 0 for n in shape):
        raise InvalidRecording(f"the header declares the shape {shape}: it is damaged")
    return shape, dtype, file.tell()


def _check(
    name: str,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    held: int,
    stored: int,
    most: int | None,
) -> None:
    if dtype.hasobject:
        raise InvalidRecording(
            f"{name!r} holds Python objects, which bregma never unpickles because that can run "
            "any code; save it as numbers or text: np.savez(file, name=array.astype(float))"
        )
    declared = dtype.itemsize
    for n in shape:  # Python integers: no overflow
        declared *= n
    if declared != held:
        raise InvalidRecording(
            f"{name!r} declares {declared} bytes ({'x'.join(map(str, shape))} {dtype}), but "
            f"{held} bytes are there: the file is truncated or damaged"
        )
    Budget(most).check(declared, stored, repr(name))
