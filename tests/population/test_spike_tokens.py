"""Tokens of spikes against counts in bins, by loops and by hand."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import bernoulli

import bregma
from bregma.errors import InvalidArgument
from bregma.population import signal_windows, spike_windows, spikes_of, unit_counts
from bregma.recording import SpikeTrains


def some_spikes(seed=0, n=200, n_units=4, support=((0.0, 3.0),)):
    rng = np.random.default_rng(seed)
    return SpikeTrains.from_dict(
        {
            unit: np.sort(np.concatenate([rng.uniform(a, b, n // n_units) for a, b in support]))
            for unit in range(n_units)
        },
        support=support,
    )


def tokens_by_loops(counts, at, n_bins, n_past):
    """Tokens of the window that begins in bin `at`, and of its past."""
    n_units = counts.shape[1]
    now = [b * n_units + u for b in range(n_bins) for u in range(n_units) if counts[at + b, u] > 0]
    before = [
        b * n_units + u for b in range(n_past) for u in range(n_units) if counts[at - 1 - b, u] > 0
    ]
    return now, before


@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 6), st.integers(0, 300))
def test_windows_hold_what_bins_hold(seed, n_bins, n_past, n):
    begin = 0.37
    spikes = some_spikes(seed, n, support=((begin, begin + 1.0),))
    counts = spikes.bin(0.02).values[0]
    windows = spike_windows(spikes, bin=0.02, window=n_bins * 0.02, past=n_past * 0.02)
    assert len(windows) == (50 - n_past) // n_bins
    for row in range(len(windows)):
        at = n_past + row * n_bins
        now, before = tokens_by_loops(counts, at, n_bins, n_past)
        assert windows.start[row] == pytest.approx(begin + at * 0.02)
        assert [t for t in windows.tokens[row].tolist() if t >= 0] == now
        assert [t for t in windows.past[row].tolist() if t >= 0] == before
        padding = windows.tokens[row, len(now) :]
        assert (padding == -1).all()


def test_windows_stay_inside_the_support():
    both = some_spikes(support=((0.0, 1.0), (5.0, 5.62), (7.0, 7.1)))
    windows = spike_windows(both, bin=0.01, window=0.05, past=0.15)
    parts = [spike_windows(both.restrict(s), bin=0.01, window=0.05, past=0.15)
             for s in ((0.0, 1.0), (5.0, 5.62))]  # fmt: skip
    assert len(windows) == 17 + 9
    np.testing.assert_allclose(windows.start, np.r_[parts[0].start, parts[1].start])
    np.testing.assert_array_equal(windows.counts(), np.r_[parts[0].counts(), parts[1].counts()])


def test_there_and_back():
    spikes = some_spikes(support=((0.0, 1.0), (5.0, 5.62)))
    windows = spike_windows(spikes, bin=0.01, window=0.05, past=0.15)
    back = spikes_of(windows)
    np.testing.assert_allclose(back.support, [(0.15, 1.0), (5.15, 5.6)])
    for a, b in back.support:
        bins = spikes.bin(0.01, window=(a, b)).values[0] > 0
        np.testing.assert_array_equal(back.bin(0.01, window=(a, b)).values[0] > 0, bins)
    fewer = spikes_of(windows, torch.full_like(windows.tokens, -1))
    assert fewer.n_spikes == 0
    np.testing.assert_array_equal(fewer.support, back.support)


def test_windows_can_be_chosen():
    windows = spike_windows(some_spikes(), bin=0.01, window=0.05, past=0.15)
    some = windows[np.array([5, 2])]
    np.testing.assert_array_equal(some.counts(), windows.counts()[[5, 2]])
    np.testing.assert_array_equal(some.start, windows.start[[5, 2]])
    assert len(windows[:7]) == 7
    assert windows[:7].tokens.shape[1] <= windows.tokens.shape[1]


def test_constant_rates_are_bernoulli():
    windows = spike_windows(some_spikes(), bin=0.01, window=0.05, past=0.15)
    p = np.array([0.1, 0.2, 0.3, 0.4])
    fired = spike_windows(some_spikes(), bin=0.01, window=0.05, past=0.15).tokens[3]
    binary = np.zeros(20)
    binary[fired[fired >= 0]] = 1
    expected = bernoulli.logpmf(binary.reshape(5, 4), p).sum()
    assert windows.log_likelihood_of_rates(p)[3] == pytest.approx(expected)


def test_signals_are_cut_around_the_windows():
    signal = np.arange(600.0).reshape(300, 2)
    start = np.array([0.2, 0.25, 1.0])
    found = signal_windows(signal, 0.01, start, span=(-0.1, 0.05))
    for row, at in enumerate((20, 25, 100)):
        np.testing.assert_array_equal(found[row], signal[at - 10 : at + 5])


def test_from_an_nwb_file_and_from_pynapple(tmp_path):
    pynwb = pytest.importorskip("pynwb", reason="pynwb reads NWB files")
    spikes = some_spikes()
    file = pynwb.NWBFile("a session", "id", datetime(2024, 1, 1, tzinfo=UTC))
    for times in spikes.to_dict().values():
        file.add_unit(spike_times=times, obs_intervals=[[0.0, 3.0]])
    with pynwb.NWBHDF5IO(str(tmp_path / "a.nwb"), "w") as io:
        io.write(file)
    windows = spike_windows(spikes, bin=0.01, window=0.05, past=0.15)
    read = spike_windows(bregma.read(tmp_path / "a.nwb"), bin=0.01, window=0.05, past=0.15)
    assert torch.equal(read.tokens, windows.tokens)
    assert torch.equal(read.past, windows.past)
    pytest.importorskip("pynapple")
    group = SpikeTrains.from_pynapple(spikes.to_pynapple())
    again = spike_windows(group, bin=0.01, window=0.05, past=0.15)
    assert torch.equal(again.tokens, windows.tokens)


def test_counts_of_any_tokens():
    tokens = torch.tensor([[[0, 2, 3], [4, -1, -1]], [[-1, -1, -1], [1, 4, 7]]])
    expected = [[[2, 0, 1], [0, 1, 0]], [[0, 0, 0], [0, 3, 0]]]
    np.testing.assert_array_equal(unit_counts(tokens, 3), expected)


@pytest.mark.usefixtures("unchecked_types")
def test_what_is_wrong_is_said():
    spikes = some_spikes()
    for wrong, word in [
        ({"window": 0.025}, "window of 0.025 s"),
        ({"past": 0.0}, "past of 0 s"),
        ({"bin": 0.0}, "whole number"),
        ({"past": 5.0}, "no interval of the support"),
    ]:
        with pytest.raises(InvalidArgument, match=word):
            spike_windows(spikes, **{"bin": 0.01, "window": 0.05, "past": 0.15, **wrong})
    signal, start = np.zeros((10, 1)), np.array([0.0])
    with pytest.raises(InvalidArgument, match="does not cover"):
        signal_windows(signal, 0.01, start, span=(-0.01, 0.05))
    with pytest.raises(InvalidArgument, match="does not cover"):
        signal_windows(signal, 0.01, start, span=(0.0, 0.11))
    with pytest.raises(InvalidArgument, match="span"):
        signal_windows(signal, 0.01, start, span=(0.05, 0.0))
    with pytest.raises(InvalidArgument, match="not finite"):
        signal_windows(signal * np.nan, 0.01, start, span=(0.0, 0.05))
    windows = spike_windows(spikes)
    with pytest.raises(InvalidArgument, match="above 0 and below 1"):
        windows.log_likelihood_of_rates(np.array([0.1, 0.0, 0.1, 0.1]))
    with pytest.raises(InvalidArgument, match="n_units"):
        unit_counts(windows.tokens, 0)
