"""Named arrays of one file: which one is the responses, and which ones are its labels."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Shaped

from bregma.errors import InvalidArgument, InvalidRecording, UnknownName
from bregma.recording._dissimilarity import Dissimilarity
from bregma.recording._recording import DIMS, Missing, Recording

_LABEL_NAME = re.compile(r"(?i)(stim|image|picture|object|categor|item|concept|word|condition)")
_AREA_NAME = re.compile(r"(?i)(^|_)(roi|area|region)s?$")
_TIME_NAME = re.compile(r"(?i)^(t|times?|time_?s|seconds|time_in_s)$")


@dataclass(frozen=True)
class Shelf:
    """Arrays of one file by name; only those that are wanted are loaded.

    `shapes` holds shape and dtype of each, `load` gives the array.
    """

    shapes: Mapping[str, tuple[tuple[int, ...], np.dtype]]
    load: Callable[[str], np.ndarray]

    def only(self, key: str | None, *, ndims: Sequence[int]) -> str:
        """Name of the array that is meant: the key, or the only one that it can be."""
        if key is not None:
            if key not in self.shapes:
                raise UnknownName.of("array", key, self.shapes)
            return key
        for kinds in ("f", "fiub"):
            fits = [
                name
                for name, (shape, dtype) in self.shapes.items()
                if dtype.kind in kinds and int(np.prod(shape)) > 1 and len(shape) in ndims
            ]
            if len(fits) == 1:
                return fits[0]
            if fits:
                break
        if not self.shapes:
            raise InvalidRecording("it holds no arrays")
        what = "several arrays could be meant" if fits else "no array can be meant"
        raise InvalidArgument(f"{what}: name one with key= or PATH::KEY; {self.listing()}")

    def listing(self) -> str:
        """What there is, for a message."""
        some = [
            f"{name!r} {'x'.join(map(str, shape)) or 'single'} {dtype}"
            for name, (shape, dtype) in self.shapes.items()
        ]
        return f"there are {', '.join(some[:12])}" + (" ..." if len(some) > 12 else "")

    def lines(self, length: int, but: Iterable[str] = ()) -> dict[str, Shaped[np.ndarray, " n"]]:
        """All one-dimensional arrays of this length, by name."""
        return {
            name: self.label(name)
            for name, (shape, dtype) in self.shapes.items()
            if shape == (length,) and dtype.kind in "biufUSMm" and name not in but
        }

    def label(self, name: str) -> np.ndarray:
        """One array of labels, text decoded."""
        if name not in self.shapes:
            raise UnknownName.of("array", name, self.shapes)
        array = self.load(name)
        if array.dtype.kind == "S":
            return np.char.decode(array, "utf-8")
        return array


def from_shelf(
    shelf: Shelf,
    key: str | None,
    *,
    dims: Sequence[str] | None = None,
    presentation: Sequence[str] | None = None,
    unit: Sequence[str] | None = None,
    time: str | None = None,
    sampling_rate: float | None = None,
    measured_in: str | None = None,
    missing: Missing = "raise",
) -> Recording | Dissimilarity:
    """Make a Recording (or dissimilarities) of one array and of those that label it.

    Parameters
    ----------
    shelf : Shelf
        The arrays.
    key : str, optional
        The array of responses.
    dims : sequence of {"presentation", "time", "unit"}, optional
        What the axes of the array are; (presentation, unit) or (presentation, time, unit)
        where it is not given. A dimension that is left out has the length 1.
    presentation, unit : sequence of str, optional
        Arrays that label presentations and units; all of the right length by default.
    time : str, optional
        The array of times in seconds.
    sampling_rate : float, optional
        Samples per second, instead of `time`; the first sample is then at 0 s.
    measured_in : str, optional
        Unit of measurement.
    missing : {"raise", "drop_units", "drop_presentations"}
        What to do with values that are NaN or infinite.

    Returns
    -------
    Recording or Dissimilarity
        The latter for a symmetric matrix with a zero diagonal, or a stack of them.
    """
    name = shelf.only(key, ndims=(2, 3) if dims is None else (len(dims),))
    values = shelf.load(name)
    if values.dtype.kind not in "biuf":
        raise InvalidRecording(f"{name!r} holds {values.dtype}; responses are real numbers")
    if dims is None and is_rdms(values):
        return rdms_of(shelf, name, values, presentation)
    dims = _checked_dims(dims, values, name)
    for dim in ("presentation", "unit"):
        if dim not in dims:
            values, dims = values[..., None], (*dims, dim)
    sizes = dict(zip(dims, values.shape, strict=True))
    named = {"presentation": presentation, "unit": unit, "time": None if time is None else [time]}
    columns = {dim: _columns(shelf, name, dim, sizes, named[dim], named) for dim in dims}
    coords: dict[str, Any] = {
        column if column not in DIMS or column == dim else f"{dim}_{column}": (dim, labels)
        for dim in dims
        for column, labels in columns[dim].items()
    }
    if "time" in dims:
        coords["time"] = (
            "time",
            _times(shelf, columns["time"], sizes["time"], time, sampling_rate),
        )
    elif time is not None or sampling_rate is not None:
        raise InvalidArgument(f"{name!r} has the dimensions {dims}: there is no time in it")
    add_usual_names(coords, columns["presentation"], columns["unit"])
    data = xr.DataArray(values, dims=dims, coords=coords, name=name)
    return Recording(data, measured_in=measured_in, missing=missing)


def add_usual_names(
    coords: dict[str, Any],
    presentation: Mapping[str, np.ndarray],
    unit: Mapping[str, np.ndarray],
) -> None:
    """Give labels that are stimuli or areas under another name those names as well."""
    labels = {name: column for name, column in presentation.items() if name != "presentation"}
    if "stimulus" not in coords and (found := _stimulus_name(labels)):
        coords["stimulus"] = ("presentation", presentation[found])
    areas = [column for column in unit if _AREA_NAME.search(column)]
    if "area" not in coords and len(areas) == 1:
        coords["area"] = ("unit", unit[areas[0]])


def is_rdms(values: np.ndarray) -> bool:
    """Whether these are symmetric matrices with zero diagonals: (n, n) or (rdm, n, n)."""
    if values.ndim not in (2, 3) or values.shape[-1] != values.shape[-2] or values.shape[-1] < 3:
        return False
    if values.dtype.kind not in "iuf" or not values.any() or not values.size:
        return False
    diagonal = np.diagonal(values, axis1=-2, axis2=-1)
    return not diagonal.any() and bool(
        np.allclose(values, np.swapaxes(values, -1, -2), rtol=1e-5, atol=0, equal_nan=True)
    )


def rdms_of(
    shelf: Shelf, name: str, values: np.ndarray, labels: Sequence[str] | None = None
) -> Dissimilarity:
    """Dissimilarities of a matrix, or a stack of them, with the labels of their stimuli."""
    values = np.atleast_3d(values) if values.ndim == 3 else values[None]
    n_rdms, n = values.shape[:2]
    columns = {x: shelf.label(x) for x in labels} if labels else shelf.lines(n, [name])
    found = "stimulus" if "stimulus" in columns else _stimulus_name(columns)
    rdms = shelf.lines(n_rdms, [name, *columns]) if n_rdms > 1 else {}
    return Dissimilarity.from_square(
        values.astype(float),
        stimuli=None if found is None else columns[found].astype(str),
        rdms=pd.DataFrame(rdms) if rdms else None,
        name=name,
    )


def images_of(shelf: Shelf, key: str | None) -> tuple[np.ndarray, pd.DataFrame]:
    """Images (image, height, width[, channel]) and the arrays with one entry for each."""
    name = shelf.only(key, ndims=(3, 4))
    values = shelf.load(name)
    if values.ndim not in (3, 4) or values.dtype.kind not in "iuf":
        raise InvalidArgument(
            f"{name!r} is {values.dtype} of the shape {values.shape}; images are numbers of the "
            "shape (image, height, width) or (image, height, width, channel)"
        )
    columns = shelf.lines(len(values), [name])
    if "stimulus" not in columns and (found := _stimulus_name(columns)):
        columns["stimulus"] = columns[found]
    return values, pd.DataFrame(columns)


def _checked_dims(dims: Sequence[str] | None, values: np.ndarray, name: str) -> tuple[str, ...]:
    if dims is None:
        if values.ndim not in (2, 3):
            raise InvalidArgument(
                f"{name!r} has the shape {values.shape}: say what its axes are, such as "
                "dims=('presentation', 'unit') or dims=('time', 'unit')"
            )
        return DIMS if values.ndim == 3 else ("presentation", "unit")
    dims = (dims,) if isinstance(dims, str) else tuple(dims)
    for dim in dims:
        if dim not in DIMS:
            raise UnknownName.of("dimension", dim, DIMS)
    if len(set(dims)) != len(dims) or len(dims) != values.ndim:
        raise InvalidArgument(
            f"dims={dims!r} must name each axis of {name!r} once; its shape is {values.shape}"
        )
    return dims


def _columns(
    shelf: Shelf,
    name: str,
    dim: str,
    sizes: Mapping[str, int],
    wanted: Sequence[str] | None,
    named: Mapping[str, Sequence[str] | None],
) -> dict[str, np.ndarray]:
    """Labels along one dimension: those that were asked for, or all that can only be its own."""
    if wanted is not None:
        wanted = [wanted] if isinstance(wanted, str) else list(wanted)
        found = {x: shelf.label(x) for x in wanted}
        for x, column in found.items():
            if column.shape != (sizes[dim],):
                raise InvalidArgument(
                    f"{x!r} has the shape {column.shape}; {dim} labels of {name!r} need one "
                    f"entry for each of {sizes[dim]}"
                )
        return found
    if sizes[dim] == 1:
        return {}
    elsewhere = [x for other in named.values() if other is not None for x in other]
    found = shelf.lines(sizes[dim], [name, *elsewhere])
    rivals = [d for d, n in sizes.items() if d != dim and n == sizes[dim] and named[d] is None]
    if found and rivals:
        raise InvalidArgument(
            f"{name!r} has as many entries along {dim!r} as along {rivals[0]!r} "
            f"({sizes[dim]}): say which of {', '.join(map(repr, found))} label which, with "
            "presentation=[...] and unit=[...]"
        )
    return found


def _times(
    shelf: Shelf,
    columns: dict[str, np.ndarray],
    n: int,
    time: str | None,
    sampling_rate: float | None,
) -> np.ndarray:
    if time is not None and sampling_rate is not None:
        raise InvalidArgument("give time or sampling_rate, not both")
    if sampling_rate is not None:
        if not sampling_rate > 0:
            raise InvalidArgument(f"sampling_rate={sampling_rate} must be above 0 Hz")
        return np.arange(n) / sampling_rate
    found = [time] if time else [x for x in columns if _TIME_NAME.match(x)]
    if len(found) != 1:
        raise InvalidArgument(
            f"which times do the {n} samples have? Give time= (the name of an array of seconds) "
            f"or sampling_rate= (Hz); {shelf.listing()}"
        )
    times = columns[found[0]]
    if times.dtype.kind not in "iuf":
        raise InvalidArgument(f"time={found[0]!r} holds {times.dtype}, not seconds")
    return times.astype(float)


def _stimulus_name(columns: Mapping[str, np.ndarray]) -> str | None:
    """The only column that tells all presentations apart and looks like labels."""
    fits = [
        name
        for name, column in columns.items()
        if (column.dtype.kind == "U" or (column.dtype.kind in "iu" and _LABEL_NAME.search(name)))
        and len(np.unique(column)) == len(column)
    ]
    return fits[0] if len(fits) == 1 else None
