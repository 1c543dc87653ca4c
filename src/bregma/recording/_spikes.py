"""SpikeTrains: when each unit fired, the form of spikes before they are counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Float64, Integer

from bregma.errors import InvalidArgument, InvalidRecording
from bregma.recording._labels import Table, select_mask, shown, table_columns
from bregma.recording._recording import Recording
from bregma.recording._spike_checks import (
    ROUNDING,
    bin_edges,
    check_inside,
    check_outside,
    check_spikes,
    checked_intervals,
    checked_support,
    event_table,
    index_type,
    interval_text,
    overlaps,
    unit_table,
    without_copy,
)
from bregma.recording._spike_kernels import blocks_of, count_spikes

if TYPE_CHECKING:
    import pynapple

Seconds = float | int | np.number
Window = Sequence[Seconds] | np.ndarray


class SpikeTrains:
    """Spike times of many units, sorted, with a table of units and the time that was observed.

    Never changed in place. Arrays that are float64 (times) and integer (unit_index) already
    are held as they are, without a copy.

    Parameters
    ----------
    times : array (spike,)
        Times in seconds, sorted, all units together.
    unit_index : array (spike,)
        Row of `units` that fired each spike.
    units : DataFrame, mapping or sequence
        Table of units with their ids as index, or columns with the ids under ``"unit"``, or
        just the ids.
    support : array (interval, 2), optional
        Intervals [start, stop) in seconds in which spikes would have been seen. By default
        from 0 to just after the last spike.

    Raises
    ------
    InvalidRecording
        Times that are unsorted, NaN, negative or outside the support; units that do not
        exist, repeated unit ids, no units.

    Examples
    --------
    >>> from bregma import SpikeTrains
    >>> spikes = SpikeTrains.from_dict({"a": [0.1, 0.3], "b": [0.2]}, support=[(0, 0.4)])
    >>> spikes
    SpikeTrains(3 spikes of 2 units, 0 to 0.4 s)
    >>> spikes.bin(0.2).values[0]
    array([[1, 0],
           [1, 1]], dtype=int8)
    """

    __slots__ = ("support", "times", "unit_index", "units")
    times: Float64[np.ndarray, " spike"]
    unit_index: Integer[np.ndarray, " spike"]
    units: pd.DataFrame
    support: Float64[np.ndarray, "interval 2"]

    def __init__(self, times: Any, unit_index: Any, *, units: Any, support: Any = None) -> None:
        units = unit_table(units)
        times = without_copy(times, "times", "iuf", np.dtype(float))
        unit_index = without_copy(unit_index, "unit_index", "iu", None)
        check_spikes(times, unit_index, units)
        observed = checked_support(support, times)
        check_inside(times, observed, given=support is not None)
        object.__setattr__(self, "times", times)
        object.__setattr__(self, "unit_index", unit_index)
        object.__setattr__(self, "units", units)
        object.__setattr__(self, "support", observed)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"SpikeTrains are never changed in place; make new ones ({name})")

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self.times, self.unit_index, self.units, self.support)

    @classmethod
    def from_dict(
        cls,
        trains: Mapping[Any, Any],
        *,
        units: Table | None = None,
        support: Any = None,
    ) -> SpikeTrains:
        """Make SpikeTrains from the times of each unit, sorted or not.

        Parameters
        ----------
        trains : mapping
            Unit id to its spike times in seconds.
        units : DataFrame or mapping, optional
            Coordinates of the units, in the order of `trains`.
        support : array (interval, 2), optional
            As in the class.

        Returns
        -------
        SpikeTrains
            The same spikes, sorted by time.
        """
        parts = [np.asarray(train, dtype=float).ravel() for train in trains.values()]
        columns = table_columns(units, "unit", len(parts), list(trains))
        if list(columns["unit"]) != list(trains):
            raise InvalidRecording(
                f"the table is about the units {shown(columns['unit'])}, the spikes about "
                f"{shown(trains)}; both must be the same, in the same order"
            )
        unit_index = np.repeat(
            np.arange(len(parts), dtype=index_type(len(parts))), [len(part) for part in parts]
        )
        times = np.concatenate([np.empty(0), *parts])
        return cls.from_unsorted(times, unit_index, units=columns, support=support)

    @classmethod
    def from_unsorted(
        cls, times: Any, unit_index: Any, *, units: Any, support: Any = None
    ) -> SpikeTrains:
        """Make SpikeTrains from spikes in any order.

        Parameters
        ----------
        times, unit_index, units, support
            As in the class, with times in any order.

        Returns
        -------
        SpikeTrains
            The same spikes, sorted by time; spikes at one time stay in their order.
        """
        times, unit_index = np.asarray(times), np.asarray(unit_index)
        if times.shape == unit_index.shape:  # else the class says what is wrong
            order = np.argsort(times, kind="stable")
            times, unit_index = times[order], unit_index[order]
        return cls(times, unit_index, units=units, support=support)

    @classmethod
    def from_pynapple(cls, group: pynapple.TsGroup) -> SpikeTrains:
        """Take over a pynapple TsGroup with its metadata and time support.

        Parameters
        ----------
        group : pynapple.TsGroup
            Spike times of units. Unit ids are the group's keys, or its metadata column
            ``unit`` where there is one.

        Returns
        -------
        SpikeTrains
            The same spikes; intervals of pynapple, which hold both of their ends, grow by the
            smallest step where a spike lies on their end.
        """
        from bregma.recording._pynapple import from_pynapple

        return from_pynapple(group)

    def to_pynapple(self) -> pynapple.TsGroup:
        """Give the same spikes as a pynapple TsGroup.

        Returns
        -------
        pynapple.TsGroup
            Keys are the unit ids where they are integers, else 0, 1, ... with the ids in the
            metadata column ``unit``. pynapple rounds times to nanoseconds.
        """
        from bregma.recording._pynapple import to_pynapple

        return to_pynapple(self)

    # What is in it

    @property
    def n_spikes(self) -> int:
        """Number of spikes."""
        return len(self.times)

    @property
    def n_units(self) -> int:
        """Number of units."""
        return len(self.units)

    @property
    def duration(self) -> float:
        """Observed time in seconds, over all intervals of the support."""
        return float(np.diff(self.support, axis=1).sum())

    @property
    def counts(self) -> pd.Series:
        """Number of spikes of each unit."""
        counted = np.bincount(self.unit_index, minlength=self.n_units)
        return pd.Series(counted, index=self.units.index, name="spikes")

    @property
    def rates(self) -> pd.Series:
        """Mean firing rate of each unit in spikes per second of the support."""
        return (self.counts / self.duration).rename("spikes/s")

    def to_dict(self) -> dict[Any, Float64[np.ndarray, " spike"]]:
        """Times of each unit.

        Returns
        -------
        dict
            Unit id to sorted times in seconds.
        """
        order = np.argsort(self.unit_index, kind="stable")
        parts = np.split(self.times[order], np.cumsum(self.counts.to_numpy())[:-1])
        return dict(zip(self.units.index.tolist(), parts, strict=True))

    def identical(self, other: object) -> bool:
        """Whether times, units with their table, and support are all the same.

        Parameters
        ----------
        other : object
            What to compare with.

        Returns
        -------
        bool
            True where nothing differs; the width of the integers does not count.
        """
        return (
            isinstance(other, SpikeTrains)
            and np.array_equal(self.times, other.times)
            and np.array_equal(self.unit_index, other.unit_index)
            and np.array_equal(self.support, other.support)
            and self.units.equals(other.units)
        )

    # Making others from it

    def select(self, **wanted: Any) -> SpikeTrains:
        """Keep the units with the wanted labels.

        Parameters
        ----------
        **wanted : scalar, sequence, slice or function
            For each coordinate of the units (or ``unit``, their ids): a label, several, a
            range (both ends included), or a function from labels to booleans.

        Returns
        -------
        SpikeTrains
            Spikes of these units, with the same support.

        Raises
        ------
        UnknownName
            No such coordinate.
        InvalidArgument
            Nothing is left.
        """
        columns = table_columns(self.units, "unit", self.n_units, None)
        keep = np.ones(self.n_units, dtype=bool)
        for name, value in wanted.items():
            keep &= select_mask(columns.__getitem__, list(columns), name, value)
        if not keep.any():
            raise InvalidArgument(f"no unit fulfils all of {wanted!r} at once")
        rank = np.cumsum(keep).astype(index_type(self.n_units)) - 1
        spikes = keep[self.unit_index]
        return SpikeTrains(
            self.times[spikes],
            rank[self.unit_index[spikes]],
            units=self.units[keep],
            support=self.support,
        )

    def restrict(self, *windows: Window) -> SpikeTrains:
        """Keep the spikes inside windows; one window is a view and copies nothing.

        Parameters
        ----------
        *windows : (start, stop)
            Intervals [start, stop) in seconds.

        Returns
        -------
        SpikeTrains
            Spikes inside, and the part of the support that lies inside.

        Raises
        ------
        InvalidArgument
            The windows do not touch the support.
        """
        asked = checked_intervals(windows, InvalidArgument)
        support = overlaps(asked, self.support)
        if not len(support):
            raise InvalidArgument(
                f"{interval_text(asked)} does not touch the support, "
                f"which is {interval_text(self.support)}"
            )
        cuts = np.searchsorted(self.times, support)
        if len(cuts) == 1:
            part: Any = slice(*cuts[0])
        else:
            part = np.concatenate([np.arange(a, b) for a, b in cuts])
        return SpikeTrains(
            self.times[part], self.unit_index[part], units=self.units, support=support
        )

    # Counting

    def bin(self, width: Seconds, window: Window | None = None) -> Recording:
        """Count spikes in bins of one width.

        Bin k holds the spikes with ``start + k * width <= t < start + (k + 1) * width``.

        Parameters
        ----------
        width : float
            Width of the bins in seconds.
        window : (start, stop), optional
            A whole number of bins, inside the support. By default the support, when it is one
            interval; a last bin that it does not fill is left out.

        Returns
        -------
        Recording
            One presentation; ``time`` is the centres of the bins, values are counts of the
            smallest signed integer type that holds them (int8, int16 or int32).

        Raises
        ------
        InvalidArgument
            A width that is not positive, a window that is not a whole number of bins or not
            observed throughout.
        """
        start, edges = self._edges(width, window)
        first, n_bins = blocks_of(len(edges) - 1)
        counts = count_spikes(self.times, self.unit_index, self.n_units, edges, first, n_bins)
        return Recording.from_array(
            counts[None],
            unit=self.units,
            time=start + (np.arange(len(counts)) + 0.5) * width,
            measured_in="spikes",
        )

    def _edges(self, width: Seconds, window: Window | None) -> tuple[float, Any]:
        if window is not None:
            edges = bin_edges(checked_intervals([window], InvalidArgument)[0], width, whole=True)
            if not self._observed(edges[:1], edges[-1:], width)[0]:
                raise InvalidArgument(
                    f"the window {interval_text([window])} is not observed throughout: "
                    f"the support is {interval_text(self.support)}"
                )
        elif len(self.support) > 1:
            raise InvalidArgument(
                f"the support has {len(self.support)} intervals, {interval_text(self.support)}: "
                "give the window= to be binned, inside one of them"
            )
        else:
            edges = bin_edges(self.support[0], width, whole=False)
        return edges[0], edges

    def _observed(self, starts: Any, stops: Any, width: Seconds) -> Any:
        """Which windows lie inside one interval of the support."""
        slack = ROUNDING * width
        interval = np.searchsorted(self.support[:, 0], starts + slack, side="right") - 1
        return (interval >= 0) & (stops <= self.support[interval, 1] + slack)

    def around(
        self,
        events: Sequence[Seconds] | np.ndarray | pd.Series | pd.DataFrame,
        window: Window,
        bin: Seconds,
        *,
        outside: Literal["raise", "drop"] = "raise",
    ) -> Recording:
        """Count spikes in bins around events.

        Bin k of an event holds the spikes with ``event + (start + k * bin) <= t`` and
        ``t < event + (start + (k + 1) * bin)``.

        Parameters
        ----------
        events : array (event,) or DataFrame
            Times of the events in seconds; or a table with the column ``time``, whose other
            columns become coordinates of the presentations (such as ``stimulus``).
        window : (start, stop)
            Seconds relative to the event, a whole number of bins.
        bin : float
            Width of the bins in seconds.
        outside : {"raise", "drop"}
            What to do with events whose window is not observed throughout.

        Returns
        -------
        Recording
            Counts (presentation, time, unit); ``time`` is the centres of the bins relative to
            the event, the coordinate ``onset`` the time of the event.

        Raises
        ------
        InvalidArgument
            No events, times that are not finite, windows outside the support.
        """
        onsets, columns = event_table(events)
        edges = bin_edges(checked_intervals([window], InvalidArgument)[0], bin, whole=True)
        check_outside(outside)
        seen = self._observed(onsets + edges[0], onsets + edges[-1], bin)
        if not seen.all():
            lost = ", ".join(f"{columns['presentation'][i]} (at {onsets[i]:g} s)"
                             for i in np.flatnonzero(~seen)[:5])  # fmt: skip
            if outside == "raise" or not seen.any():
                raise InvalidArgument(
                    f"the windows of {(~seen).sum()} of {len(seen)} events are not observed "
                    f"throughout: {lost}{', ...' if (~seen).sum() > 5 else ''}; the support is "
                    f"{interval_text(self.support)}"
                    + ("; leave them out with outside='drop'" if seen.any() else "")
                )
            onsets, columns = onsets[seen], {key: c[seen] for key, c in columns.items()}
        n_bins = len(edges) - 1
        counts = count_spikes(
            self.times,
            self.unit_index,
            self.n_units,
            (onsets[:, None] + edges).ravel(),
            np.arange(len(onsets)) * len(edges),
            np.full(len(onsets), n_bins),
        )
        return Recording.from_array(
            counts.reshape(len(onsets), n_bins, self.n_units),
            unit=self.units,
            presentation=columns,
            time=window[0] + (np.arange(n_bins) + 0.5) * bin,
            measured_in="spikes",
        )

    # How it looks

    def save(self, path: str | Path) -> Path:
        """Write to a file that `bregma.read` gives back exactly.

        Parameters
        ----------
        path : str or Path
            Ending in ``.nwb``, ``.zarr`` or ``.nc``; replaced in one step if it exists.

        Returns
        -------
        Path
            Where it was written.
        """
        from bregma.recording._read import write

        return write(self, path)

    def __repr__(self) -> str:
        observed = interval_text(self.support)
        return f"SpikeTrains({self.n_spikes} spikes of {self.n_units} units, {observed})"

    def _summary(self) -> pd.DataFrame:
        return self.units.assign(spikes=self.counts, **{"spikes/s": self.rates.round(3)})

    def __rich__(self) -> Any:
        from rich.markup import escape as plain
        from rich.table import Table as RichTable

        summary = self._summary()
        table = RichTable("unit", *map(str, summary), title=plain(repr(self)), title_justify="left")
        for unit, row in summary.head(10).iterrows():
            table.add_row(*(plain(str(value)) for value in (unit, *row)))
        return table

    def _repr_html_(self) -> str:
        summary = self._summary().to_html(max_rows=10, escape=True)
        return f"<div><b>{escape(repr(self))}</b>{summary}</div>"


def _rebuild(times: Any, unit_index: Any, units: pd.DataFrame, support: Any) -> SpikeTrains:
    return SpikeTrains(times, unit_index, units=units, support=support)
