"""How recordings and RDMs look in a terminal and in a notebook."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from bregma.recording._labels import first_appearance, shown

if TYPE_CHECKING:
    from rich.console import Group

    from bregma.recording._dissimilarity import Dissimilarity
    from bregma.recording._recording import Recording

MOST = 4  # labels of each coordinate that are shown


def summary(recording: Recording) -> list[tuple[str, str]]:
    """What each coordinate holds, one line each."""
    lazy = " (lazy)" if recording.data.chunks else ""
    rows = [("values", f"{recording.data.dtype}{lazy}")]
    for dim in map(str, recording.data.dims):
        for name in recording.coordinate_names(dim):
            rows.append((f"{dim}: {name}", _labels(recording.coordinate(name))))
    return rows


def summary_of_rdms(rdms: Dissimilarity) -> list[tuple[str, str]]:
    """What the stimuli and each column of the table of RDMs hold, one line each."""
    columns = [(f"rdm: {name}", _labels(rdms.column(str(name)))) for name in rdms.rdms]
    return [("measure", rdms.measure), ("stimulus", _labels(rdms.stimuli)), *columns]


def _labels(labels: Any) -> str:
    distinct = first_appearance(labels)[0]
    if len(distinct) > MOST and distinct.dtype.kind == "f":
        return f"{len(distinct)} numbers, {np.nanmin(distinct):g} to {np.nanmax(distinct):g}"
    few = shown(distinct[:MOST]) + (", ..." if len(distinct) > MOST else "")
    return f"{len(distinct)} label{'s' if len(distinct) > 1 else ''}: {few}"


def as_rich(what: object, rows: list[tuple[str, str]]) -> Group:
    """A line and a table for a terminal."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(show_header=False)
    for key, value in rows:
        table.add_row(Text(key), Text(value))
    return Group(Text(repr(what)), table)


def as_html(recording: Recording) -> str:
    """Table for a notebook, with everything that came from files escaped."""
    rows = "".join(
        f"<tr><th style='text-align:left'>{escape(key)}</th>"
        f"<td style='text-align:left'>{escape(value)}</td></tr>"
        for key, value in summary(recording)
    )
    return f"<div><b>{escape(repr(recording))}</b><table>{rows}</table></div>"
