"""Look over files whose libraries never come back from damage: HDF5, FIF and EEGLAB's .set."""

from __future__ import annotations

import functools
import gzip
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

from bregma.errors import InvalidRecording
from bregma.recording._limits import Budget
from bregma.recording._matlab_5 import level_5

HDF5 = b"\x89HDF\r\n\x1a\n"
_SECONDS = 10.0

# What HDF5 does in a process that may die: all names and attributes, the index of all chunks,
# and the values of what is small.
_WALK = """
import sys, h5py
def see(name, item):
    for key in item.attrs:
        item.attrs[key]
    if isinstance(item, h5py.Dataset) and item.shape is not None and not item.external:
        if item.chunks:
            item.id.get_num_chunks()
        if item.size * item.dtype.itemsize < 1_000_000:
            item[()]
def try_to_see(name, item):
    try:
        see(name, item)
    except Exception:
        pass
with h5py.File(sys.argv[1], "r") as file:
    try_to_see("/", file)
    file.visititems(try_to_see)
"""


def look_over(path: Path, max_bytes: int | None = None) -> None:
    """Raise InvalidRecording where a file would stall or end the process that reads it.

    HDF5 can loop for ever over damaged files, MNE follows the tags of a FIF file wherever they
    point, in circles too, and SciPy, which reads .set files for it, ends the process over some
    damaged MATLAB files.
    """
    if not path.is_file():
        return
    name = path.name.lower()
    with path.open("rb") as file:
        head = file.read(512 + len(HDF5))
    if HDF5 in (head[: len(HDF5)], head[512:]):
        status = path.stat()
        if reason := _hdf5(str(path), status.st_mtime_ns, status.st_size):
            raise InvalidRecording(reason)
    elif name.endswith(".fif"):
        with path.open("rb") as file:
            _tags(file, path.stat().st_size)
    elif name.endswith(".fif.gz"):
        with gzip.open(path, "rb") as file:
            _tags(file, None)
    elif name.endswith(".set") and head[126:128] in (b"IM", b"MI"):
        level_5(path, Budget(max_bytes))


@functools.lru_cache(maxsize=256)
def _hdf5(path: str, changed: int, size: int) -> str | None:
    """Why HDF5 does not survive this state of the file; None where it does."""
    seconds = _SECONDS + size / 1e7
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", _WALK, path],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            timeout=seconds, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"the HDF5 library did not come back from it within {seconds:.0f} s: damaged"
    except OSError:  # no second process can be started here: HDF5 has to be trusted
        return None
    return "the HDF5 library crashes over it: the file is damaged" if done.returncode < 0 else None


def _tags(file: Any, size: int | None) -> None:
    """Follow the chain of tags; each lies behind the one before it."""
    at = 0
    while True:
        head = file.read(16)
        if not head:
            return
        if len(head) < 16:
            raise InvalidRecording("it ends in the middle of a tag: truncated or damaged")
        length, following = struct.unpack(">8xii", head)
        if length < 0 or (size is not None and at + 16 + length > size):
            raise InvalidRecording(
                f"the tag at byte {at} declares {length} bytes, more than there are: truncated "
                "or damaged"
            )
        if following < 0:
            return
        target = following or at + 16 + length
        if target < at + 16:
            raise InvalidRecording(f"the tag at byte {at} points backwards: the file is damaged")
        file.seek(target)
        at = target
