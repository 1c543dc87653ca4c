"""How well the inference of RDMs covers: simulated studies with known truth, as a table.

    python benchmarks/calibration_rdms.py --stimuli 24 --subjects 8 --studies 1000

The tables of docs/inference.md come from here.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from bregma import geometry

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "geometry"))
from rdm_population import N_MODELS, Population, fixed, intervals, truth

POPULATIONS = {
    "mild": Population(),
    "noisy": Population(noise=2.0),
    "categories": Population(n_features=12, noise=1.5, categories=True),
    "few features": Population(n_features=5, spread=0.6),
}
COMPARISONS = {c.name: c for c in (
    geometry.RDMPearson(), geometry.RDMCosine(), geometry.RDMSpearman(), geometry.RDMRhoA(),
    geometry.RDMTauA(), geometry.RDMWhitenedCosine(), geometry.RDMWhitenedCorrelation(),
)}  # fmt: skip


def rows(n_joint: int, ceiling: bool) -> dict[str, list[tuple[int, int | None]]]:
    """Tests by what they ask: an estimate, or the difference of two."""
    models = range(n_joint - int(ceiling))
    out: dict[str, list[tuple[int, int | None]]] = {
        "score": [(k, None) for k in models],
        "model - model": [(0, k) for k in models if k],
    }
    if ceiling:
        last = n_joint - 1
        out["ceiling"] = [(last, None)]
        # of the true model apart: there the noise of subjects and stimuli cancels
        out["model - ceiling"] = [(k, last) for k in models if k != 1]
        out["true model - ceiling"] = [(1, last)]
    return out


def main(
    population: str = "mild",
    comparison: str = "Pearson",
    stimuli: int = 24,
    subjects: int = 8,
    studies: int = 500,
    over: Annotated[str, typer.Option(help="subject, stimulus or both")] = "both",
    null: Annotated[bool, typer.Option(help="also the p-values where nothing corresponds")] = False,
    same_size: Annotated[
        bool, typer.Option(help="truth: the mean of studies of this size")
    ] = False,
) -> None:
    """Print the coverage of every 95 % interval and the rate of p <= 0.05 under the null."""
    people, measure = POPULATIONS[population], COMPARISONS[comparison]
    factors = ("subject", "stimulus") if over == "both" else (over,)
    held = dict(zip(("stimuli", "subjects"), fixed(people, over, stimuli, subjects), strict=True))
    start = time.perf_counter()
    found = [
        geometry.infer_rdms(measure, *people.draw_rdms(seed, stimuli, subjects, **held),
                            over=factors, n_permutations=19, n_bootstrap=300, seed=seed)
        for seed in range(studies)
    ]  # fmt: skip
    ends = [intervals(f) for f in found]
    seconds = time.perf_counter() - start
    if same_size:
        true = np.mean([np.append(f.scores, f.ceiling.lower if f.ceiling else 0) for f in found], 0)
    else:
        true = truth(people, measure, subjects, over=over, n_stimuli=stimuli)
    table = Table(
        "test", "covered", "too low", "too high", "dof",
        title=f"{population}, {comparison}: {stimuli} stimuli, {subjects} subjects, over {over}, "
        f"{studies} studies, {seconds:.0f} s; truth {true.round(2)}",
    )  # fmt: skip
    for name, tests in rows(len(found[0].covariance), len(found[0].covariance) > N_MODELS).items():
        target = np.array([true[i] - (0 if j is None else true[j]) for i, j in tests])[:, None]
        end = np.array([[study[test] for study in ends] for test in tests])
        low, high = end[..., 1] < target, end[..., 0] > target
        dof = np.median([[f.dof_of(*test) for f in found] for test in tests])
        each = " ".join(f"{c:.3f}" for c in 1 - (low | high).mean(1))
        table.add_row(name, each, f"{low.mean():.3f}", f"{high.mean():.3f}", f"{dof:.1f}")
    Console(width=110).print(table)
    if null:
        nothing = [
            geometry.infer_rdms(
                measure, *people.draw_rdms(seed, stimuli, subjects, related=False),
                over=factors, n_permutations=199, n_bootstrap=20, seed=seed,
            )
            for seed in range(studies)
        ]  # fmt: skip
        p = np.array([(1 + (f.null >= f.scores).sum(0)) / 200 for f in nothing])
        print(f"null: p <= 0.05 for the models {(p <= 0.05).mean(0)}, mean p {p.mean():.3f}")
        if nothing[0].ceiling:
            c = np.array([f.ceiling.p_value for f in nothing if f.ceiling])
            print(f"null: p <= 0.05 for the ceiling {(c <= 0.05).mean():.3f}, mean {c.mean():.3f}")


if __name__ == "__main__":
    typer.run(main)
