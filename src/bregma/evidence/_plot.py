"""Figures of evidence: bars under a ceiling, scores above their nulls."""

from __future__ import annotations

import html
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from bregma._style import CEILING, INK, NULL
from bregma._style import PALETTE as PALETTE
from bregma._style import figure_label as figure_label
from bregma._style import styled_figure as styled_figure

from ._display import p_text
from ._evidence import Evidence


def _groups(evidences: Sequence[Evidence]) -> tuple[list[str], list[str]]:
    brains = list(dict.fromkeys(e.brain for e in evidences))
    return brains, list(dict.fromkeys(e.model for e in evidences))


def _hover(e: Evidence) -> str:
    low, high = e.interval.low, e.interval.high
    lines = [
        f"{figure_label(e.model, 60)} ~ {figure_label(e.brain, 60)}",
        f"score {e.score:.3f}, {e.interval.level:.0%} interval {low:.3f} to {high:.3f}",
        html.escape(p_text(e.p_value), quote=False) + " (not corrected)",
    ]
    if e.normalised is not None:
        lines.append(f"{e.normalised:.0%} of the lower ceiling")
    return "<br>".join(lines)


def _rows(figure: go.Figure, names: Sequence[str]) -> None:
    figure.update_yaxes(
        tickvals=list(range(len(names))),
        ticktext=[figure_label(name) for name in names],
        range=[len(names) - 0.45, -0.55],  # first row on top
        showgrid=False,
        zeroline=False,
    )


def _ceilings(figure: go.Figure, evidences: Sequence[Evidence], rows: Sequence[int]) -> None:
    """A band from the lower to the upper ceiling behind each row; one legend entry for all."""
    first = True
    for e, row in zip(evidences, rows, strict=True):
        if e.ceiling is None:
            continue
        corners = [e.ceiling.lower, e.ceiling.upper, e.ceiling.upper, e.ceiling.lower]
        figure.add_scatter(
            x=corners,
            y=[row - 0.5, row - 0.5, row + 0.5, row + 0.5],
            fill="toself",
            mode="lines",
            line={"width": 0},
            fillcolor=CEILING,
            name="noise ceiling",
            legendgroup="ceiling",
            showlegend=first,
            hoverinfo="skip",
        )
        first = False


def _twins(figure: go.Figure, evidences: Sequence[Evidence], rows: Sequence[float]) -> None:
    """The scores of null systems as open circles."""
    points = [
        (value, row)
        for e, row in zip(evidences, rows, strict=True)
        if e.system_null
        for value in e.system_null.values
    ]
    if points:
        x, y = zip(*points, strict=True)
        figure.add_scatter(
            x=x,
            y=y,
            mode="markers",
            marker={"color": "white", "size": 7, "line": {"color": "#333333", "width": 1}},
            name="null systems",
            hovertemplate="null system: %{x:.3f}<extra></extra>",
        )


def plot_scores(evidences: Sequence[Evidence]) -> go.Figure:
    """Horizontal bars with intervals, ceilings behind them and null systems on top."""
    brains, models = _groups(evidences)
    grouped = len(brains) > 1
    names = brains if grouped else models
    figure = go.Figure()
    if grouped:
        firsts = [next(e for e in evidences if e.brain == brain) for brain in brains]
        _ceilings(figure, firsts, range(len(brains)))
    else:
        _ceilings(figure, evidences, range(len(evidences)))
    width = 0.72 / len(models) if grouped else 0.6
    offset = {
        m: (i - (len(models) - 1) / 2) * width if grouped else 0.0 for i, m in enumerate(models)
    }
    rows = [names.index(e.brain if grouped else e.model) + offset[e.model] for e in evidences]
    for i, model in enumerate(models):
        part = [(e, row) for e, row in zip(evidences, rows, strict=True) if e.model == model]
        figure.add_bar(
            x=[e.score for e, _ in part],
            y=[row for _, row in part],
            orientation="h",
            width=width * 0.92,
            marker={"color": PALETTE[i % len(PALETTE)] if grouped else PALETTE[0]},
            error_x={
                "type": "data",
                "array": [e.interval.high - e.score for e, _ in part],
                "arrayminus": [e.score - e.interval.low for e, _ in part],
                "color": INK,
                "thickness": 1.5,
                "width": 4,
            },
            name=figure_label(model),
            showlegend=grouped,
            text=[_hover(e) for e, _ in part],
            textposition="none",
            hovertemplate="%{text}<extra></extra>",
        )
    _twins(figure, evidences, rows)
    per_row = max(34, 20 * len(models)) if grouped else 38
    styled_figure(figure, height=110 + per_row * len(names), x="score")
    _rows(figure, names)
    return figure


def plot_nulls(evidences: Sequence[Evidence]) -> go.Figure:
    """A row per score: its null distribution, and the score with its interval."""
    brains, _models = _groups(evidences)
    names = [e.model if len(brains) == 1 else f"{e.brain} ~ {e.model}" for e in evidences]
    figure = go.Figure()
    _ceilings(figure, evidences, range(len(evidences)))
    for row, e in enumerate(evidences):
        bins = int(np.clip(np.sqrt(e.null.values.size), 5, 40))
        height, edges = np.histogram(e.null.values, bins=bins)
        top = row + 0.42 - 0.8 * np.repeat(height / height.max(), 2)
        figure.add_scatter(
            x=np.concatenate([[edges[0]], np.repeat(edges, 2)[1:-1], [edges[-1]]]),
            y=np.concatenate([[row + 0.42], top, [row + 0.42]]),
            fill="toself",
            mode="lines",
            line={"width": 0},
            fillcolor=NULL,
            name="null of the data",
            legendgroup="null",
            showlegend=row == 0,
            hoverinfo="skip",
        )
    rows = list(range(len(evidences)))
    _twins(figure, evidences, [row + 0.2 for row in rows])
    figure.add_scatter(
        x=[e.score for e in evidences],
        y=rows,
        mode="markers",
        marker={"color": PALETTE[0], "size": 10},
        error_x={
            "type": "data",
            "array": [e.interval.high - e.score for e in evidences],
            "arrayminus": [e.score - e.interval.low for e in evidences],
            "color": PALETTE[0],
            "thickness": 2,
            "width": 4,
        },
        name="observed score",
        text=[_hover(e) for e in evidences],
        hovertemplate="%{text}<extra></extra>",
    )
    styled_figure(figure, height=110 + 46 * len(evidences), x="score")
    _rows(figure, names)
    return figure
