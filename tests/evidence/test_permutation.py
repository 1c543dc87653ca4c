"""Permutation p-values and nulls of data."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bregma.errors import InvalidArgument, NotIdentifiable, UnknownName
from bregma.evidence import arrangements, permutation_p, phase_scrambled, shuffled_labels
from bregma.recording import Recording


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=30), st.integers(-3, 3))
def test_p_is_the_count(null, score):
    assert permutation_p(score, null) == (1 + sum(n >= score for n in null)) / (1 + len(null))


def test_rounding_counts_as_a_tie():
    score = 0.1 + 0.2
    assert permutation_p(score, [0.3, 0.0, 0.0]) == 0.5


@pytest.mark.parametrize("null", [[], [math.nan], [math.inf]])
def test_a_null_that_is_none_is_refused(null):
    with pytest.raises(InvalidArgument):
        permutation_p(0.0, null)


def test_an_exact_null_must_hold_the_observed_arrangement():
    assert permutation_p(1.0, [1.0, 0.0, 0.0, 0.5], exact=True) == 0.25
    with pytest.raises(InvalidArgument, match="observed arrangement"):
        permutation_p(2.0, [1.0, 0.0], exact=True)


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_few_arrangements_are_all_taken(n):
    found = arrangements(n, 120, seed=0)
    assert found.exact
    assert found.n_arrangements == math.factorial(n)
    assert {tuple(row) for row in found.order} == set(permutations(range(n)))
    assert found.order[0].tolist() == list(range(n))


def test_many_arrangements_are_drawn():
    found = arrangements(200, 50, seed=1)
    assert not found.exact
    assert found.n_arrangements == math.inf
    assert (np.sort(found.order, axis=1) == np.arange(200)).all()
    assert np.array_equal(found.order, arrangements(200, 50, seed=1).order)
    assert not np.array_equal(found.order, arrangements(200, 50, seed=2).order)


def test_drawn_orders_are_uniform():
    order = arrangements(4, 23, seed=0).order
    assert order.shape == (23, 4)
    counts: dict = {}
    for seed in range(400):
        for row in arrangements(4, 20, seed=seed).order:
            counts[tuple(row)] = counts.get(tuple(row), 0) + 1
    assert len(counts) == 24
    assert stats.chisquare(list(counts.values())).pvalue > 1e-3


@pytest.mark.parametrize(("n", "draws"), [(1, 10), (0, 10), (5, 0)])
def test_nothing_to_exchange(n, draws):
    with pytest.raises(InvalidArgument):
        arrangements(n, draws, seed=0)


def correlation_p(x, y, n_draws, seed):
    """p of a correlation when the labels of y are exchanged."""
    drawn = arrangements(len(x), n_draws, seed=seed)
    null = y[drawn.order] @ x
    return permutation_p(float(x @ y), null, exact=drawn.exact)


@pytest.mark.parametrize(("n", "draws"), [(20, 99), (4, 19), (4, 24)])
def test_p_is_uniform_under_the_null_even_with_few_arrangements(n, draws):
    rng = np.random.default_rng(5)
    p = np.array([correlation_p(*rng.normal(size=(2, n)), draws, seed) for seed in range(3000)])
    for alpha in (0.05, 0.1, 0.25, 0.5):
        assert (p <= alpha + 1e-9).mean() <= alpha + 3 * np.sqrt(alpha * (1 - alpha) / 3000)
    if n == 20:
        assert stats.kstest(p - rng.uniform(0, 1 / 100, p.size), "uniform").pvalue > 1e-3


def labelled(seed: int = 0) -> Recording:
    rng = np.random.default_rng(seed)
    table = {
        "presentation": list(range(12)),
        "stimulus": [f"s{i % 4}" for i in range(12)],
        "session": [i // 6 for i in range(12)],
    }
    return Recording.from_array(rng.normal(size=(12, 3)), presentation=table)


def test_shuffled_labels_keep_the_labels_and_the_values():
    recording = labelled()
    shuffled = shuffled_labels(recording, seed=1)
    assert np.array_equal(shuffled.values, recording.values)
    assert sorted(shuffled.stimuli) == sorted(recording.stimuli)
    assert list(shuffled.stimuli) != list(recording.stimuli)
    assert list(recording.stimuli[:4]) == ["s0", "s1", "s2", "s3"]  # the original is untouched


def test_shuffling_stays_within_a_coordinate():
    recording = labelled()
    shuffled = shuffled_labels(recording, within="session", seed=1)
    for part in (slice(0, 6), slice(6, 12)):
        assert sorted(shuffled.stimuli[part]) == sorted(recording.stimuli[part])
    assert list(shuffled.stimuli) != list(recording.stimuli)


def test_shuffling_needs_labels_that_differ():
    with pytest.raises(NotIdentifiable, match="one label only"):
        shuffled_labels(labelled().select(stimulus="s1"), seed=0)
    with pytest.raises(UnknownName):
        shuffled_labels(labelled(), label="colour", seed=0)


@pytest.mark.parametrize("n_times", [64, 65])
def test_phase_scrambling_keeps_spectra_and_loses_the_time_course(n_times):
    rng = np.random.default_rng(0)
    wave = np.sin(2 * np.pi * 5 * np.arange(n_times) / n_times)[:, None] * [1, 2, -1]
    values = 3 + wave + 0.3 * rng.normal(size=(10, n_times, 3))
    recording = Recording.from_array(values, time=np.arange(n_times) / 100, measured_in="uV")
    scrambled = phase_scrambled(recording, seed=4)
    f, g = np.fft.rfft(values, axis=1), np.fft.rfft(scrambled.values, axis=1)
    np.testing.assert_allclose(np.abs(g), np.abs(f), atol=1e-9)
    np.testing.assert_allclose(
        g[..., 0] * g[..., 1].conj(), f[..., 0] * f[..., 1].conj(), atol=1e-8
    )
    np.testing.assert_allclose(scrambled.values.mean(1), values.mean(1), atol=1e-12)
    assert np.abs(scrambled.values.mean(0) - 3).max() < 0.75 * np.abs(values.mean(0) - 3).max()
    assert scrambled.measured_in == recording.measured_in
    assert scrambled.identical(phase_scrambled(recording, seed=4))
    assert not scrambled.identical(phase_scrambled(recording, seed=5))


def test_phases_differ_between_presentations():
    one = np.sin(np.arange(32))
    recording = Recording.from_array(
        np.tile(one[None, :, None], (2, 1, 1)), time=np.arange(32) / 10
    )
    a, b = phase_scrambled(recording, seed=0).values[..., 0]
    assert not np.allclose(a, b)


def test_phases_need_times():
    with pytest.raises(InvalidArgument, match="time axis"):
        phase_scrambled(labelled(), seed=0)
    short = Recording.from_array(np.zeros((2, 2, 1)), time=[0.0, 0.1])
    with pytest.raises(NotIdentifiable, match="at least 3"):
        phase_scrambled(short, seed=0)


def test_single_precision_stays_single():
    values = np.random.default_rng(0).normal(size=(2, 8, 1)).astype(np.float32)
    recording = Recording.from_array(values, time=np.arange(8) / 10)
    assert phase_scrambled(recording, seed=0).values.dtype == np.float32
