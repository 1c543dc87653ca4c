"""Write recordings and dissimilarities to Zarr or NetCDF and read them back exactly."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from bregma._extras import require
from bregma._files import atomic_path
from bregma.errors import InvalidArgument, InvalidRecording, UnknownName
from bregma.recording._dissimilarity import Dissimilarity
from bregma.recording._limits import Budget
from bregma.recording._recording import DIMS, Recording
from bregma.recording._store_codec import decoded, encoded, table_decoded, table_encoded

SUFFIXES = (".zarr", ".nc")
FORMAT = 1
_HEADER, _VALUES = "bregma", "values"  # names of variables in the store
_LAZY_FROM = 1 << 26  # values of 64 MiB and more stay in the file


def write(what: Recording | Dissimilarity, path: Path) -> None:
    """Write all of it, or nothing.

    What is in the store: the variable ``values``, one variable for each coordinate, and the
    text ``bregma`` (JSON) with the types that NetCDF or Zarr cannot hold, and the tables.
    """
    if isinstance(what, Recording):
        header, variables = _pack_recording(what)
    elif isinstance(what, Dissimilarity):
        header, variables = _pack_dissimilarity(what)
    else:
        raise InvalidArgument(
            f"{type(what).__name__} has no Zarr or NetCDF form; only Recording and Dissimilarity"
        )
    text = np.array(json.dumps(header), dtype=object)
    dataset = xr.Dataset({**variables, _HEADER: ((), text)}, attrs={"bregma_format": FORMAT})
    if path.name.lower().endswith(".zarr"):
        require("zarr", extra="scale")
        with atomic_path(path) as part:
            # Every chunk is written, so that one which is lost later is noticed.
            dataset.to_zarr(part, zarr_format=3, consolidated=False, write_empty_chunks=True)
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
) -> Recording | Dissimilarity:
    """Read what `write` wrote, or an array of another program that has our dimensions.

    `lazy` leaves the values in the file, backed by Dask; by default those of 64 MiB and more
    where Dask is installed. `max_bytes` is the most that may be loaded.
    """
    is_zarr = path.name.lower().endswith(".zarr")
    if is_zarr:
        _check_zarr(path)
        engine: dict[str, Any] = {"engine": "zarr", "consolidated": False, "chunks": None}
    else:
        require("h5netcdf", extra="neuro")
        engine = {"engine": "h5netcdf"}
    if lazy:
        require("dask.array", extra="scale")
    dataset = xr.open_dataset(path, decode_cf=False, **engine)
    own = dataset.attrs.get("bregma_format")
    stay = lazy is True
    try:
        budget = Budget(max_bytes)
        if own is None:
            dataset = xr.decode_cf(dataset)
            array = _foreign(dataset, key)
            header = None
        else:
            if int(own) > FORMAT:
                raise InvalidRecording(
                    f"it was written by a newer bregma (format {own}): update bregma"
                )
            header = json.loads(str(dataset[_HEADER].values))
            if key is not None:
                raise UnknownName.of("key of a store that bregma wrote", key, [])
            array = dataset[_VALUES]
        stored = _stored_bytes(path)
        stay = _stays(array, lazy)
        for name, variable in dataset.variables.items():
            wanted = name in array.coords or (name == array.name and not stay) or header
            if wanted and not (stay and name == array.name):
                budget.take(variable.nbytes, stored, f"the variable {name!r}")
        if header is None:
            return Recording(_taken(array, path, stay))
        if header["kind"] == "Dissimilarity":
            return _unpack_dissimilarity(dataset, header)
        return _unpack_recording(dataset, header, path, stay)
    finally:
        if not stay:
            dataset.close()


def _pack_recording(recording: Recording) -> tuple[dict[str, Any], dict[str, Any]]:
    data = recording.data
    values, values_how = encoded(data.variable.data, "the values")
    variables = {_VALUES: (data.dims, values, {"units": recording.measured_in or ""})}
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


def _unpack_recording(
    dataset: xr.Dataset, header: Mapping[str, Any], path: Path, stay: bool
) -> Recording:
    values = decoded(_taken(dataset[_VALUES], path, stay).variable.data, header["values"])
    coords = {
        part["name"]: (dataset[part["stored"]].dims, decoded(dataset[part["stored"]].values, part))
        for part in header["coordinates"]
    }
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


def _unpack_dissimilarity(dataset: xr.Dataset, header: Mapping[str, Any]) -> Dissimilarity:
    return Dissimilarity(
        dataset[_VALUES].values,
        stimuli=decoded(dataset["stimulus"].values, header["stimuli"]),
        rdms=table_decoded(header["rdms"]),
        measure=header["measure"],
        name=header["name"],
    )


def _foreign(dataset: xr.Dataset, key: str | None) -> xr.DataArray:
    """The array of a store that another program wrote."""
    there = {str(name): array.dims for name, array in dataset.data_vars.items()}
    if key is not None:
        if key not in there:
            raise UnknownName.of("variable", key, there)
        return dataset[key]
    fits = [name for name, dims in there.items() if {"presentation", "unit"} <= set(dims)]
    if len(fits) == 1:
        return dataset[fits[0]]
    listing = ", ".join(f"{name} {dims}" for name, dims in list(there.items())[:8]) or "nothing"
    if fits:
        raise InvalidArgument(f"name one of {', '.join(map(repr, fits))} with key=")
    raise InvalidRecording(
        f"bregma did not write it, and no variable has the dimensions 'presentation' and 'unit'; "
        f"there is: {listing}. Rename the dimensions with xarray: "
        "bregma.Recording(xarray.open_dataset(path)[name].rename(trial='presentation', ...))"
    )


def _stays(array: xr.DataArray, lazy: bool | None) -> bool:
    if lazy is not None:
        return lazy
    if array.nbytes < _LAZY_FROM or not set(array.dims) <= set(DIMS):
        return False
    try:
        import dask.array  # noqa: F401
    except ImportError:
        return False
    return True


def _taken(array: xr.DataArray, path: Path, stay: bool) -> xr.DataArray:
    """The array in memory, or backed by Dask with damage reported as bregma reports it."""
    if not stay:
        return array.load()
    from dask import array as da

    source = _InFile(array.variable, path)
    return array.copy(data=da.from_array(source, chunks="auto", asarray=False))


class _InFile:
    """Values that stay in their file; reading a part of them raises errors that name it."""

    def __init__(self, variable: xr.Variable, path: Path) -> None:
        self.variable, self.path = variable, path
        self.shape, self.dtype, self.ndim = variable.shape, variable.dtype, variable.ndim

    def __getitem__(self, index: Any) -> np.ndarray:
        from bregma.recording._read import reading

        with reading(self.path):
            return np.asarray(self.variable[index].values)


def _stored_bytes(path: Path) -> int:
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return path.stat().st_size


def _check_zarr(path: Path) -> None:
    """Refuse codecs that run code, and own stores of which chunks are missing."""
    zarr = require("zarr", extra="scale")
    for file in path.rglob("*"):
        if file.name in ("zarr.json", ".zarray", ".zmetadata") and file.is_file():
            _refuse_pickle(json.loads(file.read_text(encoding="utf-8")), file.name)
    group = zarr.open_group(path, mode="r")
    if "bregma_format" not in group.attrs:
        return
    for name, array in group.arrays():
        if array.nchunks_initialized != array.nchunks:
            raise InvalidRecording(
                f"of {array.nchunks} chunks of {name!r} {array.nchunks_initialized} are there: "
                "the store is not complete; copy it again"
            )


def _refuse_pickle(part: Any, file: str) -> None:
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
