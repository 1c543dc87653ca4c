"""Read and write recordings: find the file that knows the format, and say what went wrong."""

from __future__ import annotations

import importlib
import inspect
import os
import re
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from bregma.errors import (
    BregmaError,
    InvalidArgument,
    InvalidRecording,
    MissingExtra,
    UnknownName,
    UnreadableRecording,
    nearest,
)
from bregma.recording._damage import look_over

if TYPE_CHECKING:
    import pandas as pd

    from bregma.recording import Dissimilarity, Recording, SpikeTrains

# What a file name ends with -> the file of this room that reads it: one line per format.
MODULES: dict[str, str] = {
    ".npz": "_npz",
    ".npy": "_npz",
    ".mat": "_matlab",
    ".csv": "_table",
    ".tsv": "_table",
    ".parquet": "_table",
    ".nc": "_store",
    ".zarr": "_store",
    ".nii": "_nifti",
    ".nii.gz": "_nifti",
    ".nwb": "_nwb",
    ".set": "_mne",
    ".fif": "_mne",
    ".fif.gz": "_mne",
    ".edf": "_mne",
    ".bdf": "_mne",
    ".vhdr": "_mne",
}

_NEVER = (
    (b"version https://git-lfs", "a Git LFS pointer: fetch the file itself with 'git lfs pull'"),
    (b"/annex/objects/", "a git-annex pointer: fetch the file itself with 'git annex get'"),
    (b"\x80\x04\x95", "a Python pickle, which bregma never opens because it can run any code"),
    (b"<!DOCTYPE", "a web page: the download was perhaps refused"),
    (b"<!doctype", "a web page: the download was perhaps refused"),
    (b"<html", "a web page: the download was perhaps refused"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"%PDF", "a PDF document"),
)
_KNOWN = (
    (b"\x93NUMPY", "a NumPy array (.npy)"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file (.nc, .nwb or .mat of version 7.3)"),
    (b"MATLAB 5.0 MAT-file", "a MATLAB file (.mat)"),
    (b"MATLAB 7.3 MAT-file", "a MATLAB file of version 7.3 (.mat)"),
    (b"PK\x03\x04", "a ZIP archive (such as .npz)"),
    (b"PAR1", "a Parquet table (.parquet)"),
    (b"\x1f\x8b", "a gzip archive (such as .nii.gz or .fif.gz)"),
    (b"CDF", "a NetCDF file of version 3: convert it to NetCDF 4"),
)


def read(
    path: Any, key: str | None = None, **options: Any
) -> Recording | Dissimilarity | SpikeTrains:
    """Read a recording, dissimilarities or spike trains from a file of any known format.

    Parameters
    ----------
    path : str, Path or BIDSPath
        The file, or the folder of a Zarr store. ``"PATH::KEY"`` names one of several things
        in it.
    key : str, optional
        Which of several things in the file is wanted: an array, a variable, a series.
    **options
        What the format allows; see `readers`.

    Returns
    -------
    Recording, Dissimilarity or SpikeTrains
        What the file holds.

    Raises
    ------
    UnreadableRecording
        The file is not there, empty, damaged, hostile or of another kind; the message names
        it and says why.
    UnknownName
        There is no such key or option; the message has the nearest names.
    InvalidArgument
        An option is needed or does not fit the file.
    MissingExtra
        The format needs a library that is not installed.

    Examples
    --------
    >>> import bregma, numpy as np, tempfile, os
    >>> file = os.path.join(tempfile.mkdtemp(), "responses.npz")
    >>> np.savez(file, rates=np.random.rand(3, 2), image=["cat", "dog", "car"])
    >>> bregma.read(file).stimuli
    array(['cat', 'dog', 'car'], dtype='<U3')
    """
    file, key = split_key(path, key)
    _check_there(file)
    module = _module_of(file)
    _check_options(module, options)
    with reading(file):
        look_over(file, options.get("max_bytes"))
        return module.read(file, key, **options)


def write(what: Recording | Dissimilarity | SpikeTrains, path: str | Path) -> Path:
    """Write it in the format that the name of the file ends with."""
    path = Path(path)
    module = _module_of(path)
    if not hasattr(module, "write"):
        raise InvalidArgument(
            f"{path.name}: bregma reads this format and does not write it; "
            "write .zarr, .nc or .nwb instead"
        )
    module.write(what, path)
    return path


def readers() -> dict[str, str]:
    """What can be read: each suffix with its options.

    Returns
    -------
    dict
        Suffix (``".npz"``) to the options of `read`, separated by commas.

    Examples
    --------
    >>> import bregma
    >>> "presentation" in bregma.recording.readers()[".npz"]
    True
    """
    return {suffix: ", ".join(_options(_load(name))) for suffix, name in MODULES.items()}


def read_images(path: str | Path, key: str | None = None) -> tuple[np.ndarray, pd.DataFrame]:
    """Images of a .npy, .npz or .mat file with the table that lies beside them.

    Parameters
    ----------
    path : str or Path
        The file, or ``"PATH::KEY"``.
    key : str, optional
        Name of an array (image, height, width[, channel]), or of a MATLAB struct array with
        a field ``image``; not needed where there is only one.

    Returns
    -------
    array
        Shape (image, height, width) or (image, height, width, channel).
    DataFrame
        One row for each image: one-dimensional arrays of that length, or the other fields.

    Raises
    ------
    UnreadableRecording
        As `read` does.
    """
    file, key = split_key(path, key)
    _check_there(file)
    module = _module_of(file)
    if not hasattr(module, "shelf"):
        raise InvalidArgument(f"{file.name}: images are read from .npy, .npz and .mat files")
    with reading(file):
        look_over(file)
        if hasattr(module, "images"):
            return module.images(file, key)
        from bregma.recording._shelf import images_of

        return images_of(module.shelf(file), key)


def split_key(path: Any, key: str | None = None) -> tuple[Path, str | None]:
    """Split ``"PATH::KEY"``; a file whose own name holds ``::`` is found too."""
    text = os.fspath(path)
    if not isinstance(text, str):
        raise InvalidArgument(f"path must be text or a Path, not {type(text).__name__}")
    if "\0" in text:
        raise InvalidArgument("path holds a NUL character")
    head, mark, tail = text.rpartition("::")
    if not mark or os.path.exists(text):
        return Path(text).expanduser(), key
    if key is not None:
        raise InvalidArgument(f"the key is given twice: {tail!r} in the path and key={key!r}")
    if not head or not tail:
        raise InvalidArgument(f"{text!r}: write PATH::KEY, such as responses.npz::betas")
    return Path(head).expanduser(), tail


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn whatever a library raises while it reads `path` into `UnreadableRecording`."""
    try:
        yield
    except InvalidRecording as error:
        raise UnreadableRecording(path, str(error)) from error
    except BregmaError:
        raise
    except MemoryError as error:
        raise UnreadableRecording(
            path, "it does not fit into memory, or its header is damaged and asks for too much"
        ) from error
    except PermissionError as error:
        raise UnreadableRecording(path, "reading it is not permitted") from error
    except ModuleNotFoundError as error:
        raise MissingExtra(f"{path.name} needs {error.name!r}, which is not installed") from error
    except Exception as error:
        raise UnreadableRecording(path, _reason(path, error)) from error


def _load(name: str) -> ModuleType:
    return importlib.import_module(f"bregma.recording.{name}")


def _suffix_of(path: Path) -> str:
    name = path.name.lower()
    ends = [suffix for suffix in MODULES if name.endswith(suffix)]
    if not ends:
        suffix = path.suffix.lower()
        raise UnreadableRecording(
            path,
            f"no reader knows {suffix!r}; known: {', '.join(MODULES)}"
            if suffix
            else f"its name has no suffix that tells the format; known: {', '.join(MODULES)}",
        )
    return max(ends, key=len)


def _module_of(path: Path) -> ModuleType:
    return _load(MODULES[_suffix_of(path)])


def _options(module: ModuleType) -> list[str]:
    parameters = inspect.signature(module.read).parameters.values()
    return [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]


def _check_options(module: ModuleType, options: dict[str, Any]) -> None:
    known = _options(module)
    for name in options:
        if name not in known:
            raise UnknownName.of(f"option of {'/'.join(module.SUFFIXES)} files", name, known)


def _check_there(path: Path) -> None:
    if not path.exists():
        folder = path.parent
        if not folder.is_dir():
            raise UnreadableRecording(path, f"there is no folder {str(folder)!r}")
        near = nearest(path.name, (entry.name for entry in folder.iterdir()))
        near = [name for name in near if _alike(name, path.name)]
        hint = f"; nearest in that folder: {', '.join(near)}" if near else ""
        raise UnreadableRecording(path, f"there is no such file{hint}")
    is_store = path.name.lower().endswith(".zarr")
    if path.is_dir():
        if not is_store:
            raise UnreadableRecording(path, "it is a folder; name a file in it")
        if not any(path.iterdir()):
            raise UnreadableRecording(path, "the folder is empty")
    elif not path.is_file():
        raise UnreadableRecording(path, "it is neither a file nor a folder")
    elif path.stat().st_size == 0:
        raise UnreadableRecording(path, "the file is empty (0 bytes); copy it again")
    elif is_store:
        raise UnreadableRecording(path, "a Zarr store is a folder, and this is a file")
    elif other := _looks_like(path, _NEVER):
        raise UnreadableRecording(path, f"it is {other}")


def _alike(name: str, wanted: str) -> bool:
    return bool(nearest(wanted, [name])) and name[:1].lower() == wanted[:1].lower()


def _reason(path: Path, error: Exception) -> str:
    said = re.sub(r"\s+", " ", str(error)).strip()[:200]
    said = f"{type(error).__name__}: {said}" if said else type(error).__name__
    looks = _looks_like(path, _KNOWN)
    *_, (frame, line) = traceback.walk_tb(error.__traceback__)
    ours = Path(frame.f_code.co_filename)
    return (
        f"it is damaged, truncated or no {_suffix_of(path)} file"
        f"{f'; it begins like {looks}' if looks else ''} ({said}). "
        "Copy it again from where it came from, or open it with the program that wrote it"
        # What a file holds can end in any error here too: whose fault it is, its owner can tell.
        + (f"; if that can, please report line {line} of bregma's {ours.name}"
           if ours.parent == Path(__file__).parent else "")
    )  # fmt: skip


def _looks_like(path: Path, kinds: Sequence[tuple[bytes, str]]) -> str | None:
    """What the first bytes of a file say that it is."""
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError:
        return None
    return next((what for magic, what in kinds if head.startswith(magic)), None)
