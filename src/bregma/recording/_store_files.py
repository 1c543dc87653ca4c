"""Variables of a NetCDF file or Zarr store by name, read in parts, and never trusted.

NetCDF 4 is read through h5py and Zarr through its own library, not through xarray: in damaged
files HDF5 loops for ever over the dimension scales that h5netcdf asks it for, and numcodecs
allocates as many texts as the first four bytes of a chunk say.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bregma._extras import require
from bregma.errors import InvalidRecording

_HDF5_HIDDEN = {"DIMENSION_LIST", "REFERENCE_LIST", "CLASS", "NAME", "_Netcdf4Dimid",
                "_Netcdf4Coordinates", "_nc3_strict", "_NCProperties"}  # fmt: skip
_CODECS = {"zstd": {"level", "checksum"}, "gzip": {"level"}, "zlib": {"level"}, "lz4": set(),
           "blosc": {"cname", "clevel", "shuffle", "blocksize"}}  # fmt: skip


@dataclass(frozen=True)
class Variable:
    """What is known of one variable before it is read."""

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunks: tuple[int, ...]
    attrs: dict[str, Any]

    @property
    def nbytes(self) -> int:
        """Bytes that its values take in memory."""
        return math.prod(self.shape) * max(self.dtype.itemsize, 1)


@dataclass(frozen=True)
class Store:
    """An open NetCDF file or Zarr store."""

    path: Path
    source: Any
    variables: dict[str, Variable]
    attrs: dict[str, Any]

    def read(self, name: str, index: Any = ...) -> np.ndarray:
        """Values of a variable, or a part of them; text as an array of str objects."""
        array = self.source[name]
        if self.variables[name].dtype.kind in "OT":
            if self.path.is_dir():
                return _zarr_text(self.path, array)[index]
            text = array.asstr()[()] if array.dtype.kind == "O" else array[()]
            return np.asarray(text, dtype=object)[index]
        values = np.asarray(array[index])
        shape = self.variables[name].shape
        if index is ... and values.shape != shape:
            raise InvalidRecording(f"{name!r} has the shape {values.shape} and declares {shape}")
        return values


@contextmanager
def opened(path: Path) -> Iterator[Store]:
    """Open a Zarr store (a folder) or a NetCDF file for reading."""
    if path.is_dir():
        yield _zarr(path)
        return
    h5py = require("h5py", extra="neuro")
    with h5py.File(path, "r") as file:
        yield _netcdf(path, h5py, file)


def _netcdf(path: Path, h5py: Any, file: Any) -> Store:
    variables = {}
    for name in file:
        if isinstance(file.get(name, getlink=True), h5py.ExternalLink):
            raise InvalidRecording(f"{name!r} lies in another file, which is not followed")
        item = file[name]
        if (
            not isinstance(item, h5py.Dataset)
            or item.shape is None
            or item.dtype.kind not in "biufOS"
        ):
            continue
        if item.external:
            raise InvalidRecording(f"{name!r} points to other files, which are not followed")
        if h5py.check_string_dtype(item.dtype) is None and item.dtype.kind == "O":
            continue
        if bytes(item.attrs.get("NAME", b"")).startswith(b"This is a netCDF dimension but not"):
            continue
        scales = item.attrs.get("DIMENSION_LIST")
        if scales is not None and len(scales) == item.ndim:
            dims = tuple(file[x[0]].name.removeprefix("/") for x in scales)
        else:  # a dimension names itself, other things have dimensions without names
            dims = (name,) if item.ndim == 1 else tuple(f"{name}_{i}" for i in range(item.ndim))
        attrs = _attributes(item)
        variables[name] = Variable(dims, item.shape, item.dtype, item.chunks or item.shape, attrs)
    return Store(path, file, variables, _attributes(file))


def _attributes(item: Any) -> dict[str, Any]:
    """Attributes of a file or variable, single values as such, without those of HDF5 itself."""
    found = {name: item.attrs[name] for name in item.attrs if name not in _HDF5_HIDDEN}
    return {
        name: x.decode() if isinstance(x, bytes) else x.ravel()[0] if np.size(x) == 1
        and isinstance(x, np.ndarray) else x
        for name, x in found.items()
    }  # fmt: skip


def _zarr(path: Path) -> Store:
    zarr = require("zarr", extra="scale")
    n_files = 0
    for file in path.rglob("*"):
        n_files += 1
        if file.name in ("zarr.json", ".zarray", ".zmetadata") and file.is_file():
            _refuse_pickle(json.loads(file.read_text(encoding="utf-8")), file.name)
    group = zarr.open_group(path, mode="r", use_consolidated=False)
    variables = {}
    for name, array in sorted(group.arrays()):
        attrs = dict(array.attrs)
        dims = getattr(array.metadata, "dimension_names", None) or attrs.pop(
            "_ARRAY_DIMENSIONS", [f"{name}_{i}" for i in range(array.ndim)]
        )
        dtype = np.dtype(object) if array.dtype.kind in "OT" else np.dtype(array.dtype)
        variables[name] = Variable(tuple(map(str, dims)), array.shape, dtype, array.chunks, attrs)
        if len(variables[name].dims) != array.ndim:
            raise InvalidRecording(f"{name!r} names {len(dims)} dimensions and has {array.ndim}")
        if array.nchunks > 100 * n_files + 1000:
            raise InvalidRecording(
                f"{name!r} declares {array.nchunks} chunks, but the store has {n_files} files"
            )
        if "bregma_format" in group.attrs and array.nchunks_initialized != array.nchunks:
            raise InvalidRecording(
                f"of {array.nchunks} chunks of {name!r} {array.nchunks_initialized} are there: "
                "the store is not complete; copy it again"
            )
    return Store(path, group, variables, dict(group.attrs))


def _refuse_pickle(part: Any, file: str) -> None:
    """Codecs are named in the metadata; one of them runs code."""
    if isinstance(part, dict):
        for key, value in part.items():
            if key in ("id", "name") and isinstance(value, str) and "pickle" in value.lower():
                raise InvalidRecording(
                    f"{file} asks for the codec {value!r}, which can run any code: refused"
                )
            _refuse_pickle(value, file)
    elif isinstance(part, list):
        for value in part:
            _refuse_pickle(value, file)


def _zarr_text(path: Path, array: Any) -> np.ndarray:
    """Texts of an array whose chunks are compressed lists of (length, UTF-8)."""
    out = np.empty(array.shape, dtype=object)
    out[...] = ""
    codecs = _byte_codecs(array)
    for where in np.ndindex(*array.cdata_shape):
        file = path / array.path / array.metadata.encode_chunk_key(where)
        if not file.is_file():
            continue
        content = file.read_bytes()
        for codec in codecs:
            content = bytes(codec.decode(content))
        texts = _texts(content, math.prod(array.chunks))
        chunk = np.array(texts, dtype=object).reshape(array.chunks)
        begin = [i * n for i, n in zip(where, array.chunks, strict=True)]
        part = tuple(slice(b, b + n) for b, n in zip(begin, array.chunks, strict=True))
        target = out[part]
        if isinstance(target, np.ndarray):
            target[...] = chunk[tuple(slice(n) for n in target.shape)]
        else:
            out[part] = chunk[()]
    return out


def _texts(content: bytes, n: int) -> list[str]:
    if len(content) < 4 or struct.unpack_from("<I", content)[0] != n:
        raise InvalidRecording(f"a chunk does not hold the {n} texts that it should: damaged")
    texts, at = [], 4
    for _ in range(n):
        if at + 4 > len(content):
            raise InvalidRecording("a chunk of texts ends too early: damaged")
        size = struct.unpack_from("<I", content, at)[0]
        at += 4 + size
        if at > len(content):
            raise InvalidRecording("a chunk of texts ends too early: damaged")
        texts.append(content[at - size : at].decode("utf-8"))
    return texts


def _byte_codecs(array: Any) -> list[Any]:
    """Decompressors of an array of texts, in the order in which they are applied."""
    import numcodecs

    metadata = array.metadata.to_dict()
    if metadata["zarr_format"] == 2:
        first = [f.get_config()["id"] for f in (array.metadata.filters or ())]
        last = array.metadata.compressor
        found = [] if last is None else [last.get_config()]
    else:
        configs = metadata["codecs"]
        first = [configs[0]["name"]]
        found = [{"id": c["name"], **c.get("configuration", {})} for c in configs[1:]]
    unknown = [c["id"] for c in found if c["id"] not in _CODECS]
    if first != ["vlen-utf8"] or unknown:
        raise InvalidRecording(
            f"the texts of {array.path!r} are packed in a way that is not known: {first + unknown}"
        )
    keep = [{k: v for k, v in c.items() if k == "id" or k in _CODECS[c["id"]]} for c in found]
    for config in keep:
        if config["id"] == "blosc":
            kinds = {"noshuffle": 0, "shuffle": 1, "bitshuffle": 2}
            shuffle = config.get("shuffle", 1)
            config["shuffle"] = kinds.get(str(shuffle), shuffle)
    return [numcodecs.get_codec(config) for config in reversed(keep)]
