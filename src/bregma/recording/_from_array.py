"""From an array and tables to what a recording holds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import xarray as xr

from bregma.errors import InvalidRecording
from bregma.recording._checks import DIMS, Coordinate, check_numbers, labelled
from bregma.recording._labels import Table, shown, table_columns


def checked_values(values: Any, time: Any) -> Any:
    """Numbers of two or three dimensions, as NumPy or Dask holds them."""
    if hasattr(values, "detach"):  # a torch tensor; NumPy has no bfloat16
        values = values.detach().cpu()
        values = (values.float() if str(values.dtype) == "torch.bfloat16" else values).numpy()
    elif not hasattr(values, "dask"):
        values = np.asarray(values)
    if values.ndim not in (2, 3):
        raise InvalidRecording(
            "values must be (presentation, unit) or (presentation, time, unit); "
            f"their shape is {values.shape}"
        )
    if (time is None) == (values.ndim == 3):
        raise InvalidRecording(
            f"values of shape {values.shape} need "
            + ("their times: give time=" if time is None else "no time, but time= is given")
        )
    check_numbers(values.dtype, dict(zip(_dims(values), values.shape, strict=True)))
    return values


def array_of(
    values: Any,
    unit: Table | Iterable[Any] | None,
    presentation: Table | Iterable[Any] | None,
    time: Any,
    name: str | None,
) -> xr.DataArray:
    """Checked values and tables as one labelled array."""
    units = table_columns(unit, "unit", values.shape[-1], None)
    shows = table_columns(presentation, "presentation", values.shape[0], None)
    if twice := set(units) & set(shows):
        raise InvalidRecording(f"coordinates of units and presentations share {shown(twice)}")
    coords: dict[str, Coordinate] = {key: ("unit", column) for key, column in units.items()}
    coords |= {key: ("presentation", column) for key, column in shows.items()}
    if time is not None:
        coords["time"] = ("time", np.asarray(time, dtype=float))
        if coords["time"][1].shape != values.shape[1:2]:
            raise InvalidRecording(
                f"time has the shape {coords['time'][1].shape}, "
                f"but the values have {values.shape[1]} samples"
            )
    return labelled(values, _dims(values), coords, name)


def _dims(values: Any) -> tuple[str, ...]:
    return DIMS if values.ndim == 3 else ("presentation", "unit")
