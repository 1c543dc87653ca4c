"""Recordings and spike trains written to NWB in standard containers, and read back exactly.

A Recording becomes a processing module ``bregma`` with DynamicTables for presentations, units,
times and sessions. Its values are a TimeSeries ``responses`` where there is one presentation
over time, else a column ``responses`` of the presentations. SpikeTrains become the Units table.
"""

from __future__ import annotations

import json
import uuid
import warnings
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bregma._extras import require
from bregma._files import atomic_path
from bregma.errors import InvalidArgument, InvalidRecording
from bregma.recording._labels import clean_labels
from bregma.recording._limits import Budget
from bregma.recording._recording import DIMS, Recording
from bregma.recording._spikes import SpikeTrains

MODULE = "bregma"
UNITS = "spike trains written by bregma"
_ABOUT = "a Recording of bregma, version 1"
_RESPONSES = "responses"
_TAKEN = (  # names that mean something else in NWB
    "id", "name", "description", "colnames", _RESPONSES, "spike_times", "obs_intervals",
    "electrodes", "electrode_group", "waveform_mean", "waveform_sd", "waveforms",
)  # fmt: skip
_STANDINS = ("column_", "date_")  # names of columns whose own name HDF5 could not have
_TABLES = {"presentation": "presentations", "time": "times", "unit": "units"}


def write(what: Any, path: Path) -> None:
    """Write a Recording or SpikeTrains as a new NWB file."""
    pynwb = require("pynwb", "neuro")
    file = pynwb.NWBFile(
        session_description="written by bregma",
        identifier=str(uuid.uuid4()),
        session_start_time=datetime(1970, 1, 1, tzinfo=UTC),  # NWB's way to say: not known
    )
    if isinstance(what, SpikeTrains):
        file.units = _units(what)
    elif isinstance(what, Recording):
        _add_module(file, what)
    else:
        raise InvalidArgument(
            f"NWB files hold recordings and spike trains, not {type(what).__name__}"
        )
    with atomic_path(path) as part, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pynwb.NWBHDF5IO(str(part), "w") as io:
            io.write(file)


def _columns(table: Mapping[str, Any]) -> list[Any]:
    """VectorData of each column; `original` undoes it, whatever characters the names have.

    The description is the name of the column. Dates are whole numbers, with their type before
    the name in the description.
    """
    common = require("hdmf.common", "neuro")
    vectors = []
    for i, (name, values) in enumerate(table.items()):
        labels = clean_labels(values, f"column {name!r}")
        plain = name.isidentifier() and name not in _TAKEN and not name.startswith(_STANDINS)
        stored, description = name if plain else f"column_{i}", name
        if labels.dtype.kind in "mM":
            stored, description = f"date_{i}", f"{labels.dtype.str} {name}"
            labels = labels.astype(np.int64)
        elif labels.dtype.kind == "U":
            if any("\0" in text for text in labels):
                raise InvalidArgument(f"column {name!r}: NWB cannot store text with NUL characters")
            labels = labels.astype(object)
        vectors.append(common.VectorData(name=stored, description=description, data=labels))
    return vectors


def original(column: Any, values: Any) -> tuple[str, Any]:
    """Name and labels of a column that `_columns` made, from the values that were read."""
    name = str(column.description)
    if values.dtype == object:
        values = np.array([str(text) for text in values], dtype=str)
    if str(column.name).startswith("date_"):
        dtype, _, name = name.partition(" ")
        values = values.astype(np.dtype(dtype))
    return name, values


def _table(name: str, columns: Mapping[str, Any], values: Any = None) -> Any:
    common = require("hdmf.common", "neuro")
    vectors = _columns(columns)
    if values is not None:
        text = "responses ([time,] unit) to each presentation"
        vectors.append(common.VectorData(name=_RESPONSES, description=text, data=values))
    ids = np.arange(len(vectors[0].data))
    return common.DynamicTable(name=name, description=name, columns=vectors, id=ids)


