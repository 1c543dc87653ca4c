"""What an array must fulfil to be a recording."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr

from bregma.errors import InvalidArgument, InvalidRecording
from bregma.recording._labels import Labels, check_ids, clean_labels, shown

DIMS = ("presentation", "time", "unit")
Coordinate = tuple[str, Labels]  # dimension, labels
Missing = Literal["raise", "drop_units", "drop_presentations"]


def with_checked_dims(data: xr.DataArray) -> xr.DataArray:
    if not isinstance(data, xr.DataArray):
        raise InvalidRecording(
            f"a Recording wraps an xarray.DataArray, not {type(data).__name__}; "
            "use Recording.from_array for arrays"
        )
    dims = set(map(str, data.dims))
    if not {"presentation", "unit"} <= dims <= set(DIMS):
        raise InvalidRecording(
            f"dimensions are {tuple(data.dims)}; they must be 'presentation' and 'unit', "
            "and 'time' where responses are time series"
        )
    check_numbers(data.dtype, data.sizes)
    return data.transpose(*(dim for dim in DIMS if dim in dims))


def check_numbers(dtype: Any, sizes: Mapping[Any, int]) -> None:
    if dtype.kind not in "biuf":
        raise InvalidRecording(f"values are {dtype}; real numbers are needed")
    for dim, size in sizes.items():
        if size == 0:
            raise InvalidRecording(f"there is nothing in it: no entry along {dim!r}")


def with_checked_labels(data: xr.DataArray) -> xr.DataArray:
    coords: dict[str, Coordinate] = {}
    for key, coordinate in data.coords.items():
        if isinstance(data.indexes.get(key), pd.MultiIndex):
            raise InvalidRecording(f"coordinate {key!r} is a multi-index; use flat coordinates")
        if coordinate.ndim != 1:
            raise InvalidRecording(
                f"coordinate {key!r} has the dimensions {coordinate.dims}; each coordinate lies "
                "along one of presentation, time and unit"
            )
        coords[str(key)] = (str(coordinate.dims[0]), coordinate.values)
    return labelled(data.variable.data, data.dims, coords, data.name)


def labelled(
    values: Any, dims: Sequence[Hashable], columns: Mapping[str, Coordinate], name: Hashable
) -> xr.DataArray:
    """Values with their labels, which are checked; ids that are not given are counted."""
    sizes = dict(zip(map(str, dims), values.shape, strict=True))
    coords = {
        key: (dim, clean_labels(labels, f"coordinate {key!r}"))
        for key, (dim, labels) in columns.items()
    }
    if "presentation" not in coords:
        coords["presentation"] = ("presentation", np.arange(sizes["presentation"]))
    if "unit" not in coords:
        coords["unit"] = ("unit", np.array([f"u{i}" for i in range(sizes["unit"])]))
    coords.setdefault("stimulus", ("presentation", coords["presentation"][1]))
    for key, dim in (("presentation",) * 2, ("unit",) * 2, ("stimulus", "presentation")):
        if coords[key][0] != dim:
            raise InvalidRecording(f"coordinate {key!r} must lie along {dim!r}")
    check_ids(coords["presentation"][1], "presentation")
    check_ids(coords["unit"][1], "unit")
    if "time" in sizes:
        if "time" not in coords or coords["time"][1].dtype.kind not in "iuf":
            raise InvalidRecording("the time dimension needs a coordinate 'time' in seconds")
        times = coords["time"][1].astype(float)
        if not np.isfinite(times).all() or (np.diff(times) <= 0).any():
            where = int(np.argmax(~np.isfinite(times) | np.r_[False, np.diff(times) <= 0]))
            raise InvalidRecording(f"times must rise; they do not at sample {where}")
        coords["time"] = ("time", times)
    return xr.DataArray(values, dims=dims, coords=coords, name=name)


def checked(data: xr.DataArray, sessions: pd.DataFrame | None, missing: Missing) -> xr.DataArray:
    """The same without missing values, where its sessions are known."""
    if missing not in Missing.__args__:  # type: ignore[attr-defined]
        raise InvalidArgument(f"missing={missing!r} is not one of {Missing.__args__}")  # type: ignore[attr-defined]
    if data.chunks is None:
        data = without_missing(data, missing)
    elif missing != "raise":
        raise InvalidArgument("missing values of lazy data are unknown: .load() it first")
    check_sessions(data, sessions)
    return data


def without_missing(data: xr.DataArray, missing: Missing) -> xr.DataArray:
    if all_finite(data.values):
        return data
    bad = ~np.isfinite(data.values)
    axis = {"drop_units": "unit", "drop_presentations": "presentation"}.get(missing)
    if axis is None:
        units = data["unit"].values[bad.any(axis=tuple(range(bad.ndim - 1)))]
        shows = data["presentation"].values[bad.any(axis=tuple(range(1, bad.ndim)))]
        raise InvalidRecording(
            f"{int(bad.sum())} values are NaN or infinite, in units {shown(units)} and "
            f"presentations {shown(shows)}; leave them out with missing='drop_units' or "
            "missing='drop_presentations' (on the command line: --missing drop_units)"
        )
    others = tuple(i for i, dim in enumerate(data.dims) if dim != axis)
    keep = ~bad.any(axis=others)
    if not keep.any():
        raise InvalidRecording(f"every {axis} holds NaN or infinity: nothing would be left")
    return data.isel({axis: np.flatnonzero(keep)})


def all_finite(values: Any) -> bool:
    """Whether there is no NaN and no infinity, seen in the extremes: it takes no memory."""
    if values.dtype.kind != "f":
        return True
    with np.errstate(invalid="ignore"):
        return bool(np.isfinite(values.min()) and np.isfinite(values.max()))


def check_sessions(data: xr.DataArray, sessions: pd.DataFrame | None) -> None:
    if sessions is None:
        return
    if not isinstance(sessions, pd.DataFrame) or not sessions.index.is_unique:
        raise InvalidRecording("sessions must be a table with one row for each session")
    taken = [name for name in map(str, sessions) if name in data.coords]
    if taken:
        raise InvalidRecording(f"sessions repeat coordinates of the recording: {shown(taken)}")
    if "session" in data.coords:
        unknown = set(data["session"].values.tolist()) - set(sessions.index.tolist())
        if unknown:
            raise InvalidRecording(f"the session table has no row for {shown(sorted(unknown))}")
    elif len(sessions) != 1:
        raise InvalidRecording(
            f"{len(sessions)} sessions, but no coordinate 'session' says which is whose"
        )
