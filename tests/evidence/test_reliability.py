"""Reliabilities recover what was planted; bootstrap intervals cover."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bregma.errors import InvalidArgument, NotIdentifiable
from bregma.evidence import bootstrap_interval, spearman_brown, split_half_reliability
from bregma.recording import Recording


@pytest.mark.parametrize(("r", "factor", "expected"), [(0.5, 2, 2 / 3), (0, 9, 0), (1, 4, 1)])
def test_spearman_brown(r, factor, expected):
    assert spearman_brown(r, factor) == pytest.approx(expected)


def test_spearman_brown_is_the_reliability_of_sums():
    # signal variance 1, noise variance v: r(k repeats) = 1 / (1 + v / k)
    for v in (0.3, 1.0, 5.0):
        assert spearman_brown(1 / (1 + v), 7) == pytest.approx(1 / (1 + v / 7))


@pytest.mark.parametrize(("r", "factor"), [(-1, 2), (1.1, 2), (0.5, 0), (-0.6, 3), (math.nan, 2)])
def test_spearman_brown_refuses(r, factor):
    with pytest.raises(InvalidArgument):
        spearman_brown(r, factor)


def repeated(n_stimuli: int, n_repeats: int, noise: float, units: int, seed: int) -> Recording:
    rng = np.random.default_rng(seed)
    signal = rng.normal(size=(n_stimuli, 1, units))
    values = signal + noise * rng.normal(size=(n_stimuli, n_repeats, units))
    stimulus = np.repeat(np.arange(n_stimuli), n_repeats)
    return Recording.from_array(
        values.reshape(-1, units),
        presentation={"presentation": np.arange(stimulus.size), "stimulus": stimulus},
    )


@pytest.mark.parametrize(("noise", "repeats"), [(1.0, 4), (2.0, 8), (0.5, 2)])
def test_the_planted_ceiling_is_recovered(noise, repeats):
    recording = repeated(400, repeats, noise, 30, seed=1)
    planted = 1 / (1 + noise**2 / repeats)
    found = split_half_reliability(recording, n_splits=10, seed=0)
    assert found.shape == (30,)
    assert found.mean() == pytest.approx(planted, abs=0.01)


def test_its_root_is_what_the_true_model_reaches():
    rng = np.random.default_rng(2)
    signal = rng.normal(size=(3000, 1))
    values = signal[:, None] + rng.normal(size=(3000, 4, 1))
    recording = Recording.from_array(
        values.reshape(-1, 1),
        presentation={
            "presentation": np.arange(12000),
            "stimulus": np.repeat(np.arange(3000), 4),
        },
    )
    reached = np.corrcoef(signal[:, 0], values.mean(1)[:, 0])[0, 1]
    reliability = split_half_reliability(recording, n_splits=5, seed=0)[0]
    assert math.sqrt(reliability) == pytest.approx(reached, abs=0.01)


def test_noise_has_no_reliability_and_is_not_clipped():
    found = split_half_reliability(repeated(50, 2, 1e6, 200, seed=0), n_splits=3, seed=0)
    assert abs(found.mean()) < 0.1
    assert found.min() < 0


def test_reliability_refuses_what_says_nothing():
    with pytest.raises(NotIdentifiable, match="3 times"):
        split_half_reliability(repeated(5, 3, 1, 1, 0), seed=0)
    with pytest.raises(NotIdentifiable, match="1 times"):
        split_half_reliability(repeated(5, 1, 1, 1, 0), seed=0)
    with pytest.raises(NotIdentifiable, match="over 2 stimuli"):
        split_half_reliability(repeated(2, 2, 1, 1, 0), seed=0)
    with pytest.raises(InvalidArgument, match="split"):
        split_half_reliability(repeated(5, 2, 1, 1, 0), n_splits=0, seed=0)
    silent = repeated(5, 2, 1, 2, 0)
    silent = silent.with_values(silent.values * [1, 0])
    with pytest.raises(NotIdentifiable, match="does not vary"):
        split_half_reliability(silent, seed=0)


@pytest.mark.parametrize("n", [12, 60])
@pytest.mark.parametrize("kind", ["BCa", "percentile"])
def test_bootstrap_intervals_cover(kind, n):
    rng = np.random.default_rng(0)
    inside = 0
    for seed in range(1500):
        samples = rng.normal(2.0, 1.0, n)
        inside += 2.0 in bootstrap_interval(samples, kind=kind, n_draws=999, seed=seed)
    assert 0.93 <= inside / 1500 <= 0.97


def test_bootstrap_is_seeded_and_honest():
    samples = np.arange(10.0)
    a = bootstrap_interval(samples, seed=1, n_draws=200)
    assert a == bootstrap_interval(samples, seed=1, n_draws=200)
    assert a != bootstrap_interval(samples, seed=2, n_draws=200)
    assert "200 resamples" in a.kind
    with pytest.raises(NotIdentifiable, match="same for all"):
        bootstrap_interval(np.ones(5), seed=0, n_draws=50)
    with pytest.raises(NotIdentifiable, match="too few"):
        bootstrap_interval(np.ones(2), seed=0)
    with pytest.raises(InvalidArgument, match="finite"):
        bootstrap_interval(np.array([1.0, np.nan, 2.0]), seed=0)
    with pytest.raises(InvalidArgument, match="level"):
        bootstrap_interval(samples, seed=0, level=1.0)
