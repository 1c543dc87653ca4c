"""The Units table of an NWB file as SpikeTrains."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from bregma.errors import InvalidArgument, InvalidRecording
from bregma.recording._limits import Budget
from bregma.recording._nwb_own import UNITS, original
from bregma.recording._nwb_tables import columns_of, ends_of, flat_labels
from bregma.recording._spike_checks import checked_intervals, overlaps, with_closed_ends
from bregma.recording._spikes import SpikeTrains


def read_units(file: Any, window: Any, *, support: Any, budget: Budget) -> SpikeTrains:
    """Spikes of all units, or those inside a window, with the table of the units."""
    table = file.units
    if table.spike_times_index is None:
        raise InvalidRecording("its table of units holds no spike times")
    times = table.spike_times_index.target.data
    ends = ends_of(table.spike_times_index, len(times))
    columns = columns_of(table)
    columns.pop("spike_times", None)
    columns.setdefault("unit", np.asarray(table.id[:]))
    if table.description == UNITS:
        stored = {str(column.name): column for column in table.columns}
        columns = dict(original(stored[name], labels) for name, labels in columns.items())
    elif "area" not in columns:
        area = _areas(table, columns)
        if area is not None and (area != "").any():
            columns["area"] = area
    trains = {}
    if window is not None:
        start, stop = checked_intervals([window], InvalidArgument)[0]
    for row, (begin, end) in enumerate(zip(np.r_[0, ends[:-1]], ends, strict=True)):
        if window is not None:
            begin, end = (bisect(times, t, begin, end) for t in (start, stop))
        budget.take(24 * int(end - begin), None, "spike times")  # sorting takes copies
        trains[row] = np.asarray(times[int(begin) : int(end)], dtype=float)
    spikes = np.concatenate([np.empty(0), *trains.values()])
    row_of = np.repeat(np.arange(len(trains)), [len(train) for train in trains.values()])
    observed, common = _support(file, table, spikes, support)
    if window is not None:
        silent = SpikeTrains([], [], units=columns, support=observed)
        observed = silent.restrict(window).support
    found = SpikeTrains.from_unsorted(
        spikes, row_of, units=columns, support=with_closed_ends(observed, spikes)
    )
    return found if common is None else found.restrict(*common)


def bisect(times: Any, t: Any, begin: Any, end: Any) -> int:
    """First position in [begin, end) of sorted times in a file at or after t; few are read."""
    while begin < end:
        middle = (int(begin) + int(end)) // 2
        if times[middle] < t:
            begin = middle + 1
        else:
            end = middle
    return int(begin)


def _areas(table: Any, columns: dict[str, Any]) -> Any:
    """Where each unit is: its location, or that of its electrodes or electrode group."""
    if "location" in columns and (columns["location"] != "").any():
        return columns["location"]
    if "electrodes" in table.colnames:
        index = table["electrodes"]
        region = getattr(index, "target", index)
        location = flat_labels(np.asarray(region.table["location"].data[:]))
        rows = np.asarray(region.data[:], dtype=np.int64)
        ends = ends_of(index, len(rows)) if index is not region else np.arange(1, len(rows) + 1)
        if location is None or (rows >= len(location)).any():
            return None
        parts = np.split(location[rows], ends[:-1])
        return np.array([",".join(dict.fromkeys(part)) for part in parts], dtype=str)
    if "electrode_group" in table.colnames:
        groups = table["electrode_group"].data[:]
        return np.array([str(getattr(group, "location", "")) for group in groups], dtype=str)
    return None


def _support(file: Any, table: Any, spikes: Any, asked: Any) -> tuple[Any, Any]:
    """Intervals in which spikes were observed, and those to cut them to, or None."""
    if asked is not None and not isinstance(asked, str):
        return asked, None
    if asked not in (None, "union", "intersection"):
        raise InvalidArgument(
            f"support={asked!r} is not 'union', 'intersection' or intervals [(start, stop)]"
        )
    if table.obs_intervals_index is None:
        stops = [
            np.asarray(intervals["stop_time"].data[:], dtype=float)
            for intervals in (file.intervals or {}).values()
        ]
        start = np.nanmin(spikes, initial=0.0)
        stop = max(np.nanmax(times, initial=start) for times in (spikes, *stops))
        return [(start, np.nextafter(stop, np.inf))], None
    stored = np.asarray(table.obs_intervals_index.target.data[:], dtype=float).reshape(-1, 2)
    each = np.split(stored, ends_of(table.obs_intervals_index, len(stored))[:-1])
    union = _merged(stored)
    if all(np.array_equal(_merged(part), union) for part in each):
        return union, None
    if asked is None:
        raise InvalidArgument(
            "the units were not observed in the same intervals: give support='union' (a unit "
            "that was not observed counts as silent), 'intersection', or the intervals"
        )
    return union, None if asked == "union" else functools.reduce(overlaps, map(_merged, each))


def _merged(intervals: Any) -> Any:
    """The intervals in order, with those that overlap made one."""
    merged: list[list[float]] = []
    for start, stop in sorted(map(tuple, intervals)):
        if merged and start < merged[-1][1]:
            merged[-1][1] = max(stop, merged[-1][1])
        else:
            merged.append([start, stop])
    return np.array(merged).reshape(-1, 2)
