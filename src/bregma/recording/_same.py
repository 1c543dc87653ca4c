"""When two recordings are the same: all of them compared, or a hash of what they hold."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from bregma.recording._recording import Recording


def identical(a: Recording, b: Recording) -> bool:
    """See `Recording.identical`."""
    if a.sessions is None or b.sessions is None:
        same_sessions = a.sessions is b.sessions
    else:
        same_sessions = a.sessions.equals(b.sessions)
    same_types = a.data.dtype == b.data.dtype and all(
        a.data[name].dtype.kind == b.data[name].dtype.kind
        for name in a.data.coords
        if name in b.data.coords
    )
    same = a.measured_in == b.measured_in and same_sessions and same_types
    return same and a.data.identical(b.data)


def content_hash(recording: Recording) -> str:
    """See `Recording.content_hash`."""
    digest = hashlib.blake2b(digest_size=32)
    parts = [("values", recording.values)]
    parts += sorted((str(name), c.values) for name, c in recording.data.coords.items())
    for name, array in parts:
        if array.dtype.kind == "U":  # independent of the longest label's width
            array = np.frombuffer("\0".join(array).encode(), dtype=np.uint8)
        little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        digest.update(f"{name}|{little.dtype.str}|{array.shape}|".encode())
        digest.update(little.view(np.uint8).data if little.size else b"")
    digest.update(repr(recording.measured_in).encode())
    return digest.hexdigest()
