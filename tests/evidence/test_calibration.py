"""What is assembled is calibrated: intervals cover, p is uniform under planted nulls."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from bregma.evidence import Ceiling, EvidenceSet, Inferred, assemble

TRUE = np.array([0.3, 0.3, 0.55])  # two models that are equal, and the lower ceiling
N_SUBJECTS = 8


def study(seed: int) -> EvidenceSet:
    """Scores of two models and a ceiling in eight subjects, with a shared subject effect."""
    rng = np.random.default_rng(seed)
    shared = 0.1 * rng.normal(size=(N_SUBJECTS, 1))
    scores = TRUE + shared + [0.1, 0.1, 0.08] * rng.normal(size=(N_SUBJECTS, 3))
    covariance = np.cov(scores.T) / N_SUBJECTS
    mean = scores.mean(0)
    inferred = Inferred(
        scores=mean[:2],
        per_subject=scores[:, :2],
        covariance=covariance,
        dof=N_SUBJECTS - 1,
        null=rng.normal(size=(19, 2)),
        exchanged="a stand-in",
        n_arrangements=1e9,
        ceiling=Ceiling(float(mean[2]), float(mean[2]), "reliability", "the mean over subjects"),
    )
    return assemble(inferred, brain="b", models=["a", "b"], method="mean", settings={}, seed=seed)


@pytest.fixture(scope="module")
def studies() -> list[EvidenceSet]:
    return [study(seed) for seed in range(1000)]


def covers(hits: list[bool]) -> None:
    assert 0.93 <= np.mean(hits) <= 0.97


def test_score_intervals_cover(studies):
    covers([TRUE[0] in s[0].interval for s in studies])


def test_ceiling_intervals_cover(studies):
    covers([TRUE[2] in s[0].ceiling.interval for s in studies])


def test_shares_of_the_ceiling_cover(studies):
    shares = [s[0].normalised_interval for s in studies]
    assert all(share is not None for share in shares)
    covers([TRUE[0] / TRUE[2] in share for share in shares])


def test_differences_between_models_cover(studies):
    rows = [s.pairwise.iloc[0] for s in studies]
    covers([row["low"] <= 0 <= row["high"] for row in rows])


def test_p_between_equal_models_is_uniform(studies):
    p = [s.pairwise["p"][0] for s in studies]
    assert stats.kstest(p, "uniform").pvalue > 1e-3


def test_differences_to_the_ceiling_cover(studies):
    rows = [s.against_ceiling.iloc[0] for s in studies]
    covers([row["low"] <= TRUE[0] - TRUE[2] <= row["high"] for row in rows])
