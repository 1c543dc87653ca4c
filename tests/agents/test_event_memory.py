"""Cutting, compressing and recalling streams, against hand-worked cases and a peer library."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import structural_similarity as peer_similarity

from bregma.agents import (
    EventMemory,
    consolidate,
    event_boundaries,
    structural_similarity,
    unit_length,
)
from bregma.datasets import event_stream
from bregma.errors import InvalidArgument, UnknownName


def test_similarity_equals_that_of_scikit_image():
    """Its window of 7 x 7 on a picture of 7 x 7 is one window over the whole picture."""
    rng = np.random.default_rng(0)
    x, y = rng.random((2, 5, 7, 7))
    for k in range(5):
        peer = peer_similarity(x[k], y[k], win_size=7, data_range=1.0, use_sample_covariance=False)
        assert structural_similarity(x[k], y[k]) == pytest.approx(peer, abs=1e-10)
    assert structural_similarity(x, x) == pytest.approx(np.ones(5))


def film(*lengths, seed=0):
    rng = np.random.default_rng(seed)
    return np.concatenate([np.repeat(rng.random((1, 8, 8)), n, axis=0) for n in lengths])


def test_hard_cuts_are_found_exactly():
    assert event_boundaries(film(7, 5, 9)).tolist() == [0, 7, 12]
    assert event_boundaries(film(7, 5, 9), window=3).tolist() == [0, 7, 12]
    assert event_boundaries(film(12)).tolist() == [0]


def test_shortest_keeps_the_strongest_change_and_longest_cuts():
    assert event_boundaries(film(7, 2, 9), shortest=4).tolist() in ([0, 7], [0, 9])
    assert event_boundaries(film(10), longest=4).tolist() == [0, 4, 8]


def test_silence_begins_an_event():
    loudness = np.array([-20.0] * 5 + [-60.0] * 3 + [-20.0] * 4)
    assert event_boundaries(film(12), loudness).tolist() == [0, 5]
    assert event_boundaries(film(12), np.full(12, -20.0)).tolist() == [0]


@settings(max_examples=20)
@given(st.lists(st.integers(3, 9), min_size=2, max_size=6), st.integers(0, 5))
def test_starts_are_always_a_partition(lengths, seed):
    frames = film(*lengths, seed=seed)
    starts = event_boundaries(frames, shortest=2, longest=5)
    assert starts[0] == 0
    gaps = np.diff([*starts, len(frames)])
    assert gaps.min() >= 1
    assert gaps.max() <= 5


def test_fades_and_noise_need_windows():
    stream = event_stream(30, noise=0.3, seed=0)
    single = stream.boundary_f1(event_boundaries(stream.vision, threshold=0.5, shortest=10))
    wide = stream.boundary_f1(
        event_boundaries(stream.vision, threshold=0.75, window=5, shortest=10)
    )
    assert wide > 0.85
    assert wide > single + 0.2


def brute_consolidation(features, similarity):
    kept, owner = [], []
    for i, x in enumerate(features):
        cosines = [x @ features[j] / np.linalg.norm(x) / np.linalg.norm(features[j]) for j in kept]
        if not cosines or max(cosines) < similarity:
            kept.append(i)
            owner.append(len(kept) - 1)
        else:
            owner.append(int(np.argmax(cosines)))
    means = [features[[o == k for o in owner]].mean(axis=0) for k in range(len(kept))]
    return np.array(means), owner


@pytest.mark.parametrize("similarity", [-1.0, 0.2, 0.6, 2.0])
def test_consolidation_equals_plain_loops(similarity):
    features = np.random.default_rng(1).standard_normal((40, 4))
    found = consolidate(features, similarity)
    means, owner = brute_consolidation(features, similarity)
    assert found.owner.tolist() == owner
    assert np.allclose(found.features, means)


def test_the_same_cue_is_told_apart_by_its_event():
    """A repeated picture with other sounds: summaries tie, and detailed recall takes over."""
    sights = np.eye(3)[[0] * 4 + [1] * 4 + [0] * 4]
    sounds = np.eye(4)[[0] * 4 + [1] * 4 + [2] * 4]
    memory = EventMemory(confidence=0.1, reach=1, seeds=2)
    memory.write({"sight": sights, "sound": sounds}, np.array([0, 4, 8]))
    assert memory.size == 6
    one = memory.recall(np.eye(3)[1], "sight", "sound")
    assert (one.path, one.event, one.answer.argmax(), one.comparisons) == ("fast", 1, 1, 3)
    both = memory.recall(np.eye(3)[0], "sight", "sound")
    assert both.path == "detailed"
    assert np.allclose(both.answer, [0.5, 0, 0.5, 0])  # it was heard with both
    for k, sight in enumerate([0, 1, 0]):
        recall = memory.recall(np.eye(4)[k], "sound", "sight")
        assert (recall.event, recall.answer.argmax()) == (k, sight)


def test_detailed_recall_finds_the_moment_within_an_event():
    """Summaries blur an event of two sights; the moment of the sound tells which it was."""
    sights = np.eye(3)[[0] * 10 + [1] * 10]
    sounds = np.eye(3)[[0] * 8 + [2] * 2 + [1] * 10]
    memory = EventMemory(confidence=math.inf, reach=0, seeds=1)
    memory.write({"sight": sights, "sound": sounds}, np.array([0]))
    recall = memory.recall(np.eye(3)[2], "sound", "sight")
    assert recall.answer.tolist() == [1, 0, 0]
    fast = EventMemory(confidence=0.1)
    fast.write({"sight": sights, "sound": sounds}, np.array([0]))
    assert fast.recall(np.eye(3)[2], "sound", "sight").answer.tolist() == [0.5, 0.5, 0]


def test_a_cue_that_resembles_nothing():
    memory = EventMemory(confidence=math.inf)
    memory.write({"a": np.eye(2)[[0, 0]], "b": np.eye(2)[[1, 1]]}, np.array([0]))
    assert memory.recall(np.array([-1.0, 0.0]), "a", "b").answer.tolist() == [0, 1]


def test_questions_across_the_senses():
    stream = event_stream(20, seed=3)
    pictures = (stream.scenes - stream.vision.mean(0)).reshape(len(stream.scenes), -1)
    senses = {
        "vision": (stream.vision - stream.vision.mean(0)).reshape(len(stream), -1),
        "audio": stream.audio,
    }
    memory = EventMemory(partial(consolidate, similarity=0.3))
    memory.write(senses, stream.starts)
    pictures /= np.linalg.norm(pictures, axis=1, keepdims=True)
    answers = [memory.recall(sound, "audio", "vision").answer for sound in stream.sounds]
    right = [(pictures @ a).argmax() == s for a, s in zip(answers, stream.scene, strict=True)]
    assert np.mean(right) > 0.9 > stream.chance
    assert memory.size < 0.2 * 2 * len(stream)


def test_embeddings_of_a_torch_encoder():
    """Any encoder's features will do: here a randomly initialised network over real frames."""
    torch = pytest.importorskip("torch")
    stream = event_stream(8, noise=0.1, seed=0)
    torch.manual_seed(0)
    encoder = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 16), torch.nn.Tanh())
    with torch.no_grad():
        embedded = encoder(torch.as_tensor(stream.vision - 0.3).float()).double().numpy()
    memory = EventMemory(partial(consolidate, similarity=0.9))
    memory.write({"vision": embedded, "audio": stream.audio}, stream.starts)
    events = [memory.recall(sound, "audio", "vision").event for sound in stream.sounds]
    assert events == list(range(8))


