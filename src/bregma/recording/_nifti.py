"""Read NIfTI images (.nii, .nii.gz): voxels of a mask, or mean responses of an atlas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bregma._extras import require
from bregma.errors import InvalidArgument, InvalidRecording, UnknownName
from bregma.recording._limits import Budget
from bregma.recording._recording import Missing, Recording

SUFFIXES = (".nii", ".nii.gz")
_BLOCK = 1 << 26  # bytes of the image that are in memory at a time
_SECONDS = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6, "unknown": 1.0}


def read(
    path: Path,
    key: str | None = None,
    *,
    mask: Any = None,
    atlas: Any = None,
    labels: Mapping[int, str] | Sequence[str] | pd.DataFrame | None = None,
    resample: bool = False,
    stimulus: Sequence[Any] | None = None,
    events: pd.DataFrame | str | Path | None = None,
    repetition_time: float | None = None,
    measured_in: str | None = None,
    missing: Missing = "raise",
    max_bytes: int | None = None,
) -> Recording:
    """Read the voxels of a mask, or the mean of each parcel of an atlas.

    Without `stimulus` and `events` volumes are samples of one presentation, `repetition_time`
    seconds apart (from the header by default). With them each volume is one presentation (a
    series of beta maps): `stimulus` names them, `events` is a table (or a .csv or .tsv file)
    with one row for each. `mask` and `atlas` are images or files on the same grid; with
    `resample` they are brought to it (nearest neighbour). `labels` names the parcels: a
    mapping from number to name, a sequence for the numbers in their order, or a table with
    the columns ``index`` and ``name``. Without mask and atlas every voxel counts that is not
    zero in all volumes. `max_bytes` is the most that the result may take in memory.
    """
    nibabel = require("nibabel", extra="neuro")
    if key is not None:
        raise UnknownName.of("key of an image, which holds only one thing", key, [])
    if mask is not None and atlas is not None:
        raise InvalidArgument("give a mask (voxels) or an atlas (parcels), not both")
    if labels is not None and atlas is None:
        raise InvalidArgument("labels name the parcels of an atlas: give atlas= as well")
    image = nibabel.load(path)
    if image.ndim not in (3, 4) or 0 in image.shape:
        raise InvalidRecording(f"the image has the shape {image.shape}; 3 or 4 axes are needed")
    if image.get_data_dtype().kind not in "iuf":
        raise InvalidRecording(f"the image holds {image.get_data_dtype()}; numbers are needed")
    budget = Budget(max_bytes)
    stored = path.stat().st_size
    n_voxels, n_volumes = int(np.prod(image.shape[:3])), int(np.prod(image.shape[3:]))
    for n in image.shape:
        if n > 1 << 24:
            raise InvalidRecording(f"the header declares the shape {image.shape}: it is damaged")
    budget.check(n_voxels * 8, stored, "one volume")
    presentations = _presentations(stimulus, events, n_volumes)
    if atlas is not None:
        numbers = _grid(nibabel, atlas, image, resample, "atlas").astype(int).ravel(order="F")
        where = np.flatnonzero(numbers)
        parcels, rank = np.unique(numbers[where], return_inverse=True)
        budget.take(8 * len(parcels) * n_volumes, stored, "the result")
        values = _parcels(image, where, rank, len(parcels))
        units = _parcel_units(nibabel, image, parcels, labels, where, rank)
    else:
        if mask is None:
            where = _nonzero(image)
        else:
            where = np.flatnonzero(_grid(nibabel, mask, image, resample, "mask").ravel(order="F"))
        if not len(where):
            raise InvalidRecording("the mask is empty" if mask is not None else "all voxels are 0")
        itemsize = image.get_data_dtype().itemsize
        budget.take(max(itemsize, 4) * len(where) * n_volumes, stored * 8, "the result")
        values = np.concatenate([block[where] for block in _blocks(image)], axis=1).T
        units = _voxel_units(nibabel, image, where)
    if values.dtype.kind != "f":
        values = values.astype(np.float32)
    coords: dict[str, Any] = {name: ("unit", column) for name, column in units.items()}
    if presentations is None:
        coords["time"] = ("time", np.arange(n_volumes) * _step(image, repetition_time, n_volumes))
        data = xr.DataArray(values[None], dims=("presentation", "time", "unit"), coords=coords)
    else:
        if repetition_time is not None:
            raise InvalidArgument("volumes are presentations here: repetition_time has no meaning")
        coords |= {name: ("presentation", column) for name, column in presentations.items()}
        data = xr.DataArray(values, dims=("presentation", "unit"), coords=coords)
    name = path.name.removesuffix(".gz").removesuffix(".nii")
    return Recording(data.rename(name), measured_in=measured_in, missing=missing)


def _blocks(image: Any) -> Any:
    """Volumes as (voxel, volume), some at a time; a slice reads only its part of the file."""
    n_voxels = int(np.prod(image.shape[:3]))
    step = max(1, _BLOCK // (8 * n_voxels))
    if image.ndim == 3:
        yield np.asarray(image.dataobj).reshape((n_voxels, 1), order="F")
        return
    for start in range(0, image.shape[3], step):
        block = np.asarray(image.dataobj[..., start : start + step])
        yield block.reshape((n_voxels, -1), order="F")


def _nonzero(image: Any) -> np.ndarray:
    used = np.zeros(int(np.prod(image.shape[:3])), dtype=bool)
    for block in _blocks(image):
        used |= (np.nan_to_num(block) != 0).any(axis=1)
    return np.flatnonzero(used)


def _parcels(image: Any, where: np.ndarray, rank: np.ndarray, n: int) -> np.ndarray:
    """Mean of each parcel in each volume: (volume, parcel)."""
    counts = np.bincount(rank, minlength=n)
    return np.concatenate([
        np.stack([np.bincount(rank, weights=volume, minlength=n) / counts
                  for volume in block[where].astype(float).T])
        for block in _blocks(image)
    ])  # fmt: skip


def _grid(nibabel: Any, given: Any, image: Any, resample: bool, what: str) -> np.ndarray:
    """A mask or atlas on the grid of the image."""
    from bregma.recording._read import reading

    if isinstance(given, (str, Path)):
        if not Path(given).is_file():
            raise InvalidArgument(f"{what}: there is no file {str(given)!r}")
        with reading(Path(given)):
            given = nibabel.load(given)
            np.asarray(given.dataobj)
    if not hasattr(given, "affine"):
        raise InvalidArgument(f"{what} must be a NIfTI image or a file, not {type(given).__name__}")
    same = given.shape[:3] == image.shape[:3] and np.allclose(given.affine, image.affine, atol=1e-3)
    if not same and not resample:
        raise InvalidArgument(
            f"{what} lies on another grid (shape {given.shape}, image {image.shape[:3]}): give "
            "resample=True to bring it to that of the image, or resample it yourself"
        )
    if not same:
        nilearn = require("nilearn.image", extra="neuro")
        target = (image.affine, image.shape[:3])
        given = nilearn.resample_img(
            given, target_affine=target[0], target_shape=target[1], interpolation="nearest",
            copy_header=True, force_resample=True,
        )  # fmt: skip
    values = np.nan_to_num(np.asarray(given.dataobj))
    if values.ndim == 4 and values.shape[3] == 1:
        values = values[..., 0]
    if values.ndim != 3:
        raise InvalidArgument(f"{what} has the shape {values.shape}; three axes are needed")
    return values if what == "atlas" else values != 0


def _voxel_units(nibabel: Any, image: Any, where: np.ndarray) -> dict[str, np.ndarray]:
    i, j, k = np.unravel_index(where, image.shape[:3], order="F")
    x, y, z = nibabel.affines.apply_affine(image.affine, np.stack([i, j, k], axis=1)).T
    names = np.array([f"{a}-{b}-{c}" for a, b, c in zip(i, j, k, strict=True)])
    return {"unit": names, "x": x, "y": y, "z": z, "i": i, "j": j, "k": k}


def _parcel_units(
    nibabel: Any, image: Any, parcels: np.ndarray, labels: Any, where: np.ndarray, rank: np.ndarray
) -> dict[str, np.ndarray]:
    counts = np.bincount(rank)
    ijk = np.stack(np.unravel_index(where, image.shape[:3], order="F"), axis=1)
    means = np.stack([np.bincount(rank, weights=axis) / counts for axis in ijk.T], axis=1)
    x, y, z = nibabel.affines.apply_affine(image.affine, means).T
    names = _parcel_names(parcels, labels)
    return {"unit": names, "area": names, "parcel": parcels, "x": x, "y": y, "z": z,
            "n_voxels": counts}  # fmt: skip


def _parcel_names(parcels: np.ndarray, labels: Any) -> np.ndarray:
    if labels is None:
        return parcels.astype(str)
    if isinstance(labels, pd.DataFrame):
        if not {"index", "name"} <= set(labels):
            raise InvalidArgument("a table of labels needs the columns 'index' and 'name'")
        labels = dict(zip(labels["index"], labels["name"], strict=True))
    elif not isinstance(labels, Mapping):
        labels = list(labels)
        if len(labels) == len(parcels) + 1 and str(labels[0]).lower() == "background":
            labels = labels[1:]
        if len(labels) != len(parcels):
            raise InvalidArgument(
                f"there are {len(labels)} labels for {len(parcels)} parcels; give a mapping from "
                "their numbers to names where some of them are not in the image"
            )
        labels = dict(zip(parcels.tolist(), labels, strict=True))
    unnamed = [n for n in parcels.tolist() if n not in labels]
    if unnamed:
        raise InvalidArgument(f"parcels have no label: {unnamed[:5]}")
    return np.array([str(labels[n]) for n in parcels.tolist()])


def _presentations(
    stimulus: Sequence[Any] | None, events: Any, n: int
) -> dict[str, np.ndarray] | None:
    if stimulus is None and events is None:
        return None
    columns: dict[str, np.ndarray] = {}
    if events is not None:
        if isinstance(events, (str, Path)):
            separator = "\t" if str(events).endswith(".tsv") else ","
            try:
                events = pd.read_csv(events, sep=separator)
            except Exception as error:
                raise InvalidArgument(f"events={str(events)!r} cannot be read: {error}") from error
        columns = {str(name): events[name].to_numpy() for name in events}
    if stimulus is not None:
        columns["stimulus"] = np.asarray(stimulus)
    elif "stimulus" not in columns:
        for usual in ("stim_file", "trial_type"):
            if usual in columns:
                columns["stimulus"] = columns[usual]
                break
    for name, column in columns.items():
        if len(column) != n:
            raise InvalidArgument(
                f"{name!r} has {len(column)} entries, but there are {n} volumes; each volume is "
                "one presentation"
            )
    return columns


def _step(image: Any, repetition_time: float | None, n_volumes: int) -> float:
    if repetition_time is None:
        zooms, units = image.header.get_zooms(), image.header.get_xyzt_units()
        repetition_time = float(zooms[3]) * _SECONDS.get(units[1], 0.0) if len(zooms) > 3 else 0.0
        if n_volumes == 1:
            return 1.0
    if not 0 < repetition_time < np.inf:
        raise InvalidArgument(
            "the header does not say how far apart volumes are: give repetition_time= (seconds), "
            "or stimulus= or events= where each volume is a presentation"
        )
    return repetition_time
