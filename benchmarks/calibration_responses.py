"""How well inference for responses and decoding is calibrated: simulated studies, as a table.

    python benchmarks/calibration_responses.py cover --comparison cka --stimuli 60 --studies 1000
    python benchmarks/calibration_responses.py null --comparison ridge --stimuli 20 --studies 500
    python benchmarks/calibration_responses.py decoding --method lda --studies 500

The figures of docs/geometry_distances.md come from here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table
from scipy import stats

from bregma import Recording, geometry

COMPARISONS: dict[str, Any] = {
    "cka": geometry.CKA(),
    "cka-rbf": geometry.CKA("rbf"),
    "procrustes": geometry.Procrustes(),
    "procrustes-angular": geometry.Procrustes(angular=True),
    "ridge": geometry.RidgePredictivity(alphas=(1e-2, 1e-1, 1.0, 10.0)),
    "ridge-r2": geometry.RidgePredictivity(alphas=(1e-2, 1e-1, 1.0, 10.0), score="r2"),
    "svcca-4": geometry.SVCCA(components=4),
    "svcca-90": geometry.SVCCA(variance=0.9),
}
READ_OUT = np.random.default_rng(99)
A, B, C = (READ_OUT.standard_normal(shape) for shape in ((8, 12), (4, 10), (8, 15)))
app = typer.Typer(add_completion=False, help=__doc__)


def study(seed: int, stimuli: int, subjects: int, related: bool) -> tuple[list, list]:
    """Subjects read out eight features with noise; model 1 sees four of them, model 2 all.

    Several subjects differ at random from study to study; a single one is the same in all, because
    its inference is over stimuli only.
    """
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((stimuli, 8))
    own = rng if subjects > 1 else np.random.default_rng(5)
    data = []
    for _ in range(subjects):
        weights = A + 0.7 * own.standard_normal(A.shape)
        data.append(features @ weights + rng.standard_normal((stimuli, 12)))
    seen = features if related else rng.standard_normal((stimuli, 8))
    models = [seen[:, :4] @ B + 0.3 * rng.standard_normal((stimuli, 10)), seen @ C]
    return [[Recording.from_array(values) for values in side] for side in (data, models)]


@app.command()
def cover(
    comparison: str = "cka", stimuli: int = 60, subjects: int = 1, studies: int = 1000
) -> None:
    """How often 95 % intervals hold the mean score of many studies of this size."""
    estimates, halves = [], []
    for seed in range(studies):
        data, models = study(seed, stimuli, subjects, related=True)
        found = geometry.infer_responses(
            COMPARISONS[comparison], data, models, n_permutations=1, seed=seed
        )
        v = found.covariance
        difference = np.array([1.0, -1.0, *[0.0] * (len(v) - 2)])
        scores = [*found.scores, *([found.ceiling.lower] if found.ceiling else [])]
        estimates.append([*scores, difference @ scores])
        variances = np.array([*np.diag(v), difference @ v @ difference])
        halves.append(stats.t.ppf(0.975, found.dof) * np.sqrt(variances))
    values, half = np.array(estimates), np.array(halves)
    inside = (np.abs(values - values.mean(axis=0)) <= half).mean(axis=0)
    table = Table(title=f"{COMPARISONS[comparison].name}, {stimuli} stimuli, {subjects} subjects, "
                        f"{studies} studies")  # fmt: skip
    names = ["model 1", "model 2", *(["lower ceiling"] if subjects > 1 else []), "model 1 - 2"]
    for column in ("", "mean score", "standard deviation", "mean half interval / 1.96", "cover"):
        table.add_column(column)
    for row in zip(names, values.mean(axis=0), values.std(axis=0), half.mean(axis=0) / 1.96,
                   inside, strict=True):  # fmt: skip
        table.add_row(row[0], *(f"{number:.3f}" for number in row[1:]))
    Console().print(table)


@app.command()
def null(comparison: str = "cka", stimuli: int = 20, studies: int = 500) -> None:
    """How p-values are distributed where model and data are unrelated."""
    p = []
    for seed in range(studies):
        data, models = study(seed, stimuli, 1, related=False)
        found = geometry.infer_responses(
            COMPARISONS[comparison], data, models, n_permutations=99, n_groups=2, seed=seed
        )
        p.append((1 + (found.null >= found.scores - 1e-12).sum(axis=0)) / 100)
    columns = {f"model {m + 1}": column for m, column in enumerate(np.transpose(p))}
    _report(f"{COMPARISONS[comparison].name}, {stimuli} stimuli, {studies} studies", columns, 100)


@app.command()
def decoding(
    method: str = "lda", epochs: int = 40, times: int = 12, units: int = 6, classes: int = 2,
    studies: int = 500,
) -> None:  # fmt: skip
    """How often epochs of noise (correlated over time) are told apart at one or more times."""
    false, p = [], []
    for seed in range(studies):
        rng = np.random.default_rng(10_000 + seed)
        values = rng.standard_normal((epochs, times, units))
        values += 0.7 * np.cumsum(values, 1) / np.sqrt(np.arange(1, times + 1))[:, None]
        recording = Recording.from_array(
            values, presentation={"stimulus": np.arange(epochs) % classes}, time=np.arange(times)
        )
        found = geometry.decode_over_time(
            recording, method=method, folds=4, n_permutations=99, seed=seed
        )
        false.append(found.p_value.min())
        p.append(found.p_pointwise[times // 2])
    _report(f"decoding by {method}, {epochs} epochs, {classes} classes, {units} units, {studies} "
            "studies", {"any of the times, corrected": np.array(false),
                        "one time, not corrected": np.array(p)}, 100)  # fmt: skip


def _report(title: str, columns: dict[str, Any], steps: int) -> None:
    table = Table(title=title)
    for column in ("", "P(p <= 0.05)", "Kolmogorov-Smirnov p of uniformity"):
        table.add_column(column)
    for name, p in columns.items():
        spread = np.random.default_rng(0).uniform(0, 1 / steps, len(p))  # p-values are discrete
        uniform = stats.kstest(p - spread, "uniform").pvalue
        table.add_row(name, f"{np.mean(p <= 0.05):.3f}", f"{uniform:.3f}")
    Console().print(table)


if __name__ == "__main__":
    app()
