"""The contract of recordings: every format that can be written gives back exactly what it got."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

import bregma
from bregma.recording import Recording, SpikeTrains
from bregma.recording.strategies import dissimilarities, recordings, spike_trains

NEEDS = {".zarr": "zarr", ".nc": "h5netcdf", ".nwb": "pynwb"}
FORMATS = {
    "recording": [".zarr", ".nc", ".nwb"],
    "spikes": [".nwb"],
    "dissimilarity": [".zarr", ".nc"],
}

thorough = settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.too_slow])


def there_and_back(thing, suffix):
    pytest.importorskip(NEEDS[suffix], reason=f"{suffix} needs it")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"thing{suffix}"
        thing.save(path)
        again = bregma.read(path)
        if isinstance(again, Recording):
            again = again.load()
        assert [entry.name for entry in Path(folder).iterdir()] == [path.name]
        return again


@pytest.mark.parametrize("suffix", FORMATS["recording"])
@thorough
@given(recording=recordings())
def test_recordings_come_back_identical(suffix, recording):
    again = there_and_back(recording, suffix)
    assert again.identical(recording)
    assert again.content_hash() == recording.content_hash()
    assert again.units.dtypes.equals(recording.units.dtypes)


@pytest.mark.parametrize("suffix", FORMATS["spikes"])
@thorough
@given(spikes=spike_trains())
def test_spike_trains_come_back_identical(suffix, spikes):
    again = there_and_back(spikes, suffix)
    assert again.identical(spikes)
    assert again.units.dtypes.equals(spikes.units.dtypes)


@pytest.mark.parametrize("suffix", FORMATS["dissimilarity"])
@thorough
@given(rdms=dissimilarities())
def test_dissimilarities_come_back_identical(suffix, rdms):
    assert there_and_back(rdms, suffix).identical(rdms)


@thorough
@given(spikes=spike_trains(resolution=1e-9))
def test_spike_trains_through_pynapple(spikes):
    pytest.importorskip("pynapple", reason="pynapple is the other side")
    again = SpikeTrains.from_pynapple(spikes.to_pynapple())
    assert again.identical(spikes)


@thorough
@given(recording=recordings())
def test_what_is_drawn_is_a_recording(recording):
    again = Recording(
        recording.data, measured_in=recording.measured_in, sessions=recording.sessions
    )
    assert again.identical(recording)
    assert recording.content_hash() == again.content_hash()


@thorough
@given(spikes=spike_trains())
def test_spikes_in_bins_are_all_there(spikes):
    for start, stop in spikes.support:
        width = stop - start
        part = spikes.restrict((start, stop))
        counted = part.bin(width, (start, stop))
        part = part.restrict((start, start + width))  # rounded, the bin may end before the interval
        assert counted.values.sum() == part.n_spikes
        assert np.array_equal(counted.values[0, 0], part.counts)
