"""Look over files whose libraries never come back from damage: FIF and EEGLAB's .set."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

from bregma.errors import InvalidRecording
from bregma.recording._limits import Budget
from bregma.recording._matlab_5 import level_5


def look_over(path: Path, max_bytes: int | None = None) -> None:
    """Raise InvalidRecording where the structure of a .fif, .fif.gz or .set file is broken.

    MNE follows the tags of a FIF file wherever they point, in circles too, and SciPy, which
    reads .set files for it, ends the process over some damaged MATLAB files.
    """
    name = path.name.lower()
    if name.endswith(".fif"):
        with path.open("rb") as file:
            _tags(file, path.stat().st_size)
    elif name.endswith(".fif.gz"):
        with gzip.open(path, "rb") as file:
            _tags(file, None)
    elif name.endswith(".set"):
        with path.open("rb") as file:
            head = file.read(128)
        if head[126:128] in (b"IM", b"MI"):
            level_5(path, Budget(max_bytes))


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
