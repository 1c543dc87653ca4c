"""SpikeTrains to and from pynapple."""

from __future__ import annotations

from typing import Any

import numpy as np

from bregma._extras import require
from bregma.errors import InvalidArgument, InvalidRecording
from bregma.recording._spike_checks import with_closed_ends
from bregma.recording._spikes import SpikeTrains


def from_pynapple(group: Any) -> SpikeTrains:
    """See `SpikeTrains.from_pynapple`."""
    nap = require("pynapple", "neuro")
    if not isinstance(group, nap.TsGroup):
        raise InvalidArgument(f"a pynapple TsGroup is needed, this is {type(group).__name__}")
    if not len(group):
        raise InvalidRecording("there are no units in the TsGroup")
    columns = {str(key): column.to_numpy() for key, column in group.metadata.items()}
    columns.pop("rate", None)  # pynapple derives it from the times
    columns.setdefault("unit", np.array(group.keys()))
    trains = {unit: group[key].t for key, unit in zip(group.keys(), columns["unit"], strict=True)}
    spikes = np.concatenate(list(trains.values()))
    support = with_closed_ends(group.time_support.values, spikes)
    return SpikeTrains.from_dict(trains, units=columns, support=support)


def to_pynapple(spikes: SpikeTrains) -> Any:
    """See `SpikeTrains.to_pynapple`."""
    nap = require("pynapple", "neuro")
    support = nap.IntervalSet(spikes.support[:, 0], spikes.support[:, 1])
    metadata = spikes.units.copy()
    if "rate" in metadata:
        raise InvalidArgument(
            "pynapple keeps the name 'rate' for itself: rename that column of the units first"
        )
    ids = spikes.units.index
    keys = ids.tolist()
    if ids.dtype.kind not in "iu" or not ids.is_monotonic_increasing:
        metadata.insert(0, "unit", ids.to_numpy())
        keys = list(range(spikes.n_units))
    trains = {
        key: nap.Ts(train, time_support=support)
        for key, train in zip(keys, spikes.to_dict().values(), strict=True)
    }
    metadata.index = keys
    return nap.TsGroup(trains, time_support=support, metadata=metadata)
