"""Semi-NMF against SciPy's least squares, scikit-learn's NMF and checks, and planted patterns."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls
from sklearn.decomposition import NMF
from sklearn.utils.estimator_checks import parametrize_with_checks

from bregma import Recording
from bregma.errors import InvalidArgument
from bregma.mechanism import SemiNMF, match_features, samples_of


@parametrize_with_checks([SemiNMF(2, max_iter=20)])
def test_scikit_learn(estimator, check, unchecked_types):
    check(estimator)


@settings(max_examples=15)
@given(st.integers(0, 10**6))
def test_amounts_are_the_least_squares(seed):
    rng = np.random.default_rng(seed)
    model = SemiNMF(5, max_iter=1)
    X = rng.standard_normal((20, 9))
    model.fit(X)
    model.components_ = rng.standard_normal((5, 9))
    found = model.transform(X)
    for x, amounts in zip(X, found, strict=True):
        expected, _ = nnls(model.components_.T, x)
        np.testing.assert_allclose(amounts, expected, atol=1e-5)
    np.testing.assert_allclose(model.inverse_transform(found), found @ model.components_)


def test_more_turns_never_make_the_error_larger():
    X = np.random.default_rng(0).standard_normal((80, 12))
    errors = [SemiNMF(4, max_iter=n, tol=0.0).fit(X).error_ for n in range(1, 30)]
    assert all(b <= a + 1e-12 for a, b in pairwise(errors))
    model = SemiNMF(4, max_iter=29, tol=0.0).fit(X)
    left = np.linalg.norm(X - model.inverse_transform(model.transform(X))) / np.linalg.norm(X)
    assert left <= model.error_ + 1e-9
    # With all patterns of any sign and any amounts it cannot be better than a principal subspace.
    values = np.linalg.svd(X, compute_uv=False)
    assert left >= np.sqrt((values[4:] ** 2).sum() / (values**2).sum())


def test_positive_data_and_one_pattern():
    """There NMF, semi-NMF and the first singular vector (Perron's, of one sign) coincide."""
    X = np.random.default_rng(0).gamma(1.0, size=(50, 9))
    model, nmf = (
        SemiNMF(1, tol=1e-12).fit(X),
        NMF(1, init="random", random_state=0, tol=1e-8).fit(X),
    )
    first = np.abs(np.linalg.svd(X)[2][0])
    np.testing.assert_allclose(model.components_[0], first, atol=1e-5)
    theirs = nmf.components_[0] / np.linalg.norm(nmf.components_)
    np.testing.assert_allclose(model.components_[0], theirs, atol=1e-4)
    left = np.linalg.norm(X - model.inverse_transform(model.transform(X)))
    assert left == pytest.approx(nmf.reconstruction_err_, rel=1e-6)


def test_nmf_is_a_special_case_and_no_better():
    rng = np.random.default_rng(0)
    truth = rng.random((3, 15)) * (rng.random((3, 15)) < 0.4)
    X = rng.gamma(1.0, size=(200, 3)) @ truth + 0.01 * rng.random((200, 15))
    model = SemiNMF(3, max_iter=1000, tol=1e-9).fit(X)
    nmf = NMF(3, init="nndsvda", max_iter=2000).fit(X)
    left = np.linalg.norm(X - model.transform(X) @ model.components_)
    assert left <= nmf.reconstruction_err_ * 1.01


def planted(seed=0, n=600):
    """8 patterns of 6 of 64 neurons with any sign, one or two in each sample."""
    rng = np.random.default_rng(seed)
    patterns = np.zeros((8, 64))
    for row in patterns:
        row[rng.choice(64, 6, replace=False)] = rng.choice([-1, 1], 6) * rng.uniform(0.5, 1.5, 6)
    amounts = rng.uniform(0.5, 2, (n, 8)) * (rng.random((n, 8)) < 0.2)
    return patterns, amounts, amounts @ patterns + 0.1 * rng.standard_normal((n, 64))


def test_planted_patterns_are_found_and_winners_take_all():
    patterns, amounts, X = planted()
    all_kept, winners = SemiNMF(8).fit(X), SemiNMF(8, kept=6 / 64).fit(X)
    assert (np.count_nonzero(winners.components_, axis=1) == 6).all()
    assert np.count_nonzero(all_kept.components_) > 8 * 30
    np.testing.assert_allclose(np.linalg.norm(winners.components_, axis=1), 1)
    shuffled = np.random.default_rng(1).permuted(X, axis=0)
    none = match_features(SemiNMF(8, kept=6 / 64).fit(shuffled).components_, patterns).mean
    found = match_features(winners.components_, patterns)
    assert found.mean > 0.9
    assert none < 0.6
    used = winners.transform(X)[:, found.index]
    assert np.mean([np.corrcoef(used[:, j], amounts[:, j])[0, 1] for j in range(8)]) > 0.9


def test_spike_counts_with_an_assembly_that_suppresses():
    rng = np.random.default_rng(0)
    on = rng.random((400, 2)) < 0.3
    rates = np.full((400, 12), 3.0)
    rates[:, :4] += 5.0 * on[:, :1]
    rates[:, 4:8] -= 2.5 * on[:, :1]  # the first assembly silences these
    rates[:, 8:] += 5.0 * on[:, 1:]
    counts = Recording.from_array(
        rng.poisson(rates)[None].astype(float), time=np.arange(400) / 20, measured_in="spikes"
    )
    X = samples_of(counts)["x"]
    model = SemiNMF(2).fit(X - np.median(X, axis=0))
    first = model.components_[np.argmax(model.components_[:, :4].mean(1))]
    assert first[:4].mean() > 0.3
    assert first[4:8].mean() < -0.05


def test_the_same_seed_gives_the_same_patterns():
    _, _, X = planted(n=100)
    found = []
    for poison in (1, 2):
        np.random.seed(poison)  # noqa: NPY002 - must not matter
        found.append(SemiNMF(3, seed=4).fit(X).components_)
    np.testing.assert_array_equal(*found)
    half = SemiNMF(3, seed=4).fit(X.astype(np.float32))
    assert half.transform(X.astype(np.float32)).dtype == np.float32


@pytest.mark.parametrize(
    "settings", [{"n_components": 0}, {"kept": 0.0}, {"kept": 1.5}, {"max_iter": 0}, {"tol": -1.0}]
)
def test_bad_settings(settings):
    with pytest.raises(InvalidArgument):
        SemiNMF(**settings).fit(np.random.default_rng(0).standard_normal((20, 10)))
