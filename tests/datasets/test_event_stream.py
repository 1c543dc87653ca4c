"""The stream is made of the events that it names."""

import numpy as np
import pytest

from bregma.datasets import event_stream
from bregma.errors import InvalidArgument


def test_without_noise_frames_are_their_scenes():
    stream = event_stream(20, noise=0.0, sound_noise=0.0, fade=5, seed=0)
    ends = np.append(stream.starts[1:], len(stream))
    for k, (start, end) in enumerate(zip(stream.starts, ends, strict=True)):
        assert 15 <= end - start <= 60
        inside = slice(start + 3, end - 3)
        assert (stream.vision[inside] == stream.scenes[stream.scene[k]]).all()
        assert (stream.audio[inside] == stream.sounds[stream.sound[k]]).all()
    t = stream.starts[1]
    before, after = stream.scenes[stream.scene[0]], stream.scenes[stream.scene[1]]
    share = [
        ((stream.vision[i] - before) * (after - before)).sum() / ((after - before) ** 2).sum()
        for i in range(t - 3, t + 4)
    ]
    assert np.allclose(share, [0, 0.2, 0.4, 0.6, 0.8, 1, 1])


def test_a_fifth_is_seen_again_but_not_at_once():
    stream = event_stream(40, seed=1)
    assert np.bincount(stream.scene).tolist().count(2) == 8
    assert (np.diff(stream.scene) != 0).all()
    assert len(set(stream.sound)) == 40
    assert stream.chance == 2 / 40


def test_boundary_f1_by_hand():
    stream = event_stream(4, seed=0)
    true = stream.starts
    assert stream.boundary_f1(true) == 1
    assert stream.boundary_f1(true[:1]) == 0
    assert stream.boundary_f1(np.array([0, true[1] + 3, true[2] + 4])) == pytest.approx(2 / 5)
    twice = np.array([true[1] - 1, true[1], true[2], true[3]])
    assert stream.boundary_f1(twice) == pytest.approx(6 / 7)


def test_only_the_seed_decides():
    assert np.array_equal(event_stream(5, seed=2).vision, event_stream(5, seed=2).vision)
    assert not np.array_equal(event_stream(5, seed=2).sounds, event_stream(5, seed=3).sounds)


@pytest.mark.parametrize(
    "wish", [{"n_events": 2}, {"fade": 0}, {"longest": 3}, {"repeated": 0.6}, {"noise": -1.0}]
)
def test_impossible_wishes(wish):
    with pytest.raises(InvalidArgument):
        event_stream(**{"n_events": 10, "seed": 0} | wish)
