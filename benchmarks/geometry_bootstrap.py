"""The bootstrap of RDM comparisons against rsatoolbox: same resamples, same numbers, time.

    python benchmarks/geometry_bootstrap.py [--samples 1000] [--peer-samples 100]

The peer takes minutes for 1,000 samples; it is run on the first `--peer-samples` of ours and its
time is scaled: it works through the samples one by one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import redirect_stderr
from dataclasses import dataclass
from io import StringIO
from typing import Any
from unittest.mock import patch

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from bregma.geometry import (
    RDMComparison,
    RDMCosine,
    RDMPearson,
    RDMRhoA,
    RDMSpearman,
    RDMTauA,
    RDMWhitenedCosine,
    Resamples,
    bootstrap_rdms,
)

N_STIMULI, N_SUBJECTS, N_MODELS = 92, 8, 10
GOALS = {"cosine": 300.0, "rho-a": 200.0}
PEER = {
    "cosine": RDMCosine(),
    "corr": RDMPearson(),
    "cosine_cov": RDMWhitenedCosine(),
    "rho-a": RDMRhoA(),
    "spearman": RDMSpearman(),
    "tau-a": RDMTauA(),
}
SLOW = {"tau-a": 10, "cosine_cov": 50}  # the peer computes so many times fewer samples


@dataclass(frozen=True)
class Row:
    """One line of the table: seconds of the peer and of bregma, and how far numbers differ."""

    task: str
    peer: float
    ours: float
    difference: float
    goal: float | None

    @property
    def ratio(self) -> float:
        """How many times faster."""
        return self.peer / self.ours


def problem() -> tuple[np.ndarray, np.ndarray]:
    """RDMs of 8 noisy subjects and 10 models over 92 stimuli."""
    rng = np.random.default_rng(0)
    i, j = np.triu_indices(N_STIMULI, 1)
    x = rng.normal(size=(N_STIMULI, 20))
    seen = x + rng.normal(size=(N_SUBJECTS, *x.shape))
    data = ((seen[:, i] - seen[:, j]) ** 2).sum(-1)
    models = np.stack([((x[i] - x[j])[:, : k + 1] ** 2).sum(-1) for k in range(N_MODELS)])
    return data, models


def best_of(run: Callable[[], Any], n: int = 3) -> tuple[float, Any]:
    """Least seconds of a few runs, and the result."""
    times, result = [], None
    for _ in range(n):
        start = time.perf_counter()
        result = run()
        times.append(time.perf_counter() - start)
    return min(times), result


def run_peer(
    method: str, data: np.ndarray, models: np.ndarray, resamples: Resamples
) -> tuple[float, np.ndarray, np.ndarray]:
    """Seconds, scores (way, sample, model) and ceilings (bound, way, sample) of rsatoolbox."""
    import rsatoolbox
    from rsatoolbox.inference import evaluate

    samples = iter(zip(resamples.stimulus, resamples.subject, strict=True))

    def given(rdms: Any, rdm_descriptor: str, pattern_descriptor: str) -> tuple[Any, Any, Any]:
        stimulus, subject = next(samples)
        rdm_idx = np.repeat(np.arange(len(subject)), subject)
        pattern_idx = np.repeat(np.arange(len(stimulus)), stimulus)
        some = rdms.subsample(rdm_descriptor, rdm_idx)
        return some.subsample_pattern(pattern_descriptor, pattern_idx), rdm_idx, pattern_idx

    fixed = [rsatoolbox.model.ModelFixed(str(k), m) for k, m in enumerate(models)]
    rdms = rsatoolbox.rdm.RDMs(data)
    with patch.object(evaluate, "bootstrap_sample", given), redirect_stderr(StringIO()):
        start = time.perf_counter()
        result = rsatoolbox.inference.eval_dual_bootstrap(
            fixed, rdms, method=method, N=len(resamples.stimulus)
        )
        seconds = time.perf_counter() - start
    scores = result.evaluations[:, :, 0, 0, :].transpose(2, 0, 1)
    return seconds, scores, result.noise_ceiling[:, :, 0, :].transpose(0, 2, 1)


def distinct_ceilings(
    comparison: RDMComparison, data: np.ndarray, models: np.ndarray, resamples: Resamples
) -> np.ndarray:
    """Our ceilings averaged as the peer does it: each distinct subject of a resample once."""
    counts, everyone = resamples.subject, np.ones_like(resamples.subject)
    ways = (
        (resamples.stimulus, counts),
        (np.ones_like(resamples.stimulus), counts),
        (resamples.stimulus, everyone),
    )
    out = []
    for stimulus, count in ways:
        got = comparison.resample(
            data[None], models, subject=np.arange(len(data)), stimulus=stimulus,
            multiplicity=count[:, None],
        )  # fmt: skip
        share = (count > 0) / (count > 0).sum(1, keepdims=True)
        out.append([(share * bound[0, :, 0]).sum(1) for bound in (got.lower, got.upper)])
    return np.array(out).transpose(1, 0, 2)


def measure(n_samples: int = 1000, n_peer: int = 100) -> list[Row]:
    """All rows.

    Parameters
    ----------
    n_samples : int
        Bootstrap samples.
    n_peer : int
        How many of them the peer computes; its time is scaled.

    Returns
    -------
    list of Row
        One for each comparison, then one for many places at once.
    """
    data, models = problem()
    resamples = Resamples.draw(n_samples, n_stimuli=N_STIMULI, n_subjects=N_SUBJECTS, seed=0)
    out = []
    for method, comparison in PEER.items():
        few = max(1, n_peer // SLOW.get(method, 1))
        some = Resamples(resamples.stimulus[:few], resamples.subject[:few])
        peer_seconds, scores, ceilings = run_peer(method, data, models, some)
        bootstrap_rdms(comparison, data, models, some)  # compiles
        ours_seconds, ours = best_of(
            lambda c=comparison: bootstrap_rdms(c, data, models, resamples)
        )  # fmt: skip
        difference = np.abs(ours.scores[:, :few] - scores).max()
        if "cov" not in method:  # the peer pools whitened RDMs by their plain norms
            ours_ceilings = distinct_ceilings(comparison, data, models, some)
            difference = max(difference, np.abs(ours_ceilings - ceilings).max())
        task = f"two-factor bootstrap, {n_samples} samples, {comparison.name}"
        out.append(Row(task, peer_seconds * n_samples / few, ours_seconds, float(difference),
                       GOALS.get(method)))  # fmt: skip
        if method == "cosine":
            cosine = out[0]
    places = np.random.default_rng(1).random((50, *data.shape)) + data
    seconds, _ = best_of(lambda: bootstrap_rdms(RDMCosine(), places, models, resamples), 1)
    out.append(Row("the same at each of 50 places, cosine (per place)", cosine.peer, seconds / 50,
                   cosine.difference, None))  # fmt: skip
    return out


def main(samples: int = 1000, peer_samples: int = 100) -> None:
    """Print the table."""
    table = Table("task", "rsatoolbox s", "bregma s", "ratio", "goal", "largest difference",
                  title=f"{N_STIMULI} stimuli, {N_SUBJECTS} RDMs, {N_MODELS} models, with "
                  "ceilings")  # fmt: skip
    rows = measure(samples, peer_samples)
    for row in rows:
        goal = "" if row.goal is None else f">= {row.goal:.0f} x"
        table.add_row(row.task, f"{row.peer:.1f}", f"{row.ours:.3f}", f"{row.ratio:.0f} x", goal,
                      f"{row.difference:.0e}")  # fmt: skip
    Console(width=120).print(table)
    missed = [row.task for row in rows if row.ratio < (row.goal or 0) or row.difference > 1e-10]
    if missed:
        raise SystemExit(f"missed: {', '.join(missed)}")


if __name__ == "__main__":
    typer.run(main)
