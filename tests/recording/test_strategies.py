"""Strategies draw what they promise, and much of what is odd."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, find, given, settings

from bregma.recording.strategies import dissimilarities, recordings, spike_trains

# The first that is found will do: it need not be made small.
until_found = settings(max_examples=2000, deadline=None, phases=[Phase.generate],
                       suppress_health_check=list(HealthCheck))  # fmt: skip
few = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@few
@given(
    recordings(has_time=True, max_presentations=2, max_times=3, max_units=1, dtypes=["f4"]),
    recordings(has_time=False),
)
def test_recordings_within_their_bounds(timed, plain):
    assert timed.has_time
    assert not plain.has_time
    assert timed.shape[0] <= 2
    assert timed.shape[1] <= 3
    assert timed.n_units == 1
    assert timed.values.dtype == np.float32


@few
@given(spike_trains(max_units=2, max_spikes=5, max_intervals=1, resolution=1e-3))
def test_spike_trains_within_their_bounds(spikes):
    assert spikes.n_units <= 2
    assert spikes.n_spikes <= 5
    assert len(spikes.support) == 1
    assert np.array_equal(np.round(spikes.times, 3), spikes.times)


@few
@given(dissimilarities(max_stimuli=3, max_rdms=1))
def test_dissimilarities_within_their_bounds(rdms):
    assert 2 <= rdms.n_stimuli <= 3
    assert rdms.n_rdms == 1


@pytest.mark.parametrize(
    "odd",
    [
        lambda r: r.sessions is not None and len(r.sessions) > 1,
        lambda r: any(c.dtype.kind == "M" for c in r.data.coords.values()),
        lambda r: r.has_time and len(set(np.diff(r.times).round(6))) > 1,
        lambda r: r.values.dtype == bool,
        lambda r: any(not name.isidentifier() for name in map(str, r.data.coords)),
        lambda r: r.units.index.dtype.kind == "i",
        lambda r: len(set(r.stimuli.tolist())) < r.n_presentations,
    ],
)
def test_odd_recordings_are_drawn(odd):
    assert odd(find(recordings(), odd, settings=until_found))


def test_silent_units_and_spikes_at_one_time_are_drawn():
    assert find(
        spike_trains(), lambda s: s.n_spikes > 0 and (s.counts == 0).any(), settings=until_found
    )
    assert find(spike_trains(), lambda s: (np.diff(s.times) == 0).any(), settings=until_found)
