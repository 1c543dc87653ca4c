"""Compile generated source once for all processes: it lives in a cache folder, under its hash."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
import tempfile
from functools import lru_cache
from pathlib import Path
from types import ModuleType

import llvmlite
import numba
import platformdirs

from bregma._files import atomic_write_text
from bregma.dynamics.engines import (
    _cpu_kernels,
    _cpu_meet,
    _cpu_prefetch,
    _event_kernels,
    _math_numba,
)
from bregma.dynamics.randomness import _random, _random_numba

# Numba does not notice when these change
_USED = (
    _cpu_kernels,
    _cpu_meet,
    _cpu_prefetch,
    _event_kernels,
    _math_numba,
    _random,
    _random_numba,
)

# Names that generated source may use beside Python's own
HEADER = """\
import math
import numpy as np
from numba import njit
from bregma.dynamics.randomness import _random_numba as random
from bregma.dynamics.engines._math_numba import NAMES
kernel = njit(cache=True, nogil=True, error_model="numpy")
inline = njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
"""
_NAMES = "{0} = NAMES[{1!r}][{0!r}]\n"


def cache_folder() -> Path:
    """Where compiled kernels are kept: BREGMA_CACHE_DIR, or the platform's place for caches."""
    chosen = os.environ.get("BREGMA_CACHE_DIR") or platformdirs.user_cache_dir("bregma")
    folder = Path(chosen).expanduser().absolute() / "kernels"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if os.access(folder, os.W_OK | os.X_OK):
            return folder
    except OSError:
        pass
    return _passing_folder()


@lru_cache(maxsize=1)
def _passing_folder() -> Path:
    """A folder of this process alone, where nothing can be kept."""
    room = tempfile.TemporaryDirectory(prefix="bregma-kernels-")
    _kept_alive.append(room)
    return Path(room.name)


_kept_alive: list[tempfile.TemporaryDirectory[str]] = []


@lru_cache(maxsize=1)
def _versions() -> str:
    sources = [Path(str(module.__file__)).read_text(encoding="utf-8") for module in _USED]
    return "\n".join([numba.__version__, llvmlite.__version__, sys.version, *sources])


@lru_cache(maxsize=512)
def load(source: str, dtype: str, name: str = "kernel") -> ModuleType:
    """Import generated source, from the cache where the same source was compiled before.

    Parameters
    ----------
    source : str
        Functions decorated with ``@kernel`` (compiled, cached, without the GIL) or ``@inline``.
        They may use ``F``, the functions of `NUMBA` (exp, log ... in the precision asked for),
        ``np``, ``math`` and ``random`` (`_random_numba`).
    dtype : {"float32", "float64"}
        Precision of ``F`` and of the functions.
    name : str
        How the file begins, for tracebacks.

    Returns
    -------
    module
        Its functions compile at their first call, or are read from the cache.
    """
    names = "".join(_NAMES.format(n, dtype) for n in _math_numba.NAMES[dtype])
    text = f"{HEADER}{names}\n{source}"
    digest = hashlib.sha256(f"{_versions()}\n{text}".encode()).hexdigest()[:24]
    return import_text(text, f"{name}_{digest}")


def import_text(text: str, stem: str) -> ModuleType:
    """Import source code as a module that lies in the cache folder under a name."""
    path = cache_folder() / f"{stem}.py"
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        atomic_write_text(path, text)
    spec = importlib.util.spec_from_file_location(f"bregma_kernels.{stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # Numba looks for the module of what it reads from its cache
    spec.loader.exec_module(module)
    return module
