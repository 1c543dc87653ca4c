"""Ridge predictivity against scikit-learn's ridge, and against leakage."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from bregma.errors import InvalidArgument, NotIdentifiable
from bregma.geometry import RidgePredictivity


def sides(seed=0, n=30, wide=False):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, 50 if wide else 6)) + 3
    return x, x[:, :4] @ rng.standard_normal((4, 5)) + rng.standard_normal((n, 5)) + 2


def folds_of(comparison, n):
    fold = np.empty(n, int)
    shuffled = np.random.default_rng(comparison.seed).permutation(n)
    fold[shuffled] = np.arange(n) % comparison.folds
    return fold


def slow(comparison, x, y):
    """scikit-learn's ridge, generalised cross-validation from the explicit hat matrix."""
    fold = folds_of(comparison, len(x))
    predicted, base = np.empty_like(y), np.empty_like(y)
    for f in range(comparison.folds):
        train, test = fold != f, fold == f
        centred = x[train] - x[train].mean(0)
        n = train.sum()
        best = np.full(y.shape[1], np.inf)
        for alpha in np.array(comparison.alphas) * np.sum(centred**2) / n:
            gram = centred @ centred.T
            hat = gram @ np.linalg.inv(gram + alpha * np.eye(n)) + 1 / n
            error = np.sum((y[train] - hat @ y[train]) ** 2, 0) / (n - np.trace(hat)) ** 2
            fitted = Ridge(alpha=alpha, solver="cholesky").fit(x[train], y[train])
            better = error < best
            best[better] = error[better]
            predicted[np.ix_(test, better)] = fitted.predict(x[test])[:, better]
        base[test] = y[train].mean(0)
    if comparison.score == "r2":
        scores = 1 - np.sum((y - predicted) ** 2, 0) / np.sum((y - base) ** 2, 0)
    else:
        for f in range(comparison.folds):
            for part in (predicted, base):
                part[fold == f] -= part[fold == f].mean(0)
            base[fold == f] = y[fold == f] - y[fold == f].mean(0)
        scores = np.array([
            p @ r / np.sqrt((p @ p) * (r @ r)) for p, r in zip(predicted.T, base.T, strict=True)
        ])  # fmt: skip
    return scores


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("score", ["pearson", "r2"])
def test_equals_scikit_learn(wide, score):
    x, y = sides(wide=wide)
    comparison = RidgePredictivity(folds=4, seed=7, score=score)
    expected = slow(comparison, x, y)
    np.testing.assert_allclose(comparison.unit_scores(x, y), expected, rtol=1e-8)
    assert comparison.compare(x, y) == pytest.approx(expected.mean(), rel=1e-8)
    median = RidgePredictivity(folds=4, seed=7, score=score, over="median")
    assert median.compare(x, y) == pytest.approx(np.median(expected), rel=1e-8)


def test_no_stimulus_is_in_both_parts_and_every_one_is_tested_once():
    comparison = RidgePredictivity(folds=4, seed=1)
    x, _ = sides()
    tested = []
    for part in comparison._parts(x, np.ones(30, dtype=bool)):
        assert not set(part.train) & set(part.test)
        assert len(part.train) + len(part.test) == 30
        tested += part.test.tolist()
    assert sorted(tested) == list(range(30))


def test_the_response_to_a_stimulus_has_no_part_in_its_prediction():
    """Moving the responses of a fold by any amount moves no penalty and no weight of that fold."""
    x, y = sides(2)
    comparison = RidgePredictivity(folds=3)
    part = comparison._parts(x, np.ones(30, dtype=bool))[0]
    moved = y.copy()
    moved[part.test] += 100 * np.random.default_rng(0).standard_normal((10, 5))
    for one, other in zip(
        comparison._penalties(part, y[part.train]),
        comparison._penalties(part, moved[part.train]),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)


def test_deletions_leave_the_other_stimuli_in_their_folds():
    x, y = sides(3)
    comparison = RidgePredictivity(folds=3)
    kept = np.ones((1, 30), dtype=bool)
    kept[0, 11] = False
    parts = comparison._parts(x, kept[0])
    fold = folds_of(comparison, 30)
    for f, part in enumerate(parts):
        assert part.test.tolist() == [i for i in range(30) if fold[i] == f and i != 11]
    all_of_one = fold != 2
    assert len(comparison._parts(x, all_of_one)) == 2
    assert np.isfinite(comparison.without(x, [y], np.array([all_of_one, kept[0]]))).all()


def test_deletions_keep_the_penalty_of_all_stimuli():
    x, y = sides(3)
    comparison = RidgePredictivity(folds=3, alphas=(1e-3, 1.0))
    kept = np.ones((1, 30), dtype=bool)
    kept[0, 11] = False
    parts = comparison._parts(x, np.ones(30, dtype=bool))
    best = np.array([comparison._penalties(part, y[part.train])[0] for part in parts])
    expected = []
    for unit in range(5):
        scores = {
            alpha: RidgePredictivity(folds=3, alphas=(alpha,))._scored(
                comparison._parts(x, kept[0]), y
            )[unit]
            for alpha in comparison.alphas
        }
        if len(set(best[:, unit])) == 1:  # the same penalty in every fold
            expected.append((unit, scores[comparison.alphas[best[0, unit]]]))
    assert expected
    chosen = {part.fold: row for part, row in zip(parts, best, strict=True)}
    found = comparison._scored(comparison._parts(x, kept[0]), y, chosen)
    for unit, score in expected:
        assert found[unit] == pytest.approx(score, rel=1e-10)


def test_silent_units_score_zero_and_noise_scores_about_zero():
    rng = np.random.default_rng(4)
    x, y = sides(4)
    y = np.concatenate([y, np.ones((30, 1))], axis=1)
    for score in ("pearson", "r2"):
        assert RidgePredictivity(score=score).unit_scores(x, y)[-1] == 0
    noise = [
        RidgePredictivity().compare(rng.standard_normal((40, 5)), rng.standard_normal((40, 5)))
        for _ in range(100)
    ]
    assert abs(np.mean(noise)) < 0.1


def test_a_model_that_varies_in_one_stimulus_only_is_no_division_by_zero():
    x = np.zeros((20, 3))
    x[4] = 1
    _, y = sides(5, n=20)
    assert np.isfinite(RidgePredictivity().unit_scores(x, y)).all()


def test_messages_say_what_to_do():
    x, y = sides(6, n=12)
    with pytest.raises(NotIdentifiable, match="needs at least 15"):
        RidgePredictivity().compare(x, y)
    with pytest.raises(InvalidArgument, match="penalties"):
        RidgePredictivity(alphas=(0.0, 1.0))
    with pytest.raises(InvalidArgument, match="two folds"):
        RidgePredictivity(folds=1)
    odd = object.__new__(RidgePredictivity)
    object.__setattr__(odd, "score", "spearman")
    with pytest.raises(InvalidArgument, match="must be 'pearson' or 'r2'"):
        RidgePredictivity.__post_init__(odd)
