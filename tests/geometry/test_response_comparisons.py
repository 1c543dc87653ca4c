"""What holds for every comparison of responses: invariances, nulls, deletions, messages."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bregma.errors import InvalidArgument, NotIdentifiable
from bregma.evidence import bibtex
from bregma.geometry import CKA, SVCCA, Procrustes, ResponseComparison, RidgePredictivity

COMPARISONS = [
    CKA(),
    CKA(debiased=False),
    CKA("rbf"),
    CKA("rbf", debiased=False, bandwidth=0.5),
    Procrustes(),
    Procrustes(angular=True),
    SVCCA(components=3),
    SVCCA(variance=0.7),
    RidgePredictivity(folds=3),
    RidgePredictivity(folds=3, score="r2", over="median"),
]
every = pytest.mark.parametrize("comparison", COMPARISONS, ids=str)


def sides(seed, n=18, wide=False):
    rng = np.random.default_rng(seed)
    shared = rng.standard_normal((n, 3))
    x = shared @ rng.standard_normal((3, 40 if wide else 6)) + 0.5
    y = shared @ rng.standard_normal((3, 7))
    return x + 0.3 * rng.standard_normal(x.shape), y + 0.3 * rng.standard_normal(y.shape)


def rotation(rng, n):
    return np.linalg.qr(rng.standard_normal((n, n)))[0]


@every
def test_is_a_comparison_with_sources(comparison):
    assert isinstance(comparison, ResponseComparison)
    assert comparison.name
    assert bibtex(comparison.citations)


@every
@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 10**6), scale=st.floats(0.01, 100), shift=st.floats(-10, 10))
def test_sees_no_rotation_scale_or_shift_of_the_model(comparison, seed, scale, shift):
    x, y = sides(seed)
    rng = np.random.default_rng(seed)
    turned = scale * x @ rotation(rng, x.shape[1]) + shift
    assert comparison.compare(turned, y) == pytest.approx(comparison.compare(x, y), abs=1e-7)


@every
@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 10**6), scale=st.floats(0.01, 100), shift=st.floats(-10, 10))
def test_sees_no_scale_or_shift_of_the_data(comparison, seed, scale, shift):
    x, y = sides(seed)
    assert comparison.compare(x, scale * y + shift) == pytest.approx(
        comparison.compare(x, y), abs=1e-7
    )
    if comparison.rotates_data:
        turned = y @ rotation(np.random.default_rng(seed), y.shape[1])
        assert comparison.compare(x, turned) == pytest.approx(comparison.compare(x, y), abs=1e-7)
        assert comparison.compare(y, x) == pytest.approx(comparison.compare(x, y), abs=1e-7)


@every
@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 10**6))
def test_a_wide_model_is_the_same_as_its_rotation_into_few_units(comparison, seed):
    x, y = sides(seed, wide=True)
    u, singular, _ = np.linalg.svd(x, full_matrices=False)
    assert comparison.compare(x, y) == pytest.approx(comparison.compare(u * singular, y), abs=1e-7)


@every
def test_the_same_responses_score_one(comparison):
    x, _ = sides(1)
    tolerance = 0.02 if isinstance(comparison, RidgePredictivity) else 1e-6
    assert comparison.compare(x, x) == pytest.approx(1, abs=tolerance)


@every
def test_orders_and_deletions_equal_the_comparison_itself(comparison, monkeypatch):
    x, y = sides(2)
    z = sides(3)[1]
    rng = np.random.default_rng(4)
    orders = rng.permuted(np.tile(np.arange(18), (7, 1)), axis=1)
    ours = comparison.permuted(x, [y, z], orders)
    expected = [[comparison.compare(x, part[o]) for part in (y, z)] for o in orders]
    np.testing.assert_allclose(ours, expected, atol=1e-10)
    for module in ("_ridge", "_procrustes"):
        monkeypatch.setattr(f"bregma.geometry.{module}.BLOCK", 1)
    np.testing.assert_allclose(comparison.permuted(x, [y, z], orders), ours, atol=1e-12)

    kept = np.ones((3, 18), dtype=bool)
    kept[1, 4] = kept[2, [0, 9]] = False
    left = comparison.without(x, [y, z], kept)
    assert left[0, 0] == pytest.approx(comparison.compare(x, y), abs=1e-10)
    if isinstance(comparison, RidgePredictivity) or getattr(comparison, "kernel", "") == "rbf":
        return  # folds, penalties and bandwidth stay those of all stimuli: tested by themselves
    for row, rows in zip(left, kept, strict=True):
        again = [comparison.compare(x[rows], part[rows]) for part in (y, z)]
        np.testing.assert_allclose(row, again, atol=1e-10)


@every
def test_messages_say_what_to_do(comparison):
    x, y = sides(5)
    with pytest.raises(InvalidArgument, match="same stimuli"):
        comparison.compare(x, y[:-1])
    with pytest.raises(InvalidArgument, match="model are the same to every stimulus"):
        comparison.compare(np.full((18, 4), 0.1), y)
    with pytest.raises(InvalidArgument, match="data are the same to every stimulus"):
        comparison.compare(x, np.full((18, 4), 0.1))
    with pytest.raises(InvalidArgument, match="model are the same to every stimulus"):
        comparison.compare(np.full((18, 40), 0.1), y)
    with pytest.raises(NotIdentifiable, match="not identifiable with 2 stimuli"):
        comparison.compare(x[:2], y[:2])


# An rbf kernel has no bandwidth where half of the stimuli are alike: an error of its own.
@pytest.mark.parametrize(
    "comparison", [c for c in COMPARISONS if getattr(c, "kernel", "") != "rbf"], ids=str
)
@pytest.mark.parametrize("offset", [0.0, 0.1])
def test_nothing_corresponds_where_a_side_does_not_vary(comparison, offset):
    """Without stimuli 4 and 9 the model (or the data) is the same to every stimulus."""
    _, y = sides(6)
    x = np.full((18, 1), offset)
    x[[4, 9], 0] = 1.0, 2.0
    x -= x.mean(axis=0)
    kept = np.ones((2, 18), dtype=bool)
    kept[1, [4, 9]] = False
    for scores in (comparison.without(x, [y], kept), comparison.without(y, [x], kept)):
        assert np.isfinite(scores).all()
        assert scores[1, 0] == pytest.approx(0, abs=1e-9)


def test_a_single_stimulus_is_nothing_to_a_debiased_kernel():
    _, y = sides(7)
    x = np.zeros((18, 1))
    x[3] = 1.0
    for ours in (CKA().compare, lambda *xy: CKA().permuted(xy[0], [xy[1]], np.arange(18)[None])):
        for pair in ((x, y), (y, x)):
            with pytest.raises(NotIdentifiable, match="a single stimulus"):
                ours(*pair)
    assert CKA(debiased=False).compare(x, y) > 0
