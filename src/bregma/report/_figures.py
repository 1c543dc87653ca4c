"""Figures of the report that are not figures of evidence: RDMs, embeddings, time courses, bars."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from jaxtyping import Float
from scipy.linalg import orthogonal_procrustes
from scipy.spatial.distance import cdist
from scipy.stats import rankdata

from bregma.evidence import PALETTE, figure_label, styled_figure

from ._parts import TimeCourse

MOST_STIMULI = 200  # more cells or pictures than a reader, or a page, can take
THUMBNAIL = "thumbnail:"  # stands for a picture that the page holds once


def unique_labels(labels: Sequence[object]) -> list[str]:
    """Escaped labels, made different where shortening has made them equal."""
    short = [figure_label(x) for x in labels]
    counts = pd.Series(short).value_counts()
    return [s if counts[s] == 1 else f"{s} ({i})" for i, s in enumerate(short)]


def order_of(stimuli: Sequence[object] | np.ndarray, categories: Sequence[str] | None) -> list[int]:
    """Order in which stimuli are shown: by category, and evenly thinned where they are many."""
    order = list(range(len(stimuli)))
    if categories is not None:
        kinds = list(dict.fromkeys(categories))
        order.sort(key=lambda i: kinds.index(categories[i]))
    if len(order) > MOST_STIMULI:
        order = [order[i] for i in np.linspace(0, len(order) - 1, MOST_STIMULI).round().astype(int)]
    return order


def rdm_map(
    square: Float[np.ndarray, "stimulus stimulus"],
    labels: Sequence[str],
    categories: Sequence[str] | None,
) -> go.Figure:
    """Heat map of one RDM, each dissimilarity as its percentile among the pairs."""
    n = len(square)
    rows, columns = np.triu_indices(n, 1)
    percentile = np.zeros((n, n), dtype=np.float32)
    ranks = rankdata(square[rows, columns])
    spread = max(len(ranks) - 1, 1)
    percentile[rows, columns] = percentile[columns, rows] = 100 * (ranks - 1) / spread
    figure = go.Figure(
        go.Heatmap(
            z=percentile,
            x=list(labels),
            y=list(labels),
            colorscale="Cividis",
            zmin=0,
            zmax=100,
            showscale=False,
            hovertemplate="%{x} – %{y}<br>percentile %{z:.0f}<extra></extra>",
        )
    )
    styled_figure(figure, height=300)
    quiet = {
        "type": "category",
        "showgrid": False,
        "zeroline": False,
        "showticklabels": False,
        "ticks": "",
        "constrain": "domain",
    }
    figure.update_xaxes(**quiet, title=None)
    figure.update_yaxes(**quiet, title=None, autorange="reversed", scaleanchor="x")
    figure.update_xaxes(constraintoward="left")
    figure.update_yaxes(constraintoward="top")
    figure.update_layout(margin={"l": 4, "r": 4, "t": 4, "b": 4})
    if categories is not None:
        _mark_categories(figure, categories)
    return figure


def _mark_categories(figure: go.Figure, categories: Sequence[str]) -> None:
    starts = [i for i, c in enumerate(categories) if i == 0 or categories[i - 1] != c]
    ends = [*starts[1:], len(categories)]
    if len(starts) > 12:  # no room for so many names
        return
    for start in starts[1:]:
        line = {"color": "white", "width": 1}
        figure.add_hline(y=start - 0.5, line=line)
        figure.add_vline(x=start - 0.5, line=line)
    middle = [(start + end - 1) / 2 for start, end in zip(starts, ends, strict=True)]
    names = [figure_label(categories[i], 16) for i in starts]
    figure.update_yaxes(showticklabels=True, tickvals=middle, ticktext=names, automargin=True)
    figure.update_yaxes(tickfont={"size": 11}, tickangle=-90)


def in_the_plane(
    square: Float[np.ndarray, "stimulus stimulus"], n_steps: int = 300
) -> tuple[Float[np.ndarray, "stimulus 2"], float]:
    """Points whose distances resemble the dissimilarities, and the correlation of the two.

    Metric multidimensional scaling: Torgerson's classical solution, improved by de Leeuw's
    majorisation (SMACOF), which never raises the stress. No random start, so always the same.
    """
    n = len(square)
    wanted = np.maximum(square, 0)  # cross-validated distances may be negative
    centre = np.eye(n) - 1 / n
    values, vectors = np.linalg.eigh(-centre @ wanted**2 @ centre / 2)
    points = vectors[:, :-3:-1] * np.sqrt(np.maximum(values[:-3:-1], 0))
    for _ in range(n_steps):
        distance = cdist(points, points)
        ratio = np.divide(wanted, distance, out=np.zeros_like(wanted), where=distance > 0)
        points = (np.diag(ratio.sum(1)) - ratio) @ points / n
    pairs = np.triu_indices(n, 1)
    found, asked = cdist(points, points)[pairs], square[pairs]
    if np.ptp(found) == 0 or np.ptp(asked) == 0:
        return points, 1.0  # one distance only, which is kept
    return points, float(np.corrcoef(found, asked)[0, 1])


def turned_to(
    points: Float[np.ndarray, "stimulus 2"], target: Float[np.ndarray, "stimulus 2"]
) -> Float[np.ndarray, "stimulus 2"]:
    """Points scaled to unit spread and turned or mirrored onto a target; their shape stays."""
    spread = np.sqrt((points**2).sum(1).mean())
    points = points / spread if spread > 0 else points
    return np.asarray(points @ orthogonal_procrustes(points, target)[0])


def embedding(
    points: Float[np.ndarray, "stimulus 2"],
    labels: Sequence[str],
    categories: Sequence[str] | None,
    pictures: Sequence[int] | None,
) -> go.Figure:
    """Stimuli in the plane, as their pictures where there are any."""
    figure = go.Figure()
    of = list(categories) if categories is not None else [""] * len(points)
    kinds = list(dict.fromkeys(of))
    room = min(1.0, np.sqrt(92 / len(points)))  # many pictures become smaller
    coloured = 1 < len(kinds) <= len(PALETTE)
    for k, kind in enumerate(kinds):
        rows = [i for i, own in enumerate(of) if own == kind]
        figure.add_scatter(
            x=points[rows, 0].astype(np.float32),
            y=points[rows, 1].astype(np.float32),
            mode="markers",
            marker={
                "size": 30 * room if pictures is not None else 8,
                "symbol": "square" if pictures is not None else "circle",
                "color": PALETTE[k % len(PALETTE)] if coloured else "#7F7F7F",
                "opacity": 0.9 if pictures is None else 0.55 if coloured else 0.15,
            },
            name=figure_label(kind, 16),
            showlegend=coloured,
            text=[labels[i] for i in rows],
            hovertemplate="%{text}<extra></extra>",
        )
    reach = 1.12 * float(np.abs(points).max() or 1)
    if pictures is not None:
        size = 2 * reach * 0.075 * room
        placed = {"xref": "x", "yref": "y", "sizex": size, "sizey": size, "xanchor": "center",
                  "yanchor": "middle", "layer": "above"}  # fmt: skip
        # All at once: plotly checks every picture that is there again whenever one is added.
        figure.update_layout(
            images=[
                {"source": f"{THUMBNAIL}{picture}", "x": x, "y": y, **placed}
                for (x, y), picture in zip(points.tolist(), pictures, strict=True)
            ]
        )
    styled_figure(figure, height=330)
    hidden: dict[str, Any] = {"visible": False, "range": [-reach, reach]}
    figure.update_xaxes(**hidden)
    figure.update_yaxes(**hidden, scaleanchor="x")
    figure.update_layout(
        margin={"l": 4, "r": 4, "t": 4, "b": 4},
        legend={"y": 0, "yanchor": "top", "font": {"size": 11}},
        hovermode="closest",
    )
    return figure


def time_course(course: TimeCourse) -> go.Figure:
    """Lines over time, the band of chance behind them, a bar below where it is left."""
    figure = go.Figure()
    if course.band is not None:
        figure.add_scatter(
            x=np.concatenate([course.times, course.times[::-1]]),
            y=np.concatenate([course.band[0], course.band[1][::-1]]),
            fill="toself",
            mode="lines",
            line={"width": 0},
            fillcolor="rgba(127, 127, 127, 0.28)",
            name=html.escape(course.band_says, quote=False),
            hoverinfo="skip",
        )
    if course.chance is not None:
        figure.add_hline(y=course.chance, line={"color": "#7F7F7F", "width": 1, "dash": "dot"})
    for i, (name, values) in enumerate(course.scores.items()):
        figure.add_scatter(
            x=course.times,
            y=values,
            mode="lines",
            line={"color": PALETTE[i % len(PALETTE)], "width": 2},
            name=figure_label(name, 60),
            hovertemplate="%{x:.3f} s: %{y:.3f}<extra></extra>",
        )
    if course.above is not None and course.above.any():
        drawn = [*course.scores.values(), *([] if course.band is None else [course.band])]
        bottom = min(float(values.min()) for values in drawn)
        figure.add_scatter(
            x=course.times,
            y=[bottom if above else None for above in course.above],
            mode="lines+markers",
            line={"color": "#333333", "width": 3},
            marker={"size": 3, "color": "#333333"},
            name="above chance (corrected)",
            hoverinfo="skip",
        )
    if course.times.min() < 0 < course.times.max():
        figure.add_vline(x=0, line={"color": "#7F7F7F", "width": 1})
    return styled_figure(
        figure, height=340, x="time (s)", y=html.escape(course.measure, quote=False)
    )


def bars(table: pd.DataFrame) -> go.Figure:
    """Horizontal bars with intervals; what they measure is text of the page, which can wrap."""
    figure = go.Figure(
        go.Bar(
            x=table["value"],
            y=list(range(len(table))),
            orientation="h",
            width=0.6,
            marker={"color": PALETTE[0]},
            error_x={
                "type": "data",
                "array": table["high"] - table["value"],
                "arrayminus": table["value"] - table["low"],
                "color": "#333333",
                "thickness": 1.5,
                "width": 4,
            },
            text=[
                f"{figure_label(r.name, 60)}: {r.value:.3f} ({r.low:.3f} to {r.high:.3f})"
                for r in table.itertuples()
            ],
            textposition="none",
            hovertemplate="%{text}<extra></extra>",
        )
    )
    styled_figure(figure, height=70 + 36 * len(table))
    figure.update_yaxes(
        tickvals=list(range(len(table))),
        ticktext=[figure_label(name) for name in table["name"]],
        range=[len(table) - 0.45, -0.55],
        showgrid=False,
        zeroline=False,
    )
    return figure
