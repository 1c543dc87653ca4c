"""Spike trains in a Zarr store or NetCDF file, also those that do not fit into memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bregma.recording._spike_checks import unit_table
from bregma.recording._spikes import SpikeTrains
from bregma.recording._store_codec import encoded, table_decoded, table_encoded


def pack_spikes(
    times: Any, unit_index: Any, units: pd.DataFrame, support: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and variables of spike trains; times and units may be Dask arrays."""
    index, how = encoded(unit_index, "the units of spikes")
    header = {"kind": "SpikeTrains", "unit_index": how, "units": table_encoded(units)}
    variables = {
        "values": ("spike", times, {"units": "s"}),
        "unit_index": ("spike", index),
        "support": (("interval", "end"), support),
    }
    return header, variables


def unpack_spikes(shelf: Any, header: Mapping[str, Any]) -> SpikeTrains:
    """Undo `pack_spikes`."""
    return SpikeTrains(
        shelf.array("values"),
        shelf.array("unit_index").astype(header["unit_index"]["dtype"]),
        units=table_decoded(header["units"]),
        support=shelf.array("support"),
    )


def save_spikes(path: str | Path, times: Any, unit_index: Any, *, units: Any, support: Any) -> Path:
    """Write spikes that need not fit into memory, as `SpikeTrains.save` writes those that do.

    Parameters
    ----------
    path : str or Path
        A folder that ends in ``.zarr``.
    times : array (spike,)
        Times in seconds, sorted; NumPy or Dask.
    unit_index : array (spike,)
        Row of `units` that fired each spike; NumPy or Dask.
    units : DataFrame, mapping or sequence
        Table of units, as for `SpikeTrains`.
    support : array (interval, 2)
        Intervals [start, stop) in seconds in which spikes would have been seen.

    Returns
    -------
    Path
        Where it was written.
    """
    from bregma.recording._store import write_packed

    packed = pack_spikes(times, unit_index, unit_table(units), np.asarray(support, dtype=float))
    write_packed(*packed, Path(path))
    return Path(path)
