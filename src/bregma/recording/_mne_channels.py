"""Channels of an MNE object as a table of units, with kinds, positions and what they measure."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

_MEASURED_IN = {
    **dict.fromkeys(("eeg", "eog", "ecg", "emg", "ecog", "seeg", "dbs", "bio"), "V"),
    **dict.fromkeys(("mag", "ref_meg"), "T"),
    "grad": "T/m",
    **dict.fromkeys(("hbo", "hbr"), "M"),
    **dict.fromkeys(("fnirs_cw_amplitude", "fnirs_fd_ac_amplitude"), "V"),
}


def channels_of(data: Any, names: list[str], subject: str | None) -> pd.DataFrame:
    """Table of channels; positions in metres (EEG: head frame, MEG: device frame)."""
    kinds = dict(zip(data.ch_names, data.get_channel_types(), strict=True))
    table = pd.DataFrame({"kind": [kinds[name] for name in names]}, index=pd.Index(names))
    table.index.name = "unit"
    measured = [_MEASURED_IN.get(kind, "") for kind in table["kind"]]
    if len(set(measured)) > 1:
        table["measured_in"] = measured
    where = {channel["ch_name"]: channel["loc"][:3] for channel in data.info["chs"]}
    positions = np.array([where[name] for name in names], dtype=float)
    unknown = ~np.isfinite(positions).all(axis=1) | (positions == 0).all(axis=1)
    if not unknown.all():
        positions[unknown] = np.nan
        table[["x", "y", "z"]] = positions
    if subject is not None:
        table["subject"] = subject
    return table


def measured_in_of(units: pd.DataFrame) -> str | None:
    """Unit of measurement that all channels share, or None."""
    if "measured_in" in units:
        return None
    return _MEASURED_IN.get(units["kind"].iloc[0])
