"""ProcrustesMap against SciPy's rotation, numerical minimisation and scikit-learn's checks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import orthogonal_procrustes
from scipy.stats import ortho_group
from sklearn.utils.estimator_checks import parametrize_with_checks

from bregma.errors import NotIdentifiable
from bregma.geometry import Procrustes, ProcrustesMap


@parametrize_with_checks([ProcrustesMap()])
def test_scikit_learn(estimator, check, unchecked_types):
    check(estimator)


@settings(max_examples=30)
@given(st.integers(0, 10**6))
def test_equals_scipy(seed):
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((12, 4)), rng.standard_normal((12, 4)) + 3
    a, b = x - x.mean(axis=0), y - y.mean(axis=0)
    rotation, product = orthogonal_procrustes(a, b)
    found = ProcrustesMap().fit(x, y)
    np.testing.assert_allclose(found.rotation_, rotation, atol=1e-9)
    assert found.scale_ == pytest.approx(product / (a**2).sum())
    np.testing.assert_allclose(
        found.predict(x), product / (a**2).sum() * a @ rotation + y.mean(axis=0), atol=1e-9
    )
    left = np.square(y - found.predict(x)).sum() / np.square(b).sum()
    assert left == pytest.approx(1 - Procrustes().compare(x, y) ** 2)


@pytest.mark.parametrize(("units_x", "units_y"), [(3, 7), (7, 3), (5, 5)])
def test_recovers_a_rotation_between_spaces_of_any_size(units_x, units_y):
    rng = np.random.default_rng(0)
    wide = ortho_group.rvs(max(units_x, units_y), random_state=0)[:units_x, :units_y]
    x = rng.standard_normal((30, units_x))
    y = 0.3 * x @ wide + 2
    if units_x > units_y:  # only what reaches the narrow space can be known
        x = x @ wide @ wide.T
    found = ProcrustesMap().fit(x[:20], y[:20])
    np.testing.assert_allclose(found.predict(x), y, atol=1e-9)
    assert found.scale_ == pytest.approx(0.3)


@pytest.mark.parametrize("units_y", [3, 5])
def test_no_other_rotation_and_scale_is_better(units_y):
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((15, 3)), rng.standard_normal((15, units_y))
    best = ProcrustesMap().fit(x, y)
    error = np.square(y - best.predict(x)).sum()
    a, b = x - x.mean(axis=0), y - y.mean(axis=0)
    for k in range(200):
        turn = ortho_group.rvs(units_y, random_state=k)[:3]
        scale = best.scale_ * rng.uniform(0.3, 2)
        assert np.square(b - scale * a @ turn).sum() >= error


def test_with_few_pairs_unknown_directions_are_0():
    rng = np.random.default_rng(2)
    x, y = rng.standard_normal((4, 10)), rng.standard_normal((4, 10))
    found = ProcrustesMap().fit(x, y)  # centred: 3 directions
    assert np.linalg.matrix_rank(found.rotation_) == 3
    np.testing.assert_allclose(np.linalg.svd(found.rotation_)[1][:3], 1)


def test_pairs_that_do_not_vary():
    x = np.random.default_rng(0).standard_normal((5, 3))
    with pytest.raises(NotIdentifiable, match="share no variation"):
        ProcrustesMap().fit(x, np.ones((5, 2)))
    with pytest.raises(ValueError, match="NaN"):
        ProcrustesMap().fit(np.full((5, 3), np.nan), x)
    with pytest.raises(ValueError, match="inconsistent"):
        ProcrustesMap().fit(x, x[:4])