@pytest.mark.parametrize(
    "wish",
    [
        lambda: event_boundaries(film(1)),
        lambda: event_boundaries(np.full((4, 8, 8), np.nan)),
        lambda: event_boundaries(film(5), window=3),
        lambda: event_boundaries(film(5), shortest=3, longest=2),
        lambda: event_boundaries(film(5), np.full(5, np.nan)),
        lambda: structural_similarity(film(1)[0], film(1)[0], data_range=0.0),
        lambda: consolidate(np.zeros((2, 2))),
        lambda: unit_length(np.full((1, 2), np.nan)),
        lambda: EventMemory(seeds=0),
        lambda: EventMemory().write({}, np.array([0])),
        lambda: EventMemory().write({"a": np.ones((3, 2))}, np.array([1])),
        lambda: EventMemory().write({"a": np.ones((3, 2))}, np.array([0, 3])),
        lambda: EventMemory().write({"a": np.ones((3, 2)), "b": np.ones((2, 2))}, np.array([0])),
    ],
)
def test_impossible_wishes(wish):
    with pytest.raises(InvalidArgument):
        wish()


def test_wrong_cues():
    memory = EventMemory()
    memory.write({"sight": np.ones((3, 2))}, np.array([0]))
    with pytest.raises(UnknownName, match="sight"):
        memory.recall(np.ones(2), "sigth", "sight")
    with pytest.raises(InvalidArgument):
        memory.recall(np.ones(3), "sight", "sight")
    with pytest.raises(InvalidArgument):
        memory.recall(np.zeros(2), "sight", "sight")
