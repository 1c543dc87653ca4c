"""Figures of a claim: every seed of a measure beside its reference, and the experiment's curves."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import plotly.graph_objects as go

from bregma._style import INK, NULL, PALETTE, figure_label, styled_figure
from bregma.claims import Curve, Judged, Result

ROW = 34  # pixels
MAX_POINTS = 400  # of a curve


def strip(part: Judged) -> go.Figure:
    """Every seed of the measure and of its reference, and the bound that must be cleared."""
    expect = part.expect
    figure = go.Figure()
    rows = [(expect.measure, part.measured, PALETTE[0])]
    if isinstance(expect.reference, str):
        rows.append((expect.reference, part.reference, PALETTE[1]))
    for number, (name, values, colour) in enumerate(rows):
        figure.add_scatter(
            x=values,
            y=[number] * len(values),
            mode="markers",
            marker={"color": colour, "size": 10, "opacity": 0.75},
            name=figure_label(name),
            hovertemplate="%{x:.4g}<extra></extra>",
            showlegend=False,
        )
    sign = 1 if expect.direction == "above" else -1
    bound = expect.times * part.reference.mean() + sign * expect.by
    figure.add_vline(x=bound, line={"color": NULL, "width": 2, "dash": "dot"})
    styled_figure(figure, height=ROW * len(rows) + 52)
    figure.update_layout(margin={"t": 6})
    figure.update_yaxes(
        tickvals=list(range(len(rows))),
        ticktext=[figure_label(name) for name, _, _ in rows],
        range=[len(rows) - 0.4, -0.6],
        showgrid=False,
        zeroline=False,
    )
    return figure


def panels(result: Result) -> Sequence[go.Figure]:
    """Curves of all seeds; those with the same axes share a panel, a name has one colour."""
    curves = [(name, curve) for run in result.runs.values() for name, curve in run.curves.items()]
    curves.sort(key=lambda pair: _axes(pair[1]))
    return [_panel(list(group)) for _, group in groupby(curves, lambda pair: _axes(pair[1]))]


def _axes(curve: Curve) -> tuple[str, str]:
    return curve.x_name, curve.y_name


def _panel(curves: Sequence[tuple[str, Curve]]) -> go.Figure:
    names = list(dict.fromkeys(name for name, _ in curves))
    figure = go.Figure()
    seen: set[str] = set()
    for name, curve in curves:
        step = -(-len(curve.x) // MAX_POINTS) or 1
        figure.add_scatter(
            x=curve.x[::step],
            y=curve.y[::step],
            mode="lines",
            line={"color": PALETTE[names.index(name) % len(PALETTE)], "width": 1.6},
            opacity=0.75,
            name=figure_label(name, 40),
            showlegend=name not in seen,
        )
        seen.add(name)
    x, y = _axes(curves[0][1])
    styled_figure(figure, height=320, x=figure_label(x, 60), y=figure_label(y, 40))
    figure.update_layout(font={"color": INK})
    return figure
