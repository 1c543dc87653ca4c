"""Time series of an NWB file: of one or many channels, whole, by window, or cut around events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bregma.errors import InvalidArgument, InvalidRecording
from bregma.recording._checks import Missing
from bregma.recording._limits import Budget
from bregma.recording._nwb_tables import columns_of, measured_in_of
from bregma.recording._nwb_units import bisect
from bregma.recording._recording import Recording
from bregma.recording._spike_checks import (
    check_outside,
    checked_intervals,
    event_table,
    interval_text,
)

_ROUNDING = 1e-6  # of a sample


@dataclass(frozen=True)
class Clock:
    """When each sample was taken: from a rate and a start, or from timestamps in the file."""

    n: int
    start: float
    rate: float
    timestamps: Any = None

    @classmethod
    def of(cls, thing: Any, n: int) -> Clock:
        """Clock of a series with n samples."""
        if thing.timestamps is None:
            if thing.rate is None or not (np.isfinite(thing.rate) and thing.rate > 0):
                raise InvalidRecording(f"the series {thing.name!r} has no sampling rate")
            return cls(n, float(thing.starting_time or 0.0), float(thing.rate))
        timestamps = thing.timestamps
        if len(timestamps) != n:
            raise InvalidRecording(
                f"the series {thing.name!r} has {n} samples and {len(timestamps)} timestamps"
            )
        first = np.asarray(timestamps[:10_000], dtype=float)
        step = float(np.median(np.diff(first))) if len(first) > 1 else np.nan
        return cls(n, float(first[0]), 1 / step if step > 0 else np.nan, timestamps)

    def at_or_after(self, t: float) -> int:
        """First sample that is not before a time."""
        if self.timestamps is not None:
            return bisect(self.timestamps, t, 0, self.n)
        position = np.ceil((t - self.start) * self.rate - _ROUNDING)
        return int(np.clip(position, 0, self.n))

    def times(self, begin: int, end: int) -> Any:
        """Times of samples begin to end."""
        if self.timestamps is not None:
            return np.asarray(self.timestamps[begin:end], dtype=float)
        return self.start + np.arange(begin, end) / self.rate

    def cut(self, t: float, n: int) -> int | None:
        """Sample nearest to a time, if n samples follow it without a gap."""
        if self.timestamps is None:
            begin = round((t - self.start) * self.rate)
            return begin if 0 <= begin <= self.n - n else None
        begin = self.at_or_after(t - 0.5 / self.rate)
        if begin + n > self.n:
            return None
        first, last = float(self.timestamps[begin]), float(self.timestamps[begin + n - 1])
        slack = 1 / self.rate
        lasts_as_it_should = abs(last - first - (n - 1) / self.rate) < slack
        return begin if abs(first - t) < slack and lasts_as_it_should else None

    def text(self) -> str:
        """From when to when, for a message."""
        ends = self.times(0, 1)[0], self.times(self.n - 1, self.n)[0]
        return interval_text([ends])


@dataclass(frozen=True)
class Series:
    """A series in an open file: nothing but its labels has been read."""

    path: str
    thing: Any
    clock: Clock
    units: pd.DataFrame

    @classmethod
    def of(cls, path: str, thing: Any) -> Series:
        """Take a pynwb TimeSeries; refuse what holds no numbers over time."""
        data = thing.data
        kind = getattr(getattr(data, "dtype", None), "kind", None)
        if kind not in ("b", "i", "u", "f") or not 1 <= len(data.shape) <= 2 or 0 in data.shape:
            raise InvalidRecording(
                f"the series {path!r} ({thing.neurodata_type}) holds no numbers over time and "
                f"channels: shape {getattr(data, 'shape', None)}, kind {kind or 'none'}"
            )
        n_units = data.shape[1] if len(data.shape) == 2 else 1
        return cls(path, thing, Clock.of(thing, data.shape[0]), _units_of(thing, n_units))

    @property
    def name(self) -> str:
        """Name of the series."""
        return str(self.thing.name)

    @property
    def kind(self) -> str:
        """Type of the series."""
        return str(self.thing.neurodata_type)

    def values(self, begin: int, end: int, budget: Budget) -> Any:
        """Samples begin to end (time, unit) in the unit of measurement of the series."""
        data = self.thing.data
        row = int(np.prod(data.shape[1:], dtype=float)) * max(8, data.dtype.itemsize)
        stored = data.id.get_storage_size() if hasattr(data, "id") else None
        budget.take((end - begin) * row, stored, f"the series {self.path!r}")
        raw = np.asarray(data[begin:end]).reshape(end - begin, -1)
        factor: Any = float(self.thing.conversion)
        channels = getattr(self.thing, "channel_conversion", None)
        if channels is not None:
            factor = factor * np.asarray(channels[:], dtype=float)
        offset = float(self.thing.offset or 0.0)
        if np.all(factor == 1) and offset == 0:
            return raw
        return raw.astype(float) * factor + offset


def _units_of(thing: Any, n: int) -> pd.DataFrame:
    """Table of channels, cells or axes, from the table that the series refers to."""
    region = getattr(thing, "rois", None) or getattr(thing, "electrodes", None)
    if region is not None:
        rows = np.asarray(region.data[:], dtype=np.int64)
        if len(rows) != n or (len(rows) and not 0 <= rows.min() <= rows.max() < len(region.table)):
            raise InvalidRecording(
                f"the series {thing.name!r} has {n} columns, its table of units {len(rows)} rows"
                " (or rows that do not exist)"
            )
        columns = columns_of(region.table, rows)
        if "area" not in columns and "location" in columns:
            columns["area"] = columns["location"]
        ids = pd.Index(np.asarray(region.table.id[:])[rows], name="unit")
        return pd.DataFrame(columns, index=ids)
    if n == 1:
        names = [str(thing.name)]
    elif thing.neurodata_type == "SpatialSeries" and n <= 3:
        names = ["x", "y", "z"][:n]
    else:
        names = [f"{thing.name}_{i}" for i in range(n)]
    return pd.DataFrame(index=pd.Index(names, name="unit"))


def read_window(series: Series, window: Any, missing: Missing, budget: Budget) -> Recording:
    """One presentation: the whole series, or the samples with start <= t < stop."""
    begin, end = _slice(series, window, series.clock)
    return Recording.from_array(
        series.values(begin, end, budget)[None],
        unit=series.units,
        time=series.clock.times(begin, end),
        measured_in=measured_in_of(series.thing.unit),
        missing=missing,
        name=series.name,
    )


def _slice(series: Series, window: Any, clock: Clock) -> tuple[int, int]:
    if window is None:
        return 0, clock.n
    begin, end = map(clock.at_or_after, checked_intervals([window], InvalidArgument)[0])
    if begin == end:
        raise InvalidArgument(
            f"no sample of {series.path!r} is in {interval_text([window])}; "
            f"it was recorded from {clock.text()}"
        )
    return begin, end


def read_around(
    series: Series,
    events: pd.DataFrame,
    window: Any,
    outside: str,
    missing: Missing,
    budget: Budget,
) -> Recording:
    """One presentation for each event; samples are shifted by less than half a sample."""
    check_outside(outside)
    clock = series.clock
    start, stop = checked_intervals([window], InvalidArgument)[0]
    if not np.isfinite(clock.rate):
        raise InvalidArgument(f"{series.path!r} has no even sampling rate: read it by window=")
    n = round((stop - start) * clock.rate)
    if n < 1:
        raise InvalidArgument(
            f"the window {interval_text([window])} is shorter than one sample "
            f"({1 / clock.rate:g} s)"
        )
    onsets, columns = event_table(events)
    begins = [clock.cut(onset + start, n) for onset in onsets]
    seen = np.array([begin is not None for begin in begins])
    if not seen.all():
        if outside == "raise" or not seen.any():
            lost = ", ".join(f"{onsets[i]:g} s" for i in np.flatnonzero(~seen)[:5])
            raise InvalidArgument(
                f"the windows of {(~seen).sum()} of {len(seen)} events were not recorded "
                f"throughout: {lost}; {series.path!r} was recorded from {clock.text()}"
                + ("; leave them out with outside='drop'" if seen.any() else "")
            )
        columns = {name: labels[seen] for name, labels in columns.items()}
    values = [series.values(b, b + n, budget) for b in begins if b is not None]
    return Recording.from_array(
        np.stack(values),
        unit=series.units,
        presentation=columns,
        time=start + np.arange(n) / clock.rate,
        measured_in=measured_in_of(series.thing.unit),
        missing=missing,
        name=series.name,
    )


def read_sweeps(
    series: Sequence[Series], window: Any, missing: Missing, budget: Budget
) -> Recording:
    """Series of one type, each a presentation; times are relative to the start of the sweep."""
    wide = [s.path for s in series if len(s.units) != 1]
    if wide:
        raise InvalidArgument(f"{wide[0]!r} has many columns: name one series to read it")
    rates = {round(s.clock.rate, 9) for s in series if s.clock.timestamps is None}
    units = {str(s.thing.unit) for s in series}
    if len(rates) != 1 or any(s.clock.timestamps is not None for s in series) or len(units) != 1:
        raise InvalidArgument(
            f"{len(series)} series of type {series[0].kind} differ in sampling rate "
            f"({', '.join(f'{rate:g} Hz' for rate in sorted(rates)) or 'timestamps'}) or unit "
            f"({', '.join(sorted(units))}): read them one by one"
        )
    clocks = [Clock(s.clock.n, 0.0, s.clock.rate) for s in series]
    lengths = {clock.n for clock in clocks}
    if window is None and len(lengths) > 1:
        shortest = min(lengths) / clocks[0].rate
        raise InvalidArgument(
            f"the sweeps have {min(lengths)} to {max(lengths)} samples: give a window that all of "
            f"them hold, such as window=(0, {shortest:g})"
        )
    slices = [_slice(s, window, clock) for s, clock in zip(series, clocks, strict=True)]
    if len({end - begin for begin, end in slices}) > 1:
        raise InvalidArgument(
            f"not every sweep holds the window {interval_text([window])}: the shortest has "
            f"{min(lengths) / clocks[0].rate:g} s"
        )
    values = [s.values(*part, budget) for s, part in zip(series, slices, strict=True)]
    columns, electrode = _sweep_columns(series)
    return Recording.from_array(
        np.stack(values),
        unit=[electrode],
        presentation=columns,
        time=clocks[0].times(*slices[0]),
        measured_in=measured_in_of(series[0].thing.unit),
        missing=missing,
        name=series[0].kind,
    )


def _sweep_columns(series: Sequence[Series]) -> tuple[dict[str, Any], str]:
    columns: dict[str, Any] = {
        "presentation": [s.name for s in series],
        "onset": [s.clock.start for s in series],
        "description": [str(s.thing.description) for s in series],
    }
    if len(set(columns["presentation"])) < len(series):
        columns["presentation"] = [s.path for s in series]
    numbers = [getattr(s.thing, "sweep_number", None) for s in series]
    if all(number is not None for number in numbers):
        columns["sweep"] = np.array(numbers, dtype=np.int64)
    electrodes = [str(getattr(getattr(s.thing, "electrode", None), "name", "")) for s in series]
    if len(set(electrodes)) == 1:
        return columns, electrodes[0] or series[0].kind
    return columns | {"electrode": electrodes}, "electrode"
