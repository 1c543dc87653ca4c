"""How figures look in every room: a palette, labels without markup, quiet axes."""

from __future__ import annotations

import html
from typing import Any

import plotly.graph_objects as go

# Okabe and Ito's palette, which colour-blind readers can tell apart; yellow is too pale for bars.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#7F7F7F", "#8C6D31")
CEILING = "rgba(127, 127, 127, 0.28)"
NULL = "rgba(127, 127, 127, 0.55)"
GRID = "rgba(127, 127, 127, 0.22)"
INK = "#333333"


def figure_label(text: object, width: int = 26) -> str:
    """Text for a figure, shortened, in which plotly finds no markup.

    Parameters
    ----------
    text : object
        What to write; names that come from files.
    width : int
        Number of characters that are kept.

    Returns
    -------
    str
        The text on one line, escaped.
    """
    text = " ".join(str(text).split()) or "?"
    text = text if len(text) <= width else text[: width - 1] + "…"
    return html.escape(text, quote=False)


def styled_figure(figure: go.Figure, *, height: int, x: str = "", y: str = "") -> go.Figure:
    """Give a figure quiet axes, system fonts and no background: fits light and dark pages.

    Parameters
    ----------
    figure : plotly.graph_objects.Figure
        The figure, changed in place.
    height : int
        Its height in pixels.
    x, y : str
        Titles of the axes, with units; taken as plotly's markup.

    Returns
    -------
    plotly.graph_objects.Figure
        The same figure.
    """
    axis: dict[str, Any] = {"gridcolor": GRID, "zerolinecolor": GRID, "automargin": True}
    figure.update_layout(
        template="none",
        height=height,
        margin={"l": 8, "r": 12, "t": 28, "b": 8},
        font={"family": "system-ui, sans-serif", "size": 13, "color": INK},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        legend={"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom"},
        hoverlabel={"namelength": -1},
        modebar={"bgcolor": "rgba(0,0,0,0)", "color": GRID, "activecolor": "#7F7F7F"},
        xaxis={**axis, "title": {"text": x}},
        yaxis={**axis, "title": {"text": y}},
    )
    return figure
