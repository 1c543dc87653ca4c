"""Read what MNE-Python reads: continuous, epoched and averaged EEG, MEG and iEEG.

Continuous data are one presentation, or one for each event with ``events=``; projectors are
left alone unless ``project=True``, and nothing is filtered unless it is asked for.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bregma._extras import require
from bregma.errors import InvalidArgument, InvalidRecording, UnknownName
from bregma.recording._checks import Missing
from bregma.recording._limits import Budget
from bregma.recording._mne_channels import channels_of, measured_in_of
from bregma.recording._mne_events import Events, events_of
from bregma.recording._recording import Recording
from bregma.recording._spike_checks import check_outside, interval_text

SUFFIXES = (".set", ".fif", ".fif.gz", ".edf", ".bdf", ".vhdr")


def read(
    path: Any,
    key: str | None = None,
    *,
    events: str | Sequence[Any] | pd.DataFrame | np.ndarray | None = None,
    window: Sequence[Any] | None = None,
    baseline: Sequence[Any] | None = None,
    picks: str | Sequence[str] | None = None,
    high_pass: Any = None,
    low_pass: Any = None,
    project: bool = False,
    outside: str = "raise",
    missing: Missing = "raise",
    max_bytes: int | None = None,
) -> Recording:
    """Read a file of electrophysiology that MNE knows.

    Parameters
    ----------
    path : Path or mne_bids.BIDSPath
        The file. Files of a BIDS data set are read with their tables of events and channels.
    key : str, optional
        Condition of a file of averages; the same as `events`.
    events : str, sequence of str, DataFrame or array, optional
        Names of events to cut around, ``*`` and ``?`` allowed (``"*"`` for all); or a table
        with the column ``time``, or times in seconds since the beginning. Names come from
        annotations or, where there are none, from the stimulus channel. Without it,
        continuous data stay whole, and all epochs or conditions are kept.
    window : (start, stop), optional
        Seconds, both ends included as MNE does: relative to the events, or of the recording.
        Only this part is read.
    baseline : (start, stop), optional
        Window whose mean is subtracted; None stands for the first or last sample.
    picks : str or sequence of str, optional
        Channels by name, or by kind (``"eeg"``, ``"meg"``) without those marked bad, or
        ``"all"``; by default all channels of data that are not marked bad.
    high_pass, low_pass : float, optional
        Edges of the pass band in Hz (zero-phase FIR, continuous data only).
    project : bool
        Apply the projectors of the file (such as an average reference).
    outside : {"raise", "drop"}
        What to do with events whose window leaves the recording or touches a span that is
        marked as bad.
    missing : {"raise", "drop_units", "drop_presentations"}
        What to do with values that are NaN or infinite.
    max_bytes : int, optional
        The most that reading may take in memory.

    Returns
    -------
    Recording
        Values in V, T or T/m; where kinds of channels differ, each channel's own is in the
        unit coordinate ``measured_in``. Units have ``kind``, and ``x``, ``y``, ``z`` in metres
        where positions are known.

    Raises
    ------
    UnknownName
        No such event, condition or channel.
    InvalidArgument
        Options that do not fit together or the file.
    """
    events = events if key is None else _only_key(key, events)
    budget = Budget(max_bytes)
    filters = (high_pass, low_pass)
    with _quiet():
        what, data, subject = _open(path)
        if project:
            data = [d.apply_proj() for d in data] if what == "evoked" else data.apply_proj()
        if what != "raw" and filters != (None, None):
            raise InvalidArgument("only continuous data can be filtered; this file is cut already")
        first = data[0] if what == "evoked" else data
        names = _picked(first, picks)
        units = channels_of(first, names, subject)
        if what == "raw":
            values, times, shows = _cut_raw(data, names, events, window, filters, outside, budget)
        else:
            values, times, shows = (_evoked if what == "evoked" else _epochs)(data, names, budget)
            if events is not None:
                keep = _matching(shows["stimulus"], events)
                values, shows = values[keep], {name: c[keep] for name, c in shows.items()}
            if window is not None:
                inside = _inside(times, window)
                values, times = values[:, inside], times[inside]
        shows = {f"event_{name}" if name in units else name: c for name, c in shows.items()}
        if baseline is not None:
            values = values - values[:, _inside(times, baseline)].mean(axis=1, keepdims=True)
    return Recording.from_array(
        values,
        unit=units,
        presentation=shows,
        time=times,
        measured_in=measured_in_of(units),
        missing=missing,
    )


@contextmanager
def _quiet() -> Iterator[None]:
    mne = require("mne", "neuro")
    with warnings.catch_warnings(), mne.utils.use_log_level("ERROR"):
        warnings.simplefilter("ignore")
        yield


def _only_key(key: str, events: Any) -> str:
    if events is not None:
        raise InvalidArgument(f"the key {key!r} names events, and events= is given too")
    return key


def _open(path: Any) -> tuple[str, Any, str | None]:
    """Kind of data, the lazy data, and the subject where BIDS names one."""
    mne = require("mne", "neuro")
    if (bids := _bids_path(path)) is not None:
        raw = require("mne_bids", "neuro").read_raw_bids(bids, verbose="ERROR")
        return "raw", raw, bids.subject
    name = path.name.lower()
    if name.endswith(".set"):
        try:
            return "raw", mne.io.read_raw_eeglab(path), None
        except TypeError as error:
            if "epochs" not in str(error):
                raise
            return "epochs", mne.read_epochs_eeglab(path), None
    if name.endswith((".fif", ".fif.gz")):
        kind = mne.what(path)
        if kind == "evoked":
            return kind, mne.read_evokeds(path, proj=False), None
        if kind == "epochs":
            return kind, mne.read_epochs(path, proj=False, preload=False), None
        if kind != "raw":
            raise InvalidRecording(f"it holds no responses; MNE says: {kind}")
        return kind, mne.io.read_raw_fif(path, allow_maxshield=True), None
    readers = {".edf": "read_raw_edf", ".bdf": "read_raw_bdf", ".vhdr": "read_raw_brainvision"}
    return "raw", getattr(mne.io, readers[path.suffix.lower()])(path), None


def _bids_path(path: Any) -> Any:
    """BIDSPath of a file inside a BIDS data set, else None."""
    if not isinstance(path, Path):
        return path
    parts = path.resolve().parents
    inside = any((folder / "dataset_description.json").is_file() for folder in parts)
    if not (inside and path.name.startswith("sub-")):
        return None
    return require("mne_bids", "neuro").get_bids_path_from_fname(path)


def _picked(data: Any, picks: Any) -> list[str]:
    mne = require("mne", "neuro")
    kinds = data.get_channel_types()
    if picks is None:
        found = mne.pick_types(
            data.info, meg=True, eeg=True, ref_meg=False, fnirs=True, ecog=True, seeg=True,
            dbs=True, exclude="bads",
        )  # fmt: skip
        names = [data.ch_names[i] for i in found]
        if not names:
            raise InvalidArgument(
                f"no data channels that are not marked bad: give picks=, there are {set(kinds)}"
            )
        return names
    good = [(n, k) for n, k in zip(data.ch_names, kinds, strict=True) if n not in data.info["bads"]]
    names = []
    for pick in [picks] if isinstance(picks, str) else picks:
        if pick in data.ch_names:
            chosen = [pick]
        elif pick == "all":
            chosen = data.ch_names
        else:
            chosen = [n for n, k in good if k == pick or (pick == "meg" and k in ("mag", "grad"))]
        if not chosen:
            raise UnknownName.of("channel or kind", pick, [*sorted(set(kinds)), *data.ch_names])
        names += [name for name in chosen if name not in names]
    return names


def _inside(times: Any, window: Any) -> Any:
    """Mask of the samples in a window, both ends included."""
    start, stop = window
    half = 0.5 * float(np.median(np.diff(times))) if len(times) > 1 else 0.0
    inside = np.ones(len(times), dtype=bool)
    if start is not None:
        inside &= times > start - half
    if stop is not None:
        inside &= times < stop + half
    if not inside.any():
        raise InvalidArgument(
            f"no sample is in the window {start} to {stop} s; "
            f"there are samples from {interval_text([(times[0], times[-1])])}"
        )
    return inside


def _matching(labels: Any, wanted: Any) -> Any:
    """Which labels one of the names or patterns fits."""
    if not isinstance(wanted, str) and not all(isinstance(name, str) for name in wanted):
        raise InvalidArgument("this file is cut already: events= can only choose by name")
    keep = np.zeros(len(labels), dtype=bool)
    for name in [wanted] if isinstance(wanted, str) else wanted:
        fits = np.array([label == name or fnmatchcase(label, name) for label in labels])
        if not fits.any():
            raise UnknownName.of("event or condition", name, dict.fromkeys(map(str, labels)))
        keep |= fits
    return np.flatnonzero(keep)


def _cut_raw(
    raw: Any, names: list[str], events: Any, window: Any, filters: Any, outside: str, budget: Budget
) -> tuple[Any, Any, dict[str, Any]]:
    rate = float(raw.info["sfreq"])
    found = None if events is None else events_of(raw, events)
    if found is not None and window is None:
        raise InvalidArgument("to cut around events give window=(start, stop) in seconds")
    if filters != (None, None):
        budget.take(
            int(16 * len(raw.ch_names) * raw.n_times), None, "filtering the whole recording"
        )
        raw = raw.copy().pick(names).load_data().filter(*filters, picks="all")
    if found is None:
        begin, end = 0, int(raw.n_times)
        if window is not None:
            inside = np.flatnonzero(_inside(raw.times, window))
            begin, end = int(inside[0]), int(inside[-1]) + 1
        budget.take(int(16 * len(names) * (end - begin)), None, "the recording")
        values = raw.get_data(names, start=begin, stop=end)
        return values.T[None], raw.times[begin:end], {}
    first, last = (round(float(t) * rate) for t in window)
    if last < first:
        raise InvalidArgument(f"the window {interval_text([window])} ends before it starts")
    found = _possible(raw, found, first, last, outside)
    budget.take(int(16 * len(names) * (last - first + 1) * len(found.samples)), None, "the epochs")
    values = np.stack(
        [raw.get_data(names, start=s + first, stop=s + last + 1).T for s in found.samples.tolist()]
    )
    return values, np.arange(first, last + 1) / rate, found.columns


def _possible(raw: Any, found: Events, first: int, last: int, outside: str) -> Events:
    """Events whose windows lie in the recording and touch nothing that is marked bad."""
    check_outside(outside)
    reasons = found.reasons_against(raw, first, last)
    good = np.array([reason is None for reason in reasons])
    if good.all():
        return found
    rate = float(raw.info["sfreq"])
    lost = "; ".join(
        f"{found.columns['stimulus'][i]!s} at {found.samples[i] / rate:.6g} s: {reasons[i]}"
        for i in np.flatnonzero(~good)[:5]
    )
    if outside == "raise" or not good.any():
        raise InvalidArgument(
            f"{(~good).sum()} of {len(good)} events cannot be cut: {lost}"
            + ("; ..." if (~good).sum() > 5 else "")
            + (". Leave them out with outside='drop'" if good.any() else "")
        )
    return found.only(np.flatnonzero(good))


def _epochs(epochs: Any, names: list[str], budget: Budget) -> tuple[Any, Any, dict[str, Any]]:
    budget.take(int(16 * len(names) * len(epochs.times) * len(epochs.events)), None, "the epochs")
    values = np.swapaxes(epochs.get_data(picks=names), 1, 2)
    labels = {code: name for name, code in epochs.event_id.items()}
    columns: dict[str, Any] = {
        "stimulus": np.array([labels[code] for code in epochs.events[:, 2]], dtype=str),
        "onset": epochs.events[:, 0] / float(epochs.info["sfreq"]),
        "presentation": np.asarray(epochs.selection),
    }
    if epochs.metadata is not None:
        columns |= {str(name): c.to_numpy() for name, c in epochs.metadata.items()}
    return values, epochs.times, columns


def _evoked(evokeds: Any, names: list[str], budget: Budget) -> tuple[Any, Any, dict[str, Any]]:
    first = evokeds[0]
    for other in evokeds[1:]:
        if other.ch_names != first.ch_names or not np.array_equal(other.times, first.times):
            raise InvalidRecording(
                f"the conditions {first.comment!r} and {other.comment!r} differ in channels or "
                "times; read one by its name"
            )
    budget.take(int(16 * len(names) * len(first.times) * len(evokeds)), None, "the averages")
    stimuli = [str(e.comment) for e in evokeds]
    ids = stimuli
    if len(set(stimuli)) < len(stimuli):
        ids = [f"{i}: {e.comment} ({e.kind})" for i, e in enumerate(evokeds)]
    columns = {
        "presentation": np.array(ids, dtype=str),
        "stimulus": np.array(stimuli, dtype=str),
        "n_repeats": np.array([e.nave for e in evokeds]),
    }
    return np.stack([e.get_data(picks=names).T for e in evokeds]), first.times, columns
