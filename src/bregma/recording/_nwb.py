"""Read NWB files: units, trials around which to cut, and any series, only as much as is asked.

See `read` for the options; `_nwb_own` writes.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bregma._extras import require
from bregma.errors import InvalidArgument, UnknownName, UnreadableRecording
from bregma.recording._checks import Missing
from bregma.recording._limits import Budget
from bregma.recording._nwb_own import is_own, read_own, write
from bregma.recording._nwb_series import Series, read_around, read_sweeps, read_window
from bregma.recording._nwb_tables import columns_of
from bregma.recording._nwb_units import read_units
from bregma.recording._recording import Recording
from bregma.recording._spikes import SpikeTrains

__all__ = ["SUFFIXES", "read", "write"]
SUFFIXES = (".nwb",)


def read(
    path: Path,
    key: str | None = None,
    *,
    around: str | pd.DataFrame | Sequence[Any] | np.ndarray | None = None,
    at: str = "start_time",
    window: Sequence[Any] | None = None,
    bin: Any = None,
    stimulus: str | None = None,
    outside: str = "raise",
    support: Any = None,
    missing: Missing = "raise",
    max_bytes: int | None = None,
) -> Recording | SpikeTrains:
    """Read units or series of an NWB file.

    Parameters
    ----------
    path : Path
        The file.
    key : str, optional
        ``"units"``, the name or path of a series (``"acquisition/Lfp"``), or a type of series
        (``"CurrentClampSeries"``: all of them, one presentation each). By default what bregma
        wrote, else the units, else the one type of series that was acquired.
    around : str, DataFrame or array, optional
        Cut around these events: a table of the file (``"trials"``), a table with the column
        ``time``, or times in seconds. Other columns become coordinates of presentations.
    at : str
        Which column of the file's table is the time of the event.
    window : (start, stop), optional
        Seconds: relative to the events, or of the session where there are no events; only
        this part is read.
    bin : float, optional
        Width in seconds of the bins in which the spikes of units are counted.
    stimulus : str, optional
        Column of the events that says what the stimulus was.
    outside : {"raise", "drop"}
        What to do with events whose window was not recorded throughout.
    support : "union", "intersection" or array (interval, 2), optional
        When spikes were observed, where the units of the file do not agree on it.
    missing : {"raise", "drop_units", "drop_presentations"}
        What to do with values that are NaN or infinite.
    max_bytes : int, optional
        The most that reading may take in memory.

    Returns
    -------
    SpikeTrains or Recording
        Spikes where units are neither binned nor cut, else a Recording.

    Raises
    ------
    UnknownName
        No such key, table or column; the message has the nearest names.
    InvalidArgument
        Options that do not fit together or the file.
    UnreadableRecording
        The file holds no units and no series, or is damaged.
    """
    budget = Budget(max_bytes)
    with _opened(path) as (file, io):
        if is_own(file) and key in (None, "bregma"):
            if any(option is not None for option in (around, window, bin, stimulus)):
                raise InvalidArgument(
                    f"{path.name} holds a Recording that is cut already: read it without "
                    "around=, window=, bin= and stimulus=, then use .select"
                )
            return read_own(file, budget)
        series = _series(file, io)
        found = _find(path, key, series, has_units=file.units is not None)
        events = _events(file, around, at, stimulus)
        if found == "units":
            _check_window(around, window, needs_bin=True, bin=bin)
            spikes = read_units(
                file, None if around is not None else window, support=support, budget=budget
            )
            if events is not None:
                events = _without_clashes(events, spikes.units, around)
                return spikes.around(events, window, bin, outside=outside)  # type: ignore[arg-type]
            return spikes if bin is None else spikes.bin(bin, window)
        if bin is not None:
            raise InvalidArgument("bin= is for units; series have samples, give window= only")
        if len(found) > 1 and around is not None:
            raise InvalidArgument(
                f"{key or 'what was acquired'} are {len(found)} series: name one to cut it"
            )
        chosen = [Series.of(name, series[name]) for name in found]
        if len(chosen) > 1:
            return read_sweeps(chosen, window, missing, budget)
        if events is None:
            return read_window(chosen[0], window, missing, budget)
        _check_window(around, window, needs_bin=False, bin=bin)
        events = _without_clashes(events, chosen[0].units, around)
        return read_around(chosen[0], events, window, outside, missing, budget)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Any]]:
    pynwb = require("pynwb", "neuro")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about namespaces and best practices of the writer
        with pynwb.NWBHDF5IO(str(path), "r") as io:
            yield io.read(), io


def _series(file: Any, io: Any) -> dict[str, Any]:
    """Path in the file -> series, in the order of the paths."""
    pynwb = require("pynwb", "neuro")
    found = {}
    for thing in file.objects.values():
        if isinstance(thing, pynwb.TimeSeries):
            builder = io.manager.get_builder(thing)
            path = thing.name if builder is None else str(builder.path)
            found[path.removeprefix("root/")] = thing
    return dict(sorted(found.items()))


def _find(
    path: Path, key: str | None, series: dict[str, Any], *, has_units: bool
) -> list[str] | str:
    """``"units"``, or the paths of the series that are meant."""
    kinds: dict[str, list[str]] = {}
    for name, thing in series.items():
        kinds.setdefault(str(thing.neurodata_type), []).append(name)
    there = ["units"] * has_units + [f"{kind} ({len(names)})" for kind, names in kinds.items()]
    if key is None:
        if has_units:
            return "units"
        acquired = {
            kind: [name for name in names if name.startswith("acquisition/")]
            for kind, names in kinds.items()
        }
        for group in (acquired, kinds):
            filled = [names for names in group.values() if names]
            if len(filled) == 1:
                return filled[0]
        if not series:
            raise UnreadableRecording(path, "it holds no units and no series")
        raise InvalidArgument(
            f"{path.name} holds several things, name one with key=: {', '.join(there)}; or one "
            f"series, such as {', '.join(list(series)[:5])}"
        )
    if key == "units" and has_units:
        return "units"
    for names in ([key] if key in series else [], [n for n in series if n.endswith("/" + key)]):
        if len(names) > 1:
            raise InvalidArgument(f"several series are named {key!r}: {', '.join(names)}")
        if names:
            return names
    if key in kinds:
        return kinds[key]
    short = [name.rpartition("/")[2] for name in series]
    raise UnknownName.of(
        f"series or table in {path.name}", key, ["units"] * has_units + [*kinds, *short, *series]
    )


def _check_window(around: Any, window: Any, *, needs_bin: bool, bin: Any) -> None:
    if around is not None and (window is None or (needs_bin and bin is None)):
        need = "window=(start, stop) in seconds" + (" and bin= in seconds" if needs_bin else "")
        raise InvalidArgument(f"to cut around events give {need}")


def _events(file: Any, around: Any, at: str, stimulus: str | None) -> pd.DataFrame | None:
    """Table of events with the column ``time``."""
    if around is None:
        if stimulus is not None:
            raise InvalidArgument("stimulus= names a column of events: give around= too")
        return None
    if isinstance(around, str):
        pynwb = require("pynwb", "neuro")
        tables = {
            str(thing.name): thing
            for thing in file.objects.values()
            if isinstance(thing, pynwb.epoch.TimeIntervals)
        }
        if around not in tables:
            raise UnknownName.of("table of events", around, tables)
        events = pd.DataFrame(columns_of(tables[around]))
        if at not in events:
            raise UnknownName.of(f"column of {around!r}", at, events)
        events.insert(0, "event time", events[at])
        events = events.set_index(pd.Index(tables[around].id[:], name="presentation"))
    elif isinstance(around, pd.DataFrame):
        if "time" not in around:
            raise UnknownName.of("column of the events", "time", around)
        events = around.rename(columns={"time": "event time"})
    else:
        events = pd.DataFrame({"event time": np.asarray(around, dtype=float).ravel()})
    if stimulus is not None:
        if stimulus not in events:
            raise UnknownName.of("column of the events", stimulus, events.columns[1:])
        events["stimulus"] = events[stimulus]
    return events


def _without_clashes(events: pd.DataFrame, units: pd.DataFrame, around: Any) -> pd.DataFrame:
    """Events whose columns are not named like coordinates of units, time, or the onset."""
    prefix = around if isinstance(around, str) else "event"
    clashes = [name for name in events if name in {"unit", "time", "onset", *units}]
    events = events.rename(columns={name: f"{prefix}_{name}" for name in clashes})
    return events.rename(columns={"event time": "time"})
