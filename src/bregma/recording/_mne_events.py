"""Events of continuous data: from annotations, the stimulus channel, or the user's own times."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from bregma._extras import require
from bregma.errors import InvalidArgument, UnknownName
from bregma.recording._spike_checks import event_table

_MARKS = ("BAD", "EDGE")


@dataclass(frozen=True)
class Events:
    """Samples of events (counted from the first sample) and columns of their presentations."""

    samples: Any
    columns: dict[str, Any]

    def only(self, rows: Any) -> Events:
        """Some of the events."""
        return Events(self.samples[rows], {name: c[rows] for name, c in self.columns.items()})

    def reasons_against(self, raw: Any, first: int, last: int) -> list[str | None]:
        """Why samples first to last around each event cannot be used; None where they can."""
        rate = float(raw.info["sfreq"])
        spans = []
        for mark, onset, length in _annotations(raw):
            if mark.upper().startswith("BAD"):
                spans.append((onset * rate, (onset + length) * rate, mark))
        reasons: list[str | None] = []
        for sample in self.samples.tolist():
            begin, end = sample + first, sample + last
            marks = [mark for start, stop, mark in spans if begin < stop and end >= start]
            if begin < 0 or end >= raw.n_times:
                reasons.append("its window leaves the recording")
            else:
                reasons.append(f"it touches what is marked {marks[0]!r}" if marks else None)
        return reasons


def events_of(raw: Any, wanted: Any) -> Events:
    """Events by name or pattern, or at the times of a table or array."""
    rate = float(raw.info["sfreq"])
    by_name = isinstance(wanted, str) or (
        isinstance(wanted, (list, tuple)) and len(wanted) > 0
        and all(isinstance(name, str) for name in wanted)
    )  # fmt: skip
    if not by_name:
        onsets, columns = event_table(wanted)
        columns.setdefault("stimulus", columns["presentation"])
        return Events(np.round(onsets * rate).astype(int), columns)
    named = [(n, t) for n, t, _ in _annotations(raw) if not n.upper().startswith(_MARKS)]
    named = named or _stimulus_channel(raw)
    if not named:
        raise InvalidArgument(
            "the file has no annotations and no stimulus channel: give events= as times in "
            "seconds, or a table with the column 'time'"
        )
    there = dict.fromkeys(name for name, _ in named)
    chosen = set()
    for pattern in [wanted] if isinstance(wanted, str) else wanted:
        fits = [name for name in there if name == pattern or fnmatchcase(name, pattern)]
        if not fits:
            raise UnknownName.of("event", pattern, there)
        chosen.update(fits)
    kept = sorted(((t, name) for name, t in named if name in chosen), key=lambda event: event[0])
    onsets = np.array([t for t, _ in kept])
    samples = np.round(onsets * rate).astype(int)
    columns = {
        "presentation": np.arange(len(kept)),
        "stimulus": np.array([name for _, name in kept], dtype=str),
        "onset": samples / rate,
    }
    return Events(samples, columns)


def _annotations(raw: Any) -> list[tuple[str, float, float]]:
    """Name, onset since the first sample, and duration of each annotation."""
    marks = raw.annotations
    return [
        (str(name), float(onset) - raw.first_time, float(length))
        for name, onset, length in zip(marks.description, marks.onset, marks.duration, strict=True)
    ]


def _stimulus_channel(raw: Any) -> list[tuple[str, float]]:
    """Codes of the stimulus channel, as text, and when they began."""
    mne = require("mne", "neuro")
    if "stim" not in raw.get_channel_types():
        return []
    found = mne.find_events(raw, shortest_event=1, verbose="ERROR")
    rate = float(raw.info["sfreq"])
    return [(str(code), (sample - raw.first_samp) / rate) for sample, _, code in found.tolist()]
