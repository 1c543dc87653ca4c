"""Write recordings, dissimilarities and spikes to Zarr or NetCDF and read them back exactly."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import xarray as xr

from bregma._extras import require
from bregma._files import atomic_path
from bregma.errors import InvalidArgument, InvalidRecording, UnknownName
from bregma.recording._dissimilarity import Dissimilarity
from bregma.recording._limits import Budget
from bregma.recording._recording import Recording
from bregma.recording._spikes import SpikeTrains
from bregma.recording._store_codec import decoded, encoded, table_decoded, table_encoded
from bregma.recording._store_files import Store, Variable, opened
from bregma.recording._store_spikes import pack_spikes, unpack_spikes

SUFFIXES = (".zarr", ".nc")
FORMAT = 1
_HEADER, _VALUES = "bregma", "values"  # names of variables in the store
_LAZY_CHUNK = 1 << 25
_LAZY_FROM = 1 << 26  # values of 64 MiB and more stay in the file


def write(what: Any, path: Path) -> None:
    """Write all of it, or nothing.

    What is in the store: the variable ``values``, one variable for each coordinate, and the
    text ``bregma`` (JSON) with the types that NetCDF or Zarr cannot hold, and the tables.
    """
    if isinstance(what, Recording):
        header, variables = _pack_recording(what)
    elif isinstance(what, Dissimilarity):
        header, variables = _pack_dissimilarity(what)
    elif isinstance(what, SpikeTrains):
        header, variables = pack_spikes(what.times, what.unit_index, what.units, what.support)
    else:
        raise InvalidArgument(
            f"{path.name}: Zarr and NetCDF hold recordings, dissimilarities and spike trains, not "
            f"{type(what).__name__}"
        )
    write_packed(header, variables, path)


def write_packed(header: dict[str, Any], variables: dict[str, Any], path: Path) -> None:
    """Write a header and variables, all of them or nothing."""
    text = np.array(json.dumps(header), dtype=object)
    dataset = xr.Dataset({**variables, _HEADER: ((), text)}, attrs={"bregma_format": FORMAT})
    if path.name.lower().endswith(".zarr"):
        codecs = require("zarr.codecs", extra="scale")
        sums: Any = {_VALUES: {"compressors": [codecs.ZstdCodec(level=1, checksum=True)]}}
        with atomic_path(path) as part:
            # Every chunk is written, so that one which is lost later is noticed.
            dataset.to_zarr(part, zarr_format=3, consolidated=False, write_empty_chunks=True,
                            encoding=sums)  # fmt: skip
    else:
        require("h5netcdf", extra="neuro")
        with atomic_path(path) as part:
            sums = {_VALUES: {"fletcher32": True}}  # damage is found when it is read
            dataset.to_netcdf(part, engine="h5netcdf", encoding=sums)


def read(
    path: Path,
    key: str | None = None,
    *,
    lazy: bool | None = None,
    max_bytes: int | None = None,
) -> Recording | Dissimilarity | SpikeTrains:
    """Read what `write` wrote, or an array of another program that has our dimensions.

    A folder of stores, as a simulation writes it, has one key for each of them. `lazy` leaves the
    values in the file, backed by Dask; by default those of 64 MiB and more where Dask is
    installed. `max_bytes` is the most that may be loaded.
    """
    stores = {unquote(x.name.removesuffix(".zarr")): x for x in sorted(path.glob("*.zarr"))}
    if stores:
        if key is None:
            raise InvalidArgument(f"name one of {', '.join(map(repr, stores))} with key=")
        if key not in stores:
            raise UnknownName.of("key", key, stores)
        return read(stores[key], lazy=lazy, max_bytes=max_bytes)
    with opened(path) as store:
        shelf = _Loader(store, lazy, Budget(max_bytes))
        if "bregma_format" not in store.attrs:
            return _foreign(shelf, key)
        if int(store.attrs["bregma_format"]) > FORMAT:
            raise InvalidRecording(
                f"it was written by a newer bregma (format {store.attrs['bregma_format']}): "
                "update bregma"
            )
        if key is not None:
            raise UnknownName.of("key of a store that bregma wrote", key, [])
        header = json.loads(str(shelf.array(_HEADER)))
        if header["kind"] == "Dissimilarity":
            return _unpack_dissimilarity(shelf, header)
        if header["kind"] == "SpikeTrains":
            return unpack_spikes(shelf, header)
        return _unpack_recording(shelf, header)


def _pack_recording(recording: Recording) -> tuple[dict[str, Any], dict[str, Any]]:
    data = recording.data
    values, values_how = encoded(data.variable.data, "the values")
    variables: dict[str, Any] = {
        _VALUES: (data.dims, values, {"units": recording.measured_in or ""})
    }
    coordinates = []
    for i, (name, coordinate) in enumerate(data.coords.items()):
        labels, how = encoded(coordinate.values, f"coordinate {name!r}")
        simple = str(name).isidentifier() and name not in (_HEADER, _VALUES)
        stored = str(name) if simple else f"coordinate_{i}"
        variables[stored] = (coordinate.dims, labels)
        coordinates.append({"name": str(name), "stored": stored, **how})
    header = {
        "kind": "Recording",
        "name": recording.name,
        "measured_in": recording.measured_in,
        "dims": list(data.dims),
        "values": values_how,
        "coordinates": coordinates,
        "sessions": None if recording.sessions is None else table_encoded(recording.sessions),
    }
    return header, variables


def _unpack_recording(shelf: _Loader, header: Mapping[str, Any]) -> Recording:
    coords = {
        part["name"]: (
            shelf.store.variables[part["stored"]].dims,
            decoded(shelf.array(part["stored"]), part),
        )
        for part in header["coordinates"]
    }
    values = decoded(shelf.array(_VALUES, main=True), header["values"])
    data = xr.DataArray(values, dims=header["dims"], coords=coords, name=header["name"])
    sessions = header["sessions"]
    return Recording(
        data,
        measured_in=header["measured_in"],
        sessions=None if sessions is None else table_decoded(sessions),
    )


def _pack_dissimilarity(rdms: Dissimilarity) -> tuple[dict[str, Any], dict[str, Any]]:
    labels, how = encoded(rdms.stimuli, "the stimuli")
    header = {
        "kind": "Dissimilarity",
        "name": rdms.name,
        "measure": rdms.measure,
        "stimuli": how,
        "rdms": table_encoded(rdms.rdms),
    }
    return header, {_VALUES: (("rdm", "pair"), rdms.values), "stimulus": ("stimulus", labels)}


def _unpack_dissimilarity(shelf: _Loader, header: Mapping[str, Any]) -> Dissimilarity:
    return Dissimilarity(
        shelf.array(_VALUES),
        stimuli=decoded(shelf.array("stimulus"), header["stimuli"]),
        rdms=table_decoded(header["rdms"]),
        measure=header["measure"],
        name=header["name"],
    )


def _foreign(shelf: _Loader, key: str | None) -> Recording:
    """The array of a store that another program wrote, decoded as CF says."""
    there = shelf.store.variables
    if key is None:
        fits = [name for name, x in there.items() if {"presentation", "unit"} <= set(x.dims)]
        if len(fits) > 1:
            raise InvalidArgument(f"name one of {', '.join(map(repr, fits))} with key=")
        listing = ", ".join(f"{name} {x.dims}" for name, x in list(there.items())[:8])
        if not fits:
            raise InvalidRecording(
                "bregma did not write it, and no variable has the dimensions 'presentation' and "
                f"'unit'; there is: {listing or 'nothing'}. Rename the dimensions with xarray: "
                "bregma.Recording(xarray.open_dataset(path)[name].rename(trial='presentation'))"
            )
        key = fits[0]
    elif key not in there:
        raise UnknownName.of("variable", key, there)
    dims = set(there[key].dims)
    labels = [name for name, x in there.items() if len(x.dims) == 1 and set(x.dims) <= dims]
    dataset = xr.Dataset({
        name: (there[name].dims, shelf.array(name, main=name == key), there[name].attrs)
        for name in dict.fromkeys([*labels, key])
    })  # fmt: skip
    array = xr.decode_cf(dataset.set_coords([x for x in labels if x != key]))[key]
    return Recording(array)


class _Loader:
    """Load variables of an open store within a budget, or leave the largest in the file."""

    def __init__(self, store: Store, lazy: bool | None, budget: Budget) -> None:
        self.store, self.lazy, self.budget = store, lazy, budget
        path = store.path
        files = path.rglob("*") if path.is_dir() else [path]
        self.stored = sum(file.stat().st_size for file in files if file.is_file())

    def array(self, name: str, *, main: bool = False) -> Any:
        """The variable in memory, or backed by Dask where it is the main one and large."""
        if name not in self.store.variables:
            raise InvalidRecording(f"the variable {name!r} is missing: the store is damaged")
        variable = self.store.variables[name]
        if main and self._stays(variable):
            da = require("dask.array", extra="scale")
            source = _InFile(self.store.path, name, variable.shape, variable.dtype)
            chunks = da.core.normalize_chunks(
                "auto",
                variable.shape,
                limit=_LAZY_CHUNK,
                dtype=variable.dtype,
                previous_chunks=variable.chunks,  # parts of the file are read as they lie in it
            )
            return da.from_array(source, chunks=chunks, asarray=False)
        self.budget.take(variable.nbytes, self.stored, f"the variable {name!r}")
        return self.store.read(name)

    def _stays(self, variable: Variable) -> bool:
        if self.lazy is not None:
            return self.lazy
        return variable.nbytes >= _LAZY_FROM and importlib.util.find_spec("dask") is not None


@dataclass(frozen=True)
class _InFile:
    """Values that stay in their file, which is opened for each part; errors name it."""

    path: Path
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __getitem__(self, index: Any) -> np.ndarray:
        from bregma.recording._read import reading

        with reading(self.path), opened(self.path) as store:
            return store.read(self.name, index)
