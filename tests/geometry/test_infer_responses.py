"""Inference for response comparisons: variances, nulls, ceilings, calibration, messages."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from bregma.errors import InvalidArgument, NotIdentifiable
from bregma.evidence import assemble
from bregma.geometry import CKA, SVCCA, Procrustes, RidgePredictivity, infer_responses
from bregma.geometry._infer_responses import _groups, two_factor_covariance
from bregma.recording import Recording

COMPARISONS = [CKA(), CKA("rbf"), Procrustes(), SVCCA(components=3), RidgePredictivity(folds=3)]
every = pytest.mark.parametrize("comparison", COMPARISONS, ids=lambda c: c.name)


def recorded(values, **options):
    ids = [f"s{i}" for i in range(len(values))]
    return Recording.from_array(values, presentation=ids, **options)


READ_OUT = np.random.default_rng(99).standard_normal((3, 6, 9))


def world(seed, n=24, subjects=1, related=True, spread=0.0):
    """Subjects that read out six features, with noise; a good and a partial model."""
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((n, 6))
    data = [
        recorded(
            features @ (READ_OUT[0] + spread * rng.standard_normal((6, 9)))
            + rng.standard_normal((n, 9))
        )
        for _ in range(subjects)
    ]
    seen = features if related else rng.standard_normal((n, 6))
    models = [recorded(seen @ READ_OUT[1]), recorded(seen[:, :2] @ READ_OUT[2, :2])]
    return data, models


@every
@pytest.mark.parametrize("subjects", [1, 3])
def test_scores_are_those_of_the_comparison(comparison, subjects):
    data, models = world(0, subjects=subjects)
    found = infer_responses(comparison, data, models, n_permutations=19, seed=0)
    expected = [[comparison.compare(m.values, d.values) for m in models] for d in data]
    np.testing.assert_allclose(found.per_subject, expected, atol=1e-8)
    np.testing.assert_allclose(found.scores, np.mean(expected, axis=0), atol=1e-8)
    assert found.null.shape == (19, 2)
    assert found.n == {"stimuli": 24, "subjects": subjects, "deletions": 24}
    evidence = assemble(found, brain="IT", models=["good", "partial"], method=comparison.name,
                        settings={}, seed=0, level=0.9)  # fmt: skip
    assert evidence[0].p_value <= 0.1


def test_stimuli_are_matched_by_name_whatever_their_order():
    data, models = world(1, subjects=2)
    first = infer_responses(CKA(), data, models, n_permutations=19, seed=0)
    order = np.random.default_rng(0).permutation(24)
    shuffled = Recording(models[0].data.isel(presentation=order))
    again = infer_responses(CKA(), data, [shuffled, models[1]], n_permutations=19, seed=0)
    np.testing.assert_allclose(first.scores, again.scores, rtol=1e-10)
    np.testing.assert_allclose(first.null, again.null, rtol=1e-8, atol=1e-12)


def test_few_stimuli_enumerate_every_arrangement():
    data, models = world(2, n=6)
    found = infer_responses(CKA(), data, models, n_permutations=1000, seed=0)
    assert (found.exact, found.n_arrangements, len(found.null)) == (True, 720, 720)
    np.testing.assert_allclose(found.null[0], found.scores, rtol=1e-8)  # the unchanged order


def test_covariance_of_the_mean_of_independent_stimuli_is_known():
    """Scores that are means over stimuli: the jackknife is the variance of a mean."""
    rng = np.random.default_rng(3)
    one = rng.standard_normal((30, 1, 2)) @ np.array([[1.0, 0.5], [0, 1]])
    scores = one.mean(axis=0)
    deleted = (30 * scores - one) / 29
    covariance, dof = two_factor_covariance(scores, deleted, ("stimulus",))
    np.testing.assert_allclose(covariance, np.cov(one[:, 0].T) / 30, rtol=1e-10)
    assert dof == 29


def test_both_factors_are_counted_once():
    """Planted: subject + stimulus + own noise of each; the mean has their known variance."""
    rng = np.random.default_rng(4)
    sims, subjects, stimuli = 4000, 6, 15
    by_subject, by_stimulus, own = 0.5, 1.0, 2.0  # standard deviations
    true = by_subject**2 / subjects + by_stimulus**2 / stimuli + own**2 / (subjects * stimuli)
    found, means, dofs = [], [], []
    for _ in range(sims // 4):
        cells = (
            by_subject * rng.standard_normal((1, subjects, 1))
            + by_stimulus * rng.standard_normal((stimuli, 1, 1))
            + own * rng.standard_normal((stimuli, subjects, 1))
        )
        scores = cells.mean(axis=0)
        covariance, dof = two_factor_covariance(scores, (stimuli * scores - cells) / (stimuli - 1))
        found.append(covariance[0, 0])
        means.append(scores.mean())
        dofs.append(dof)
    assert np.var(means) == pytest.approx(true, rel=0.15)
    assert np.mean(found) == pytest.approx(true, rel=0.05)
    cover = np.abs(means) <= stats.t.ppf(0.975, dofs) * np.sqrt(found)
    assert 0.93 <= cover.mean() <= 0.975


def test_variance_over_one_factor_is_that_factor_alone():
    rng = np.random.default_rng(5)
    scores = rng.standard_normal((4, 2))
    deleted = scores + 0.1 * rng.standard_normal((10, 4, 2))
    subject, dof = two_factor_covariance(scores, deleted, ("subject",))
    np.testing.assert_allclose(subject, np.cov(scores.T) / 4)
    assert dof == 3
    both, dof = two_factor_covariance(scores, deleted)
    assert (np.linalg.eigvalsh(both - subject) > -1e-12).all()
    assert 3 <= dof <= 12
    still, dof = two_factor_covariance(np.ones((3, 1)), np.ones((5, 3, 1)))
    assert (still.item(), dof) == (0, 2)


def test_groups_are_even_and_cover_every_stimulus_once():
    for n, expected in ((6, 6), (100, 100), (101, 51), (1000, 100)):
        groups = _groups(n, None, 0)
        assert len(groups) == expected
        assert (groups.sum(axis=0) == 1).all()
        assert np.ptp(groups.sum(axis=1)) <= 1


@every
def test_ceiling_of_several_subjects_is_how_they_model_each_other(comparison):
    data, models = world(6, subjects=3)
    found = infer_responses(comparison, data, models, n_permutations=1, seed=0)
    ys = [d.values - d.values.mean(0) for d in data]
    ys = [y / np.linalg.norm(y) for y in ys]
    lower = np.mean([
        comparison.compare(np.concatenate([y for t, y in enumerate(ys) if t != s], 1), ys[s])
        for s in range(3)
    ])  # fmt: skip
    upper = np.mean([comparison.compare(np.concatenate(ys, 1), y) for y in ys])
    assert found.ceiling.lower == pytest.approx(lower, abs=1e-8)
    assert found.ceiling.upper == pytest.approx(max(upper, lower), abs=1e-8)
    assert found.ceiling.kind == "subject to rest"
    assert found.covariance.shape == (3, 3)


def test_ceiling_of_one_subject_needs_repeats():
    data, models = world(7)
    assert "without repeats" in infer_responses(CKA(), data, models, n_permutations=1,
                                                seed=0).ceiling_reason  # fmt: skip
    rng = np.random.default_rng(8)
    shown = np.tile(np.arange(24), 4)
    repeats = Recording.from_array(
        data[0].values[shown] + rng.standard_normal((96, 9)),
        presentation={"stimulus": data[0].stimuli[shown]},
    )
    halves = repeats.split_halves(3, seed=0)
    found = infer_responses(
        CKA(), [repeats.average_repeats()], models, halves=halves, n_permutations=1, seed=0
    )
    r = np.mean([CKA().compare(a.values, b.values) for a, b in halves])
    assert found.ceiling.lower == pytest.approx(r)
    assert found.ceiling.upper == pytest.approx(np.sqrt(2 * r / (1 + r)))
    assert found.covariance[-1, -1] > 0


@every
def test_p_values_are_uniform_where_nothing_is_related(comparison):
    """200 simulations: Kolmogorov-Smirnov, with discrete p-values spread over their step."""
    p = []
    for seed in range(200):
        data, models = world(1000 + seed, n=15, related=False)
        found = infer_responses(comparison, data, models[:1], n_permutations=39, n_groups=2,
                                seed=seed)  # fmt: skip
        p.append((1 + (found.null[:, 0] >= found.scores[0]).sum()) / 40)
    spread = np.random.default_rng(0).uniform(0, 1 / 40, 200)
    assert stats.kstest(np.array(p) - spread, "uniform").pvalue > 0.01
    assert np.mean(np.array(p) <= 0.05) <= 0.1


@pytest.mark.parametrize(
    ("comparison", "subjects", "spread"),
    [(CKA(), 1, 0.0), (CKA(), 4, 0.7), (Procrustes(), 1, 0.0),
     (RidgePredictivity(folds=3, alphas=(0.01, 1.0)), 1, 0.0)],
    ids=lambda value: getattr(value, "name", str(value)),
)  # fmt: skip
def test_intervals_cover(comparison, subjects, spread):
    """120 simulations: 95 % gives 90 % or more with a chance of 0.98; docs give larger runs."""
    scores, halves = [], []
    for seed in range(120):
        data, models = world(5000 + seed, n=40, subjects=subjects, spread=spread)
        found = infer_responses(comparison, data, models, n_permutations=1, seed=seed)
        v = found.covariance
        scores.append([*found.scores, found.scores[0] - found.scores[1]])
        variances = np.array([v[0, 0], v[1, 1], v[0, 0] + v[1, 1] - 2 * v[0, 1]])
        halves.append(stats.t.ppf(0.975, found.dof) * np.sqrt(variances))
    scores = np.array(scores)
    cover = (np.abs(scores - scores.mean(axis=0)) <= halves).mean(axis=0)
    assert (cover >= 0.9).all()
    assert cover.mean() <= 0.99


def test_debiased_alignment_covers_its_value_for_many_stimuli():
    truth = [infer_responses(CKA(), *world(s, n=1500), n_permutations=1, n_groups=2, seed=0).scores
             for s in range(6)]  # fmt: skip
    inside = []
    for seed in range(100):
        found = infer_responses(CKA(), *world(7000 + seed, n=40), n_permutations=1, seed=0)
        half = stats.t.ppf(0.975, found.dof) * np.sqrt(np.diag(found.covariance)[:2])
        inside.append(np.abs(found.scores - np.mean(truth, axis=0)) <= half)
    assert (np.mean(inside, axis=0) >= 0.89).all()


def test_the_seed_is_all_that_is_random():
    data, models = world(9, subjects=2)
    runs = []
    for poison, seed in ((0, 5), (1, 5), (1, 6)):
        np.random.seed(poison)  # noqa: NPY002
        runs.append(infer_responses(RidgePredictivity(folds=3), data, models, n_permutations=5,
                                    n_groups=4, seed=seed))  # fmt: skip
    np.testing.assert_array_equal(runs[0].null, runs[1].null)
    np.testing.assert_array_equal(runs[0].covariance, runs[1].covariance)
    assert not np.array_equal(runs[0].null, runs[2].null)


def test_messages_say_what_to_do():
    data, models = world(10)
    with pytest.raises(NotIdentifiable, match="not identifiable with 5 stimuli"):
        infer_responses(CKA(), *world(0, n=5), seed=0)
    with pytest.raises(NotIdentifiable, match="needs at least 15"):
        infer_responses(RidgePredictivity(), *world(0, n=14), seed=0)
    with pytest.raises(InvalidArgument, match="at least one subject"):
        infer_responses(CKA(), [], models, seed=0)
    with pytest.raises(InvalidArgument, match="over="):
        infer_responses(CKA(), data, models, over=(), seed=0)
    with pytest.raises(NotIdentifiable, match="not identifiable with 1 subject"):
        infer_responses(CKA(), data, models, over=("subject",), seed=0)
    with pytest.raises(InvalidArgument, match="2 to 24 groups"):
        infer_responses(CKA(), data, models, n_groups=1, seed=0)
    fewer = models[0].select(stimulus=models[0].stimuli[1:].tolist()).named("net")
    with pytest.raises(InvalidArgument, match=r"model 0 \(net\) saw 23 stimuli"):
        infer_responses(CKA(), data, [fewer], seed=0)
    ids = data[0].stimuli
    timed = Recording.from_array(np.ones((24, 2, 1)), presentation=ids, time=[0.0, 1.0])
    with pytest.raises(InvalidArgument, match="subject 0 has time"):
        infer_responses(CKA(), [timed], models, seed=0)
    twice = Recording.from_array(np.eye(48, 3), presentation={"stimulus": np.tile(ids, 2)})
    with pytest.raises(InvalidArgument, match="average_repeats"):
        infer_responses(CKA(), [twice], models, seed=0)
    with pytest.raises(InvalidArgument, match="subject 0 are the same to every stimulus"):
        infer_responses(CKA(), [data[0].with_values(np.ones((24, 9)))], models, seed=0)


def test_early_visual_cortex_is_more_like_pixels_than_like_words(shared_data):
    with np.load(shared_data / "fmri-objects" / "roi_responses.npz") as stored:
        names = stored["category"].astype(str)
        brain = Recording.from_array(
            stored["betas"], unit={"area": stored["voxel_roi"].astype(str)}, presentation=names
        )
        models = [
            Recording.from_array(stored[name], presentation=names, name=name)
            for name in ("alexnet_pcs", "word2vec_pcs")
        ]
    for comparison in (CKA(), RidgePredictivity()):
        found = infer_responses(
            comparison, [brain.select(area="EVC")], models, n_permutations=99, seed=0
        )
        v = found.covariance
        error = np.sqrt(v[0, 0] + v[1, 1] - 2 * v[0, 1])
        assert found.scores[0] - found.scores[1] > 2 * error
        assert (found.null[:, 0] < found.scores[0]).all()
