"""Putting recordings together, and bringing two of them to the same stimuli and units."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bregma.errors import InvalidRecording, UnknownName
from bregma.recording._labels import first_appearance, positions, shown
from bregma.recording._recording import Recording


def concat(recordings: Sequence[Recording], along: str, keys: list[str] | None) -> Recording:
    """Put recordings one behind the other along presentations or units."""
    if along not in ("presentation", "unit"):
        raise UnknownName.of("dimension to put recordings together along", along,
                             ["presentation", "unit"])  # fmt: skip
    if keys is not None and (len(keys) != len(recordings) or len(set(keys)) != len(keys)):
        raise InvalidRecording(f"{len(recordings)} recordings need as many distinct keys: {keys}")
    first = recordings[0]
    parts = [_matched(first, r, along) for r in recordings]
    own = {name for name, c in first.data.coords.items() if c.dims == (along,)}
    for i, part in enumerate(parts[1:], start=1):
        names = {name for name, c in part.coords.items() if c.dims == (along,)}
        if names != own:
            raise InvalidRecording(
                f"recordings 0 and {i} do not have the same {along} coordinates: "
                f"{shown(sorted(map(str, names ^ own)))} is in only one; add it with .assign() or "
                "leave it out with .drop()"
            )
        for name in own:
            if (part[name].dtype.kind == "U") != (first.data[name].dtype.kind == "U"):
                raise InvalidRecording(f"coordinate {name!r} is text in only one recording")
    if keys is not None:
        parts = [_with_key(part, along, key) for part, key in zip(parts, keys, strict=True)]
    ids = np.concatenate([part[along].values.astype(object) for part in parts])
    if len(set(ids.tolist())) < len(ids):
        raise InvalidRecording(
            f"the recordings share {along} ids; give keys=, one name for each recording, "
            "to put before them"
        )
    # join="override": _matched has already brought the other dimensions to the same labels
    data = xr.concat(parts, dim=along, join="override", coords="minimal", compat="override",
                     combine_attrs="drop")  # fmt: skip
    return Recording(
        data.rename(first.name), measured_in=first.measured_in, sessions=_sessions(recordings)
    )


def _matched(first: Recording, other: Recording, along: str) -> xr.DataArray:
    """The other recording's array, with everything but `along` as in the first."""
    if other.measured_in != first.measured_in:
        raise InvalidRecording(
            f"one recording is measured in {first.measured_in}, another in {other.measured_in}; "
            "convert one of them with .with_values(..., measured_in=...)"
        )
    if first.has_time != other.has_time:
        raise InvalidRecording("only some of the recordings have a time dimension")
    if first.has_time and not _same_times(first, other):
        raise InvalidRecording(
            f"times differ: {len(first.times)} samples from {first.times[0]:g} to "
            f"{first.times[-1]:g} s against {len(other.times)} from {other.times[0]:g} to "
            f"{other.times[-1]:g} s; bring them to one sampling rate and window first"
        )
    data = other.data
    if along == "presentation":
        mine, theirs = first.data["unit"].values, data["unit"].values
        if set(mine.tolist()) != set(theirs.tolist()):
            only = sorted(map(str, set(mine.tolist()) ^ set(theirs.tolist())))
            raise InvalidRecording(
                f"the recordings do not have the same units: only one has {shown(only)}; "
                "keep the shared ones with .align(other, units=True)"
            )
        data = data.isel(unit=positions(theirs, mine.tolist(), "unit"))
    elif not np.array_equal(first.stimuli, other.stimuli):
        raise InvalidRecording(
            "the recordings were not shown the same stimuli in the same order; bring them "
            "together with .average_repeats() and .align(other)"
        )
    shared: dict[str, Any] = {}
    for name, coordinate in first.data.coords.items():
        if coordinate.dims == (along,):
            continue
        if name in data.coords and name not in ("presentation", "time"):
            same = pd.Series(data[name].values).equals(pd.Series(coordinate.values))
            if not same:
                raise InvalidRecording(
                    f"coordinate {name!r} differs between the recordings; leave it out with "
                    f".drop({str(name)!r})"
                )
        shared[str(name)] = coordinate.variable
    extra = [
        name
        for name, c in data.coords.items()
        if c.dims != (along,) and name not in first.data.coords
    ]
    return data.drop_vars(extra).assign_coords(shared)


def _same_times(a: Recording, b: Recording) -> bool:
    return len(a.times) == len(b.times) and np.allclose(a.times, b.times, rtol=0, atol=1e-9)


def _with_key(part: xr.DataArray, along: str, key: str) -> xr.DataArray:
    ids = np.array([f"{key}/{x}" for x in part[along].values])
    return part.assign_coords({along: ids, "part": (along, np.full(len(ids), key))})


def _sessions(recordings: Sequence[Recording]) -> pd.DataFrame | None:
    tables = [r.sessions for r in recordings if r.sessions is not None]
    if not tables:
        return None
    joined = pd.concat(tables)
    first = joined[~joined.index.duplicated()]
    for table in tables:
        if not first.loc[table.index, table.columns].equals(table):
            raise InvalidRecording("the session tables disagree about a session of the same name")
    return first


def align(a: Recording, b: Recording, units: bool) -> tuple[Recording, Recording]:
    """Both recordings at the stimuli (and units) that they share, in the order of the first."""
    stimuli = first_appearance(a.stimuli)[0]
    there = set(b.stimuli.tolist())
    shared = [s for s in stimuli.tolist() if s in there]
    if not shared:
        raise InvalidRecording(
            f"the recordings share no stimulus: one was shown {shown(stimuli)}, the other "
            f"{shown(b.unique_stimuli)}; the coordinate 'stimulus' must name them alike"
        )
    left, right = at_stimuli(a, shared), at_stimuli(b, shared)
    if not units:
        return left, right
    name = "name" if "name" in a.units and "name" in b.units else "unit"
    mine, theirs = left.coordinate(name), right.coordinate(name)
    for labels in (mine, theirs):
        if len(np.unique(labels)) < len(labels):
            raise InvalidRecording(f"unit coordinate {name!r} repeats; units cannot be matched")
    there = set(theirs.tolist())
    both = [x for x in mine.tolist() if x in there]
    if not both:
        raise InvalidRecording(f"the recordings share no unit by {name!r}")
    return tuple(  # type: ignore[return-value]
        r._with(r.data.isel(unit=positions(labels, both, name)), measured_in=r.measured_in)
        for r, labels in ((left, mine), (right, theirs))
    )


def at_stimuli(recording: Recording, stimuli: list[Any]) -> Recording:
    """All presentations of these stimuli, ordered by them."""
    rank = {stimulus: i for i, stimulus in enumerate(stimuli)}
    ranks = np.array([rank.get(s, -1) for s in recording.stimuli.tolist()])
    order = np.argsort(ranks, kind="stable")
    rows = order[ranks[order] >= 0]
    return recording._with(recording.data.isel(presentation=rows),
                           measured_in=recording.measured_in)  # fmt: skip
