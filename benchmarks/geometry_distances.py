"""Distances, noise and RDM movies against rsatoolbox: same numbers, same machine, one run.

Run by itself: ``python benchmarks/geometry_distances.py``. Rounds of both alternate, so that both
see the same machine; the table has the best round of each, their ratio (in brackets that of the
medians) and the largest difference between the results. On a machine that others use, threads wait
for each other: set ``OMP_NUM_THREADS=1`` there, which holds for both.
"""

from __future__ import annotations

import json
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from bregma import Recording, geometry


@dataclass(frozen=True)
class Row:
    """One task: best rounds in seconds, their ratio, its goal, and how far the numbers differ."""

    task: str
    goal: float
    peer_s: float
    ours_s: float
    ratio: float
    ratio_of_medians: float
    largest_difference: float


def measured(
    task: str, goal: float, peer: Callable[[], Any], ours: Callable[[], Any], rounds: int
) -> Row:
    """Results and times of both over alternating rounds; the first call of each warms up."""
    difference = float(np.abs(peer() - ours()).max())
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for function, seconds in zip((peer, ours), times, strict=True):
            start = time.perf_counter()
            function()
            seconds.append(time.perf_counter() - start)
    (peer_s, ours_s), (peer_m, ours_m) = map(min, times), map(statistics.median, times)
    return Row(task, goal, peer_s, ours_s, peer_s / ours_s, peer_m / ours_m, difference)


def crossnobis(rounds: int, conditions: int = 200, runs: int = 10, channels: int = 2000) -> Row:
    import rsatoolbox

    rng = np.random.default_rng(0)
    stimulus, run = np.repeat(np.arange(conditions), runs), np.tile(np.arange(runs), conditions)
    values = rng.standard_normal((conditions * runs, channels))
    columns = {"stimulus": stimulus, "repeat": run}
    data = rsatoolbox.data.Dataset(values.copy(), obs_descriptors=columns)
    recording = Recording.from_array(values, presentation=columns)

    def peer() -> Any:
        rdms = rsatoolbox.rdm.calc_rdm(
            data, "crossnobis", descriptor="stimulus", cv_descriptor="repeat"
        )
        return rdms.dissimilarities

    def ours() -> Any:
        return geometry.rdm(recording, geometry.CrossnobisDistance()).values

    task = f"crossnobis, {conditions} conditions x {runs} runs x {channels:,} channels"
    return measured(task, 15, peer, ours, rounds)


def precision(rounds: int, channels: int = 2000, residuals: int = 2000) -> Row:
    from rsatoolbox.data.noise import prec_from_residuals

    values = np.random.default_rng(1).standard_normal((residuals, channels))

    def peer() -> Any:
        return prec_from_residuals(values.copy(), method="shrinkage_diag")

    def ours() -> Any:
        covariance = geometry.residual_covariance(values, method="shrinkage_diagonal")
        return geometry.precision_matrix(covariance)

    task = f"shrinkage precision, {channels:,} channels, {residuals:,} residuals"
    return measured(task, 25, peer, ours, min(rounds, 2))  # the peer takes 20 s


def movie(method: str, rounds: int) -> Row:
    import rsatoolbox

    conditions, channels, times = 92, 100, 300
    rng = np.random.default_rng(2)
    values, seconds = rng.standard_normal((conditions, times, channels)), np.arange(times) / 100
    data = rsatoolbox.data.TemporalDataset(
        np.ascontiguousarray(values.transpose(0, 2, 1)),
        obs_descriptors={"stimulus": np.arange(conditions)},
        time_descriptors={"time": seconds},
    )
    recording = Recording.from_array(values, time=seconds)
    distance = {"euclidean": geometry.EuclideanDistance(),
                "correlation": geometry.CorrelationDistance()}[method]  # fmt: skip

    def peer() -> Any:
        return rsatoolbox.rdm.calc_rdm_movie(data, method, descriptor="stimulus").dissimilarities

    def ours() -> Any:
        return geometry.rdm_movie(recording, distance).values

    task = f"RDM movie, {method}, {conditions} x {channels} channels x {times} times"
    return measured(task, 10, peer, ours, rounds)


def rows(rounds: int = 5) -> Iterator[Row]:
    """All tasks, one after the other."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the peer
        yield crossnobis(rounds)
        yield precision(rounds)
        yield movie("euclidean", rounds)
        yield movie("correlation", rounds)


def main(
    rounds: Annotated[int, typer.Option(help="Rounds of each task after the first call.")] = 5,
    out: Annotated[Path | None, typer.Option(help="Where to write the figures as JSON.")] = None,
) -> None:
    """Print the table, and exit with 1 where a goal is missed or numbers differ."""
    table = Table(title="bregma against rsatoolbox (float64, best rounds)")
    for column in ("task", "rsatoolbox", "bregma", "ratio", "goal", "largest difference"):
        table.add_column(column, justify="left" if column == "task" else "right")
    found = []
    for row in rows(rounds):
        found.append(row)
        table.add_row(
            row.task, f"{row.peer_s * 1e3:,.0f} ms", f"{row.ours_s * 1e3:,.1f} ms",
            f"{row.ratio:.0f} x ({row.ratio_of_medians:.0f} x)", f">= {row.goal:.0f} x",
            f"{row.largest_difference:.0e}",
        )  # fmt: skip
    Console().print(table)
    if out is not None:
        out.write_text(json.dumps([asdict(row) for row in found], indent=2))
    good = all(row.ratio >= row.goal and row.largest_difference < 1e-8 for row in found)
    raise typer.Exit(0 if good else 1)


if __name__ == "__main__":
    typer.run(main)
