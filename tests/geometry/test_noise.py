"""Noise covariance against planted variance, rsatoolbox and scikit-learn."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from bregma.errors import InvalidArgument, NotIdentifiable
from bregma.geometry import (
    noise_covariance,
    noise_precision,
    precision_matrix,
    residual_covariance,
)
from bregma.recording import Recording

METHODS = ("ledoit_wolf", "shrinkage_diagonal", "diagonal", "full")
PEER = {"ledoit_wolf": "shrinkage_eye", "shrinkage_diagonal": "shrinkage_diag",
        "diagonal": "diag", "full": "full"}  # fmt: skip


def shown(values, stimulus):
    return Recording.from_array(values, presentation={"stimulus": stimulus})


@pytest.mark.parametrize("method", METHODS)
def test_residuals_equal_rsatoolbox(method):
    noise = pytest.importorskip("rsatoolbox.data.noise", reason="the peer is not installed")
    rng = np.random.default_rng(0)
    x = rng.standard_normal((60, 8)) @ rng.standard_normal((8, 8)) + 3
    expected = noise.cov_from_residuals(x.copy(), method=PEER[method])
    np.testing.assert_allclose(residual_covariance(x, method=method), expected, rtol=1e-8)
    np.testing.assert_allclose(
        precision_matrix(residual_covariance(x, method=method)),
        noise.prec_from_residuals(x.copy(), method=PEER[method]), rtol=1e-8, atol=1e-10,
    )  # fmt: skip


def test_ledoit_wolf_equals_scikit_learn():
    from sklearn.covariance import ledoit_wolf

    x = np.random.default_rng(1).standard_normal((40, 15))
    x -= x.mean(axis=0)
    expected = ledoit_wolf(x, assume_centered=True)[0]
    ours = residual_covariance(x, method="ledoit_wolf") * 39 / 40  # theirs divides by rows
    np.testing.assert_allclose(ours, expected, rtol=1e-8)


@pytest.mark.parametrize("repeats", [2, 3, 10])
@pytest.mark.parametrize("method", METHODS)
def test_planted_variance_comes_back(repeats, method):
    rng = np.random.default_rng(2)
    stimuli, planted = 800, np.array([0.25, 1.0, 4.0])
    signal = 10 * rng.standard_normal((stimuli, 1, 3))
    values = signal + np.sqrt(planted) * rng.standard_normal((stimuli, repeats, 3))
    stimulus = np.repeat(np.arange(stimuli), repeats)
    found = np.diag(noise_covariance(shown(values.reshape(-1, 3), stimulus), method=method))
    error = planted * np.sqrt(2 / (stimuli * (repeats - 1)))
    assert (np.abs(found - planted) < 4 * error).all()


@pytest.mark.parametrize("method", METHODS)
def test_unequal_repeats_keep_the_planted_variance(method):
    rng = np.random.default_rng(4)
    stimulus = np.repeat(np.arange(600), rng.integers(1, 5, 600))
    values = rng.standard_normal((len(stimulus), 4)) + 5 * rng.standard_normal((600, 4))[stimulus]
    found = np.diag(noise_covariance(shown(values, stimulus), method=method))
    assert (np.abs(found - 1) < 4 * np.sqrt(2 / (len(stimulus) - 600))).all()


def test_the_peer_loses_half_of_the_variance_with_two_repeats():
    """rsatoolbox 0.3.2 divides by (conditions - 1) * repeats instead of conditions * (repeats - 1).

    True variance 1 comes back as 0.50 with two repeats and 0.80 with five; ours is 1.
    """
    rsatoolbox = pytest.importorskip("rsatoolbox", reason="the peer is not installed")
    rng = np.random.default_rng(6)
    for repeats, theirs in ((2, 0.5), (5, 0.8)):
        stimulus = np.tile(np.arange(500), repeats)
        values = rng.standard_normal((len(stimulus), 4))
        data = rsatoolbox.data.Dataset(values.copy(), obs_descriptors={"stimulus": stimulus})
        peer = rsatoolbox.data.noise.cov_from_measurements(data, "stimulus", method="diag")
        ours = noise_covariance(shown(values, stimulus), method="diagonal")
        assert np.diag(peer).mean() == pytest.approx(theirs, abs=0.05)
        assert np.diag(ours).mean() == pytest.approx(1, abs=0.05)
        conditions, right = 500, 500 * (repeats - 1)
        np.testing.assert_allclose(peer * (conditions - 1) * repeats / right, ours, rtol=1e-10)


def test_the_amount_of_shrinkage_does_not_count_repeats_as_new_data():
    """Two repeats give mirrored residuals: half as many independent rows as there are rows."""
    rng = np.random.default_rng(8)
    contrasts = rng.standard_normal((50, 20))
    mirrored = np.concatenate([contrasts, -contrasts]) / np.sqrt(2)
    for method in ("ledoit_wolf", "shrinkage_diagonal"):
        from_repeats = residual_covariance(mirrored, method=method, dof=50)
        direct = residual_covariance(contrasts, method=method)
        off = ~np.eye(20, dtype=bool)
        sample = contrasts.T @ contrasts / 50
        shrunk = np.abs(from_repeats[off]).mean() / np.abs(sample[off]).mean()
        wanted = np.abs(direct[off]).mean() / np.abs(np.cov(contrasts.T)[off]).mean()
        assert shrunk == pytest.approx(wanted, abs=0.05)


@pytest.mark.parametrize("method", ["ledoit_wolf", "shrinkage_diagonal"])
def test_shrunk_covariances_can_be_inverted_with_fewer_residuals_than_units(method):
    rng = np.random.default_rng(9)
    covariance = residual_covariance(rng.standard_normal((12, 40)), method=method)
    inverse = precision_matrix(covariance)
    np.testing.assert_allclose(inverse @ covariance, np.eye(40), atol=1e-8)
    np.testing.assert_array_equal(inverse, inverse.T)


def test_full_covariance_of_too_few_residuals_is_refused():
    rng = np.random.default_rng(10)
    recording = shown(rng.standard_normal((20, 30)), np.arange(20) // 2)
    with pytest.raises(NotIdentifiable, match="singular"):
        noise_precision(recording, method="full")


def test_one_unit_and_identical_units_have_no_shrinkage_to_divide_by():
    x = np.random.default_rng(12).standard_normal((30, 1))
    for method in METHODS:
        assert residual_covariance(x, method=method) == pytest.approx(x.var(ddof=1))
    orthogonal = np.array([[1.0, 1], [-1, 1], [1, -1], [-1, -1]])  # correlation exactly 0
    np.testing.assert_allclose(
        residual_covariance(orthogonal, method="shrinkage_diagonal"), np.eye(2) * 4 / 3
    )


def test_single_precision_stays_single():
    x = np.random.default_rng(13).standard_normal((50, 10))
    for method in METHODS:
        single = precision_matrix(residual_covariance(x.astype(np.float32), method=method))
        assert single.dtype == np.float32
        exact = precision_matrix(residual_covariance(x, method=method))
        np.testing.assert_allclose(single, exact, atol=1e-4)


def test_messages_say_what_to_do():
    rng = np.random.default_rng(14)
    values = rng.standard_normal((10, 3))
    with pytest.raises(NotIdentifiable, match="at least two presentations"):
        noise_covariance(shown(values, np.arange(10)))
    with pytest.raises(InvalidArgument, match="one of"):
        inspect.unwrap(residual_covariance)(values, method="oas")  # past the type checker
    values[:, 1] = 7
    with pytest.raises(InvalidArgument, match="first: number 1"):
        residual_covariance(values, method="diagonal")
    with pytest.raises(InvalidArgument, match="mean_time"):
        noise_covariance(Recording.from_array(values[:, None], time=[0.0]))


def test_memory_is_that_of_one_matrix():
    import tracemalloc

    x = np.random.default_rng(15).standard_normal((600, 300))
    for method in METHODS:
        tracemalloc.start()
        residual_covariance(x, method=method)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 8 * (4 * x.size + 4 * 300**2)  # never rows * units * units
