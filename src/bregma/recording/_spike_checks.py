"""What SpikeTrains refuse, and why: tables of units, spikes, intervals, windows and events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float64

from bregma.errors import InvalidArgument, InvalidRecording
from bregma.recording._labels import check_ids, shown, table_columns
from bregma.recording._spike_kernels import first_fall

ROUNDING = 1e-6  # of a bin: how far a window may miss a whole number of bins


def unit_table(units: Any) -> pd.DataFrame:
    """Table of units indexed by their ids, from a table, columns or just ids."""
    if isinstance(units, Mapping) and "unit" not in units:
        raise InvalidRecording(f"the columns {shown(units)} hold no 'unit' with the ids")
    length = len(units["unit"]) if isinstance(units, Mapping) else len(units)
    columns = table_columns(units, "unit", length, np.arange(length))
    if not length:
        raise InvalidRecording("there are no units in it")
    check_ids(columns["unit"], "unit")
    index = pd.Index(columns.pop("unit"), name="unit")
    return pd.DataFrame(columns, index=index)


def index_type(n: int) -> Any:
    return np.min_scalar_type(-max(n, 1))


def without_copy(values: Any, what: str, kinds: str, dtype: np.dtype | None) -> Any:
    array = np.asarray(values)
    if array.dtype.kind not in kinds and array.size:
        need = "whole numbers, rows of the unit table" if dtype is None else "seconds"
        raise InvalidRecording(f"{what} must be {need}; they are {array.dtype}")
    if array.ndim != 1:
        raise InvalidRecording(f"{what} must be one-dimensional, the shape is {array.shape}")
    wanted = dtype or (array.dtype if array.dtype.kind in "iu" else np.dtype(np.int16))
    view = np.ascontiguousarray(array, dtype=wanted.newbyteorder("=")).view()
    view.flags.writeable = False  # of this view only; the caller's array stays as it is
    return view


def check_spikes(times: Any, unit_index: Any, units: pd.DataFrame) -> None:
    if len(times) != len(unit_index):
        raise InvalidRecording(
            f"{len(times)} times but {len(unit_index)} entries in unit_index: each spike has both"
        )
    if not len(times):
        return
    fall = first_fall(times)
    if fall is not None or not np.isfinite(times[[0, -1]]).all():
        bad = np.flatnonzero(~np.isfinite(times))
        if len(bad):
            raise InvalidRecording(
                f"{len(bad)} times are NaN or infinite, the first at position {bad[0]}"
            )
        assert fall is not None
        raise InvalidRecording(
            f"times are not sorted: {times[fall]:g} s at position {fall} comes after "
            f"{times[fall - 1]:g} s; use SpikeTrains.from_unsorted or SpikeTrains.from_dict"
        )
    if unit_index.min() < 0 or unit_index.max() >= len(units):
        where = int(np.argmax((unit_index < 0) | (unit_index >= len(units))))
        raise InvalidRecording(
            f"unit_index {unit_index[where]} at position {where} is no row of the table of "
            f"{len(units)} units (0 to {len(units) - 1})"
        )


def checked_intervals(windows: Any, error: type[ValueError]) -> Float64[np.ndarray, "interval 2"]:
    array = np.array(windows, dtype=float)
    if array.ndim != 2 or array.shape[1:] != (2,) or not len(array):
        raise error(f"intervals are pairs (start, stop); these have the shape {array.shape}")
    if not np.isfinite(array).all() or (array[:, 0] >= array[:, 1]).any():
        raise error(f"intervals must start before they stop, and be finite: {interval_text(array)}")
    array = array[np.argsort(array[:, 0])]
    if (array[1:, 0] < array[:-1, 1]).any():
        raise error(f"intervals overlap: {interval_text(array)}")
    return array


def overlaps(a: Any, b: Any) -> Float64[np.ndarray, "interval 2"]:
    """What two lists of intervals share."""
    low = np.maximum(a[:, None, 0], b[None, :, 0])
    high = np.minimum(a[:, None, 1], b[None, :, 1])
    return np.stack([low, high], axis=-1)[low < high]


def with_closed_ends(support: Any, times: Any) -> Float64[np.ndarray, "interval 2"]:
    """Intervals that hold the spikes on their ends: where others close them, ours are open."""
    intervals = np.array(support, dtype=float)
    closed = np.isin(intervals[:, 1], times)
    intervals[closed, 1] = np.nextafter(intervals[closed, 1], np.inf)
    return intervals


def checked_support(support: Any, times: Any) -> Float64[np.ndarray, "interval 2"]:
    if support is not None:
        array = checked_intervals(support, InvalidRecording)
    elif len(times):
        array = np.array([[0.0, np.nextafter(max(times[-1], 0.0), np.inf)]])
    else:
        raise InvalidRecording("without spikes the support= is needed: which time was observed?")
    array.flags.writeable = False
    return array


def check_inside(times: Any, support: Any, *, given: bool) -> None:
    cuts = np.searchsorted(times, support).ravel()  # spikes before each start and each stop
    if (inside := int(np.diff(cuts)[::2].sum())) == len(times):
        return
    ends = np.r_[0, cuts, len(times)].reshape(-1, 2)
    where = int(next(a for a, b in ends if b > a))
    lost = f"{len(times) - inside} of {len(times)} times"
    first = f"the first is {times[where]:g} s at position {where}"
    if given:
        reason = f"{lost} lie outside the support ({interval_text(support)}), {first}"
    else:
        reason = f"{lost} are negative, {first}, and without support= a recording starts at 0 s"
    raise InvalidRecording(f"{reason}; give support=[(start, stop)] that holds them all")


def bin_edges(window: Any, width: Any, *, whole: bool) -> Any:
    """Edges of bins that fill a window; a last bin that is not filled is left out or refused."""
    start, stop = map(float, window)
    if not (np.isfinite(width) and width > 0):
        raise InvalidArgument(f"the width of bins must be positive, in seconds; it is {width}")
    exact = (stop - start) / width
    n = round(exact)
    if abs(exact - n) > ROUNDING:
        n = int(exact)
        if whole:
            better = interval_text([(start, start + max(n, 1) * width)])
            raise InvalidArgument(
                f"the window {interval_text([(start, stop)])} is {exact:.6g} bins of {width:g} s; "
                f"make it a whole number, such as {better}"
            )
    if n < 1:
        raise InvalidArgument(
            f"not one bin of {width:g} s fits into {interval_text([(start, stop)])}"
        )
    return start + np.arange(n + 1) * width


def check_outside(outside: str) -> None:
    """Refuse what cannot be done with events whose window was not observed."""
    if outside not in ("raise", "drop"):
        raise InvalidArgument(f"outside={outside!r} is not one of ('raise', 'drop')")


def event_table(events: Any) -> tuple[Any, dict[str, Any]]:
    """Times of events, and the columns of their presentations."""
    if isinstance(events, pd.DataFrame):
        if "time" not in events:
            raise InvalidArgument(f"events need a column 'time'; they have {shown(events)}")
        if "onset" in events:
            raise InvalidArgument(
                "events have a column 'onset'; that name is for their 'time' in the recording, "
                "so drop or rename it"
            )
        onsets, table = events["time"].to_numpy(dtype=float), events.drop(columns="time")
    else:
        onsets, table = np.array(events, dtype=float), None
    if onsets.ndim != 1:
        raise InvalidArgument(f"times of events are one-dimensional, these are {onsets.shape}")
    lost = int((~np.isfinite(onsets)).sum())
    if lost or not len(onsets):
        raise InvalidArgument(
            f"{lost} of {len(onsets)} times of events are not finite"
            if lost
            else "at least one event is needed, there is none"
        )
    columns = table_columns(table, "presentation", len(onsets), np.arange(len(onsets)))
    return onsets, columns | {"onset": onsets}


def interval_text(intervals: Iterable[Any]) -> str:
    """Intervals for a message."""
    parts = [f"{start:g} to {stop:g} s" for start, stop in intervals]
    return ", ".join(parts[:3]) + (f", ... ({len(parts)} in all)" if len(parts) > 3 else "")
