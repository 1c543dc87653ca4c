"""Atomic writing: a file or folder is there whole, or it is not there."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary neighbour of `path` to write to, and move it there when all went well.

    The neighbour has the same suffix and does not exist yet, so that the body may make it a
    file or a folder. When the body raises, it is removed and `path` stays as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    room = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    part = room / path.name
    try:
        yield part
        old = room / "old"
        if path.is_dir() and not path.is_symlink():  # a folder cannot be replaced in one step
            os.replace(path, old)
            try:
                os.replace(part, path)
            except BaseException:
                os.replace(old, path)
                raise
        else:
            os.replace(part, path)
    finally:
        _remove(room)


def atomic_write_text(path: str | Path, text: str) -> Path:
    """Write text (UTF-8) so that readers see the old file or the new one, never a part."""
    with atomic_path(path) as part:
        part.write_text(text, encoding="utf-8")
    return Path(path)
