"""RDM movies against rsatoolbox and one RDM at a time."""

from __future__ import annotations

import numpy as np
import pytest

from bregma.errors import InvalidArgument
from bregma.geometry import (
    CorrelationDistance,
    CrossnobisDistance,
    EuclideanDistance,
    rdm,
    rdm_movie,
)
from bregma.geometry import _movie as movie_module
from bregma.recording import Recording

TIMES = np.arange(20) / 100 - 0.05


@pytest.fixture
def epochs():
    rng = np.random.default_rng(0)
    return Recording.from_array(
        rng.standard_normal((24, 20, 7)),
        unit={"area": ["V1"] * 3 + ["IT"] * 4},
        presentation={"stimulus": np.tile(list("abcdef"), 4), "repeat": np.repeat(range(4), 6)},
        time=TIMES,
    )


@pytest.mark.parametrize("method", ["euclidean", "correlation"])
def test_equals_rsatoolbox(epochs, method):
    rsatoolbox = pytest.importorskip("rsatoolbox", reason="the peer is not installed")
    data = rsatoolbox.data.TemporalDataset(
        np.ascontiguousarray(epochs.values.transpose(0, 2, 1)),
        obs_descriptors={"stimulus": epochs.stimuli.tolist()},
        time_descriptors={"time": TIMES.tolist()},
    )
    expected = rsatoolbox.rdm.calc_rdm_movie(data, method, descriptor="stimulus")
    distance = EuclideanDistance() if method == "euclidean" else CorrelationDistance()
    found = rdm_movie(epochs, distance)
    np.testing.assert_allclose(found.values, expected.dissimilarities, rtol=1e-8)
    np.testing.assert_array_equal(found.rdms["time"], TIMES)


@pytest.mark.parametrize(
    "distance", [CorrelationDistance(), CrossnobisDistance(), CrossnobisDistance("ledoit_wolf")]
)
def test_each_window_is_the_rdm_of_its_mean(epochs, distance):
    found = rdm_movie(epochs, distance, window=0.05, step=0.02)
    starts = TIMES[0] + 0.02 * np.arange(found.n_rdms)
    assert found.n_rdms == 8
    for row, start in zip(found.values, starts, strict=True):
        part = epochs.mean_time((start - 1e-6, start + 0.0499))
        np.testing.assert_allclose(row, rdm(part, distance).values[0], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.rdms["time"], starts + 0.02)


def test_windows_touch_without_sharing_samples(epochs):
    found = rdm_movie(epochs, window=0.05)
    np.testing.assert_allclose(found.rdms["time"], [-0.03, 0.02, 0.07])  # 19 steps hold 3 windows


def test_one_movie_for_each_label(epochs):
    found = rdm_movie(epochs, by="area")
    assert found.n_rdms == 40
    assert list(found.rdms) == ["area", "time"]
    one = rdm_movie(epochs.select(area="IT"))
    np.testing.assert_allclose(found.select(area="IT").values, one.values, rtol=1e-12)


@pytest.mark.parametrize("window", [None, 0.03])
def test_blocks_of_time_change_nothing(epochs, window, monkeypatch):
    whole = rdm_movie(epochs, window=window)
    monkeypatch.setattr(movie_module, "BLOCK", 1)
    np.testing.assert_allclose(rdm_movie(epochs, window=window).values, whole.values, rtol=1e-13)


def test_messages_say_what_to_do(epochs):
    with pytest.raises(InvalidArgument, match=r"rdm\(recording"):
        rdm_movie(epochs.mean_time())
    with pytest.raises(InvalidArgument, match="needs a window"):
        rdm_movie(epochs, step=0.1)
    with pytest.raises(InvalidArgument, match="do not fit"):
        rdm_movie(epochs, window=1.0)
    with pytest.raises(InvalidArgument, match="do not fit"):
        rdm_movie(epochs, window=0.05, step=0.0)
    gap = epochs.select(time=lambda t: (t < 0) | (t > 0.1))
    with pytest.raises(InvalidArgument, match="no sample"):
        rdm_movie(gap, window=0.03)
