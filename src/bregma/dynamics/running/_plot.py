"""A figure of a run: spikes, rates and traces over one axis of time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from bregma.dynamics.running._simulate import Simulation

MOST_SPIKES = 20_000  # points of a population that a browser still draws at once
BINS = 200  # of the rates


def plot_simulation(run: Simulation, *, units: int, traces: int) -> go.Figure:
    """Rows of spikes for each population, its rate, and a few units of each trace."""
    from plotly.subplots import make_subplots

    from bregma._style import GRID, PALETTE, figure_label, styled_figure

    names = list(run.spikes)
    shown = list(run.traces)
    heights = ([3.0, 1.2] if names else []) + [1.2] * len(shown)
    figure = make_subplots(
        rows=len(heights), cols=1, shared_xaxes=True, vertical_spacing=0.035, row_heights=heights
    )
    styled_figure(figure, height=int(90 + 75 * sum(heights)))
    first_row, ticks = 0, []
    for i, name in enumerate(names):
        trains, colour = run.spikes[name], PALETTE[i % len(PALETTE)]
        chosen = np.unique(
            np.linspace(0, trains.n_units - 1, min(units, trains.n_units)).astype(int)
        )
        place = np.full(trains.n_units, -1)
        place[chosen] = first_row + np.arange(len(chosen))
        inside = place[trains.unit_index] >= 0
        times, rows = trains.times[inside], place[trains.unit_index[inside]]
        some = slice(None, None, -(-len(times) // MOST_SPIKES) or 1)
        label = figure_label(name, 16)
        figure.add_scattergl(
            x=times[some], y=rows[some], mode="markers", name=label, legendgroup=name,
            marker={"symbol": "line-ns-open", "size": 4, "color": colour}, row=1, col=1,
            hovertemplate=f"{label}: %{{x:.4f}} s<extra></extra>",
        )  # fmt: skip
        ticks.append((first_row + len(chosen) / 2, label))
        first_row += len(chosen)
        begin, end = trains.support[0, 0], trains.support[-1, 1]
        counts, edges = np.histogram(trains.times, bins=BINS, range=(begin, end))
        figure.add_scatter(
            x=(edges[:-1] + edges[1:]) / 2, y=counts / trains.n_units / np.diff(edges),
            mode="lines", line={"color": colour, "width": 1.5, "shape": "hvh"}, name=label,
            legendgroup=name, showlegend=False, row=2, col=1,
            hovertemplate=f"{label}: %{{y:.1f}} spikes/s<extra></extra>",
        )  # fmt: skip
    if names:
        figure.update_yaxes(
            row=1, col=1, tickvals=[at for at, _ in ticks], ticktext=[text for _, text in ticks],
            showgrid=False, zeroline=False, range=[-1, first_row],
        )  # fmt: skip
        figure.update_yaxes(row=2, col=1, title_text="spikes/s", rangemode="tozero")
    for k, name in enumerate(shown):
        _trace(figure, run.traces[name], len(heights) - len(shown) + k + 1, names, traces)
    axis: dict[str, Any] = {"gridcolor": GRID, "zerolinecolor": GRID, "automargin": True}
    figure.update_yaxes(**axis, title_standoff=4)
    figure.update_xaxes(**axis, zeroline=False)
    figure.update_xaxes(row=len(heights), col=1, title_text="time (s)")
    return figure


def _trace(figure: go.Figure, recording: Any, row: int, populations: list[str], n: int) -> None:
    from bregma._style import PALETTE, figure_label

    name = str(recording.name)
    owner = name.partition(".")[0]
    colour = PALETTE[populations.index(owner) % len(PALETTE)] if owner in populations else "#7F7F7F"
    chosen = _some(recording.n_units, n)
    some = slice(None, None, -(-len(recording.times) // MOST_SPIKES) or 1)
    values = np.asarray(recording.data[0, some].isel(unit=chosen).values)
    for column in range(len(chosen)):
        figure.add_scatter(
            x=recording.times[some], y=values[:, column], mode="lines", name=figure_label(name, 20),
            line={"color": colour, "width": 1}, opacity=1 - 0.6 * column / len(chosen),
            showlegend=False, row=row, col=1,
        )  # fmt: skip
    figure.update_yaxes(row=row, col=1, title_text=figure_label(name, 12))


def _some(n: int, most: int) -> np.ndarray:
    """Numbers of some units, evenly spaced."""
    return np.unique(np.linspace(0, n - 1, min(n, most)).astype(int))
