"""Writing a recording to disk batch by batch, so that it can be interrupted and taken up again."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from bregma._extras import require
from bregma._files import atomic_path
from bregma.errors import InvalidArgument
from bregma.recording import Recording, read

Block = Shaped[np.ndarray, "presentation unit"]


def stream(
    fill: Callable[[slice, Block], None],
    shape: tuple[int, int],
    dtype: np.dtype,
    *,
    batch_size: int,
    key: str,
    label: Callable[[Any], Recording],
    to: str | Path,
) -> Recording:
    """Compute rows of a recording in batches, write them to a Zarr store, and open that.

    Finished batches are kept beside the store (``.NAME.parts-KEY``) until it is complete. A run
    that finds batches of an earlier one computes the first batch again: only if not a bit of it
    has changed are the others used.

    Parameters
    ----------
    fill : callable
        Takes a slice of rows and an array, and writes the values of these rows to it.
    shape : (int, int)
        Presentations and units.
    dtype : numpy.dtype
        Type of the values.
    batch_size : int
        Rows at a time.
    key : str
        Hash of everything that is known about the run.
    label : callable
        Lazy values to a Recording of them.
    to : str or Path
        Folder of the store, ending in ``.zarr``.

    Returns
    -------
    Recording
        What was written.
    """
    to = Path(to)
    if to.suffix.lower() != ".zarr":
        raise InvalidArgument(f"to={str(to)!r} must end in .zarr: batches are written to Zarr")
    da = require("dask.array", extra="scale")
    config = require("dask.config", extra="scale")
    require("zarr", extra="scale")
    parts = to.with_name(f".{to.name}.parts-{key[:16]}")
    rows = [slice(i, min(i + batch_size, shape[0])) for i in range(0, shape[0], batch_size)]
    files = [parts / f"{part.start}.npy" for part in rows]
    block = np.empty((min(batch_size, shape[0]), shape[1]), dtype)
    fill(rows[0], block)
    if not (files[0].exists() and _same(files[0], block)):
        shutil.rmtree(parts, ignore_errors=True)
        _save(files[0], block)
    for part, file in zip(rows[1:], files[1:], strict=True):
        if not file.exists():
            here = block[: part.stop - part.start]
            fill(part, here)
            _save(file, here)
    name = f"parts-{key}"
    values = da.Array(
        {(name, i, 0): (partial(_load, file),) for i, file in enumerate(files)},
        name,
        (tuple(part.stop - part.start for part in rows), (shape[1],)),
        dtype=dtype,
    )
    with config.set(scheduler="synchronous"):  # one batch in memory at a time
        label(values).save(to)
    for path in list(to.parent.iterdir()):  # also what earlier runs with other settings left
        if path.name.startswith(f".{to.name}.parts-"):
            shutil.rmtree(path, ignore_errors=True)
    written = read(to)
    assert isinstance(written, Recording)
    return written


def run_key(*parts: object) -> str:
    """Hash of the settings of a run.

    Parameters
    ----------
    *parts : object
        Things whose repr says all about them.

    Returns
    -------
    str
        32 hexadecimal digits.
    """
    return hashlib.blake2b(repr(parts).encode(), digest_size=16).hexdigest()


def _save(file: Path, values: Block) -> None:
    with atomic_path(file) as part:
        np.save(part, values, allow_pickle=False)


def _load(file: Path) -> Block:
    return np.load(file, allow_pickle=False)


def _same(file: Path, values: Block) -> bool:
    before = _load(file)
    return (before.shape, before.dtype) == (values.shape, values.dtype) and (
        before.tobytes() == values.tobytes()
    )
