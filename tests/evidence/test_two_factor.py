"""The jackknife of a crossed design against closed forms and simulation."""

from __future__ import annotations

import numpy as np
import pytest

from bregma.errors import InvalidArgument, NotIdentifiable
from bregma.evidence import Ceiling, Inferred, assemble, jackknife_variance


def left_out(x):
    """Grand means of x (stimulus, subject, joint) without each stimulus, subject and both."""
    n, r = x.shape[:2]
    total = x.sum((0, 1))
    stimulus = (total - x.sum(1)) / ((n - 1) * r)
    subject = (total - x.sum(0)) / (n * (r - 1))
    both = (total - x.sum(1)[:, None] - x.sum(0) + x) / ((n - 1) * (r - 1))
    return {"without_stimulus": stimulus, "without_subject": subject, "without_both": both}


def test_a_crossed_mean_has_the_variance_of_the_anova():
    """For the grand mean of a two-way table without replication it is known in closed form."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(9, 1, 2)) + rng.normal(size=(1, 5, 2)) + rng.normal(size=(9, 5, 2))
    found = jackknife_variance(**left_out(x))
    rows = x.mean(1).var(0, ddof=1) / 9
    columns = x.mean(0).var(0, ddof=1) / 5
    rest = x - x.mean(0) - x.mean(1)[:, None] + x.mean((0, 1))
    within = (rest**2).sum((0, 1)) / (8 * 4) / 45
    np.testing.assert_allclose(np.diag(found.covariance), rows + columns - within)


def test_over_two_factors_it_is_unbiased():
    rng = np.random.default_rng(1)
    got = []
    for _ in range(400):
        x = (
            rng.normal(size=(12, 1, 1))
            + rng.normal(size=(1, 6, 1))
            + 2 * rng.normal(size=(12, 6, 1))
        )
        got.append(jackknife_variance(**left_out(x)).covariance[0, 0])
    truth = 1 / 12 + 1 / 6 + 4 / 72
    assert np.mean(got) == pytest.approx(truth, rel=0.1)


def test_covariance_gives_the_variance_of_each_difference():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(10, 6, 3)) + rng.normal(size=(10, 1, 1))
    found = jackknife_variance(**left_out(x))
    for i, j in ((0, 1), (0, 2), (1, 2)):
        alone = jackknife_variance(**left_out((x[..., i] - x[..., j])[..., None]))
        v = found.covariance
        assert v[i, i] + v[j, j] - 2 * v[i, j] == pytest.approx(alone.covariance[0, 0])
        assert found.dof[i, j] == pytest.approx(alone.dof[0, 0])
    assert np.array_equal(found.covariance, found.covariance.T)


def test_degrees_of_freedom_follow_the_factor_that_varies():
    rng = np.random.default_rng(3)
    noise = 1e-3 * rng.normal(size=(40, 5, 1))
    subjects = jackknife_variance(**left_out(rng.normal(size=(1, 5, 1)) + noise))
    stimuli = jackknife_variance(**left_out(rng.uniform(-1, 1, size=(40, 1, 1)) + noise))
    assert subjects.dof[0, 0] == pytest.approx(4, abs=0.1)
    assert stimuli.dof[0, 0] == pytest.approx(39, abs=0.1)
    heavy = np.zeros((40, 1, 1))
    heavy[0] = 1.0  # one stimulus carries all
    assert jackknife_variance(**left_out(heavy + noise)).dof[0, 0] < 4


def test_variance_between_pairs_of_subjects_is_not_counted_twice():
    """A mean over pairs of subjects of independent numbers: the jackknife is twice too large."""
    rng = np.random.default_rng(4)
    r = 12
    i, j = np.triu_indices(r, 1)
    jackknife, corrected = [], []
    for _ in range(200):
        k = rng.normal(size=len(i))
        weights = rng.multinomial(r, np.full(r, 1 / r), size=300)
        resampled = (weights[:, i] * weights[:, j]) @ k / (weights[:, i] * weights[:, j]).sum(1)
        without = np.array([k[(i != s) & (j != s)].mean() for s in range(r)])[:, None]
        jackknife.append(jackknife_variance(without_subject=without).covariance[0, 0])
        corrected.append(
            jackknife_variance(
                without_subject=without, subject_resamples=resampled[:, None]
            ).covariance[0, 0]
        )
    truth = 1 / len(i)
    assert np.mean(jackknife) > 1.8 * truth
    assert truth < np.mean(corrected) < 0.9 * np.mean(jackknife)


def test_no_variance_at_all_is_no_error():
    found = jackknife_variance(**left_out(np.ones((6, 3, 2))))
    assert np.allclose(found.covariance, 0)
    assert np.isfinite(found.dof).all()


def test_what_cannot_be_told_is_refused():
    one = np.ones((1, 2))
    with pytest.raises(InvalidArgument, match="leave out"):
        jackknife_variance()
    with pytest.raises(NotIdentifiable, match="one subject"):
        jackknife_variance(without_subject=one)
    with pytest.raises(NotIdentifiable, match="one stimulus"):
        jackknife_variance(without_stimulus=one)
    with pytest.raises(InvalidArgument, match="without_both"):
        jackknife_variance(without_stimulus=np.ones((3, 2)), without_subject=np.ones((3, 2)))


def test_each_test_uses_its_own_degrees_of_freedom():
    rng = np.random.default_rng(5)
    raw = {
        "scores": np.array([0.3, 0.5]),
        "per_subject": np.zeros((0, 2)),
        "covariance": np.eye(3) * 0.01,
        "null": rng.normal(size=(19, 2)),
        "exchanged": "a stand-in",
        "n_arrangements": 1e9,
        "ceiling": Ceiling(0.6, 0.7, "reliability", "a stand-in"),
    }
    dof = np.array([[4.0, 6.0, 8.0], [6.0, 5.0, 9.0], [8.0, 9.0, 7.0]])
    found = assemble(Inferred(**raw, dof=dof), brain="b", models=["x", "y"], method="m",
                     settings={}, seed=0)  # fmt: skip
    assert "4 degrees" in found["x"].interval.kind
    assert "7 degrees" in found["x"].ceiling.interval.kind
    assert found.pairwise["dof"].tolist() == [6.0]
    assert sorted(found.against_ceiling["dof"]) == [8.0, 9.0]
    with pytest.raises(InvalidArgument, match=r"shape \(2, 2\)"):
        Inferred(**raw, dof=np.ones((2, 2)))
    with pytest.raises(NotIdentifiable, match="0.5 degrees of freedom"):
        Inferred(**raw, dof=np.full((3, 3), 0.5))
