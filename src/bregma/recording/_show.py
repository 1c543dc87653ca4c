"""How a recording looks in a terminal and in a notebook."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import numpy as np

from bregma.recording._labels import shown

if TYPE_CHECKING:
    from rich.table import Table

    from bregma.recording._recording import Recording


def summary(recording: Recording) -> list[tuple[str, str]]:
    """What each coordinate holds, one line each."""
    lazy = " (lazy)" if recording.data.chunks else ""
    rows = [("values", f"{recording.data.dtype}{lazy}")]
    for dim in map(str, recording.data.dims):
        for name in recording.coordinate_names(dim):
            distinct = np.unique(recording.coordinate(name))
            rows.append((f"{dim}: {name}", f"{len(distinct)} labels: {shown(distinct, 4)}"))
    return rows


def as_rich(recording: Recording) -> Table:
    """Table for a terminal."""
    from rich.markup import escape as plain
    from rich.table import Table

    table = Table(title=plain(repr(recording)), title_justify="left", show_header=False)
    for key, value in summary(recording):
        table.add_row(plain(key), plain(value))
    return table


def as_html(recording: Recording) -> str:
    """Table for a notebook, with everything that came from files escaped."""
    rows = "".join(
        f"<tr><th style='text-align:left'>{escape(key)}</th>"
        f"<td style='text-align:left'>{escape(value)}</td></tr>"
        for key, value in summary(recording)
    )
    return f"<div><b>{escape(repr(recording))}</b><table>{rows}</table></div>"