def _add_module(file: Any, recording: Recording) -> None:
    pynwb = require("pynwb", "neuro")
    values = recording.values
    module = file.create_processing_module(MODULE, _ABOUT)
    tables = {
        _TABLES[dim]: {
            name: recording.data[name].values
            for name in map(str, recording.data.coords)
            if recording.data[name].dims == (dim,)
        }
        for dim in map(str, recording.data.dims)
    }
    with_values = None
    if recording.has_time and recording.n_presentations == 1:
        module.add(
            pynwb.TimeSeries(
                name=_RESPONSES,
                data=values[0],
                timestamps=recording.times,
                unit=recording.measured_in or "n.a.",
                description="responses (time, unit) to the one presentation",
            )
        )
    else:
        with_values = "presentations"
    if recording.sessions is not None:
        index = recording.sessions.index
        tables["sessions"] = {"": index.to_numpy()} | {
            str(name): column.to_numpy() for name, column in recording.sessions.items()
        }
    for name, columns in tables.items():
        module.add(_table(name, columns, values if name == with_values else None))
    about: dict[str, Any] = {"name": recording.name, "measured_in": recording.measured_in}
    if recording.sessions is not None:
        about["sessions_index"] = recording.sessions.index.name
    module.add(_table("about", {"json": [json.dumps(about)]}))


def is_own(file: Any) -> bool:
    """Whether an open NWB file holds a Recording that bregma wrote."""
    return MODULE in file.processing and file.processing[MODULE].description == _ABOUT


def read_own(file: Any, budget: Budget) -> Recording:
    """Read the Recording that `write` wrote."""
    module = file.processing[MODULE]
    about = json.loads(str(module["about"]["json"].data[0]))
    if not isinstance(about, dict):
        raise InvalidRecording(f"the table 'about' of the module {MODULE!r} is damaged")
    tables = {
        name: _read_table(module[name], budget)
        for name in (*_TABLES.values(), "sessions")
        if name in module.data_interfaces
    }
    if _RESPONSES in module.data_interfaces:
        values = _loaded(module[_RESPONSES].data, budget)[None]
    else:
        values = _loaded(module["presentations"][_RESPONSES].data, budget)
    coords = {
        column: (dim, labels)
        for dim, table in _TABLES.items()
        if table in tables
        for column, labels in tables[table].items()
    }
    dims = [dim for dim in DIMS if _TABLES[dim] in tables]
    sessions = None
    if "sessions" in tables:
        columns = tables["sessions"]
        index = pd.Index(columns.pop(""), name=about.get("sessions_index"))
        sessions = pd.DataFrame(columns, index=index)
    data = xr.DataArray(values, dims=dims, coords=coords, name=about.get("name"))
    return Recording(data, measured_in=about.get("measured_in"), sessions=sessions)


def _loaded(stored: Any, budget: Budget) -> Any:
    size = int(np.prod(stored.shape, dtype=float)) * stored.dtype.itemsize
    budget.take(size, stored.id.get_storage_size(), f"the dataset {stored.name!r}")
    return stored[()]


def _read_table(table: Any, budget: Budget) -> dict[str, Any]:
    columns = [column for column in table.columns if column.name != _RESPONSES]
    return dict(original(column, _loaded(column.data, budget)) for column in columns)


def _units(spikes: SpikeTrains) -> Any:
    pynwb = require("pynwb", "neuro")
    common = require("hdmf.common", "neuro")
    times = common.VectorData(
        name="spike_times",
        description="spike times in seconds",
        data=np.concatenate(list(spikes.to_dict().values())),
    )
    intervals = common.VectorData(
        name="obs_intervals",
        description="intervals [start, stop) in seconds in which spikes would have been seen",
        data=np.tile(spikes.support, (spikes.n_units, 1)),
    )
    n_intervals = len(spikes.support) * np.arange(1, spikes.n_units + 1)
    table = {"unit": spikes.units.index.to_numpy()} | {
        str(name): column.to_numpy() for name, column in spikes.units.items()
    }
    return pynwb.misc.Units(
        name="units",
        description=UNITS,
        id=np.arange(spikes.n_units),
        columns=[
            *_columns(table),
            times,
            common.VectorIndex(
                name="spike_times_index",
                data=np.cumsum(spikes.counts.to_numpy()).astype(np.int64),
                target=times,
            ),
            intervals,
            common.VectorIndex(name="obs_intervals_index", data=n_intervals, target=intervals),
        ],
    )
