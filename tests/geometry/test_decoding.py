"""Decoding over time against explicit discriminants, and its calibration."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from bregma.errors import InvalidArgument, NotIdentifiable
from bregma.evidence import bibtex
from bregma.geometry import _decoding as module
from bregma.geometry import crossnobis_distance, decode_over_time, residual_covariance
from bregma.geometry._discriminant import arrangement_scores
from bregma.recording import Recording, read


def epochs(seed=0, n=60, times=12, units=5, classes=2, effect=0.0):
    rng = np.random.default_rng(seed)
    label = np.arange(n) % classes
    values = rng.standard_normal((n, times, units))
    values[:, 5:9] += effect * label[:, None, None]
    return Recording.from_array(
        values,
        presentation={"kind": np.array(["left", "right", "up"])[label]},
        time=np.arange(times) / 100,
    )


def explicit(x, label, fold, n_classes, method):
    """Discriminants from the definition: means, residuals, their shrunk covariance, its inverse."""
    correct, distances = np.zeros(n_classes), []
    for f in range(fold.max() + 1):
        train, test = fold != f, fold == f
        means = np.stack([x[train & (label == c)].mean(0) for c in range(n_classes)])
        residuals = x[train] - means[label[train]]
        inverse = np.linalg.inv(residual_covariance(residuals, dof=int(train.sum()) - n_classes))
        if method == "lda":
            g = x[test] @ inverse @ means.T - np.einsum("cu,uv,cv->c", means, inverse, means) / 2
            for c in range(n_classes):
                correct[c] += (g.argmax(1) == label[test])[label[test] == c].sum()
        else:
            held = np.stack([x[test & (label == c)].mean(0) for c in range(n_classes)])
            distances.append(np.mean([
                (held[a] - held[b]) @ inverse @ (means[a] - means[b])
                for a in range(n_classes) for b in range(n_classes) if a != b
            ]) / x.shape[1])  # fmt: skip
    return (correct / np.bincount(label)).mean() if method == "lda" else np.mean(distances)


@pytest.mark.parametrize("method", ["lda", "crossnobis"])
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("units", [1, 6, 50])
def test_every_arrangement_equals_the_explicit_discriminant(method, classes, units):
    rng = np.random.default_rng(1)
    x = rng.standard_normal((33, units)) + 3
    label = rng.permutation(np.arange(33) % classes)
    x[label == 0] += 0.5
    fold = module._stratified(label, 3, rng)
    labels = np.stack([label, *(label[module._within_folds(fold, rng)] for _ in range(4))])
    found = arrangement_scores(x, labels, fold, classes, method)
    expected = [explicit(x, row, fold, classes, method) for row in labels]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_crossnobis_of_two_conditions_is_the_crossnobis_distance():
    recording = epochs(seed=9, n=24, times=1)
    found = decode_over_time(
        recording, "kind", method="crossnobis", folds=3, n_permutations=19, seed=2
    )
    label = np.unique(recording.coordinate("kind"), return_inverse=True)[1]
    fold = module._stratified(label, 3, np.random.default_rng(2))
    values = recording.values[:, 0]
    expected = crossnobis_distance(values, label, fold, "ledoit_wolf")
    np.testing.assert_allclose(found.score, expected, rtol=1e-8)


@pytest.mark.parametrize("method", ["lda", "crossnobis"])
def test_finds_the_planted_times(method):
    found = decode_over_time(epochs(effect=1.5), "kind", method=method, seed=0)
    assert np.flatnonzero(found.significant).tolist() == [5, 6, 7, 8]
    assert found.classes == ("left", "right")
    assert found.n == {"left": 30, "right": 30, "folds": 5, "permutations": 200, "times": 12}
    assert "can be told apart at 0.05 to 0.08 s" in found.sentence
    assert found.sentence in repr(found)
    assert found.chance == (0.5 if method == "lda" else 0)
    frame = found.to_frame()
    assert list(frame) == ["time", "score", "low", "high", "p_value", "p_pointwise"]
    assert (frame["p_value"] >= frame["p_pointwise"]).all()
    assert (frame["score"][5:9] > found.threshold).all()
    assert bibtex(found.citations)
    assert "same fold" in found.exchanged


def test_nothing_planted_reads_so():
    found = decode_over_time(epochs(seed=3, classes=3), "kind", n_permutations=99, seed=0)
    assert "cannot be told apart at any time" in found.sentence
    assert found.chance == pytest.approx(1 / 3)
    assert abs(found.null.mean() - 1 / 3) < 0.03


def test_distance_is_unbiased_and_of_the_planted_size():
    rng = np.random.default_rng(4)
    planted, found = 0.5, []
    for seed in range(150):
        label = np.arange(40) % 2
        values = rng.standard_normal((40, 2, 3))
        values[:, 1] += np.sqrt(planted) * label[:, None]
        recording = Recording.from_array(
            values, presentation={"stimulus": label}, time=np.arange(2.0)
        )
        found.append(decode_over_time(
            recording, method="crossnobis", n_permutations=19, seed=seed
        ).score)  # fmt: skip
    mean, error = np.mean(found, 0), np.std(found, 0) / np.sqrt(len(found))
    assert abs(mean[0]) < 4 * error[0]
    assert planted == pytest.approx(mean[1], rel=0.1)  # the precision itself is an estimate


@pytest.mark.parametrize(("method", "lowest"), [("lda", 0.0), ("crossnobis", 0.01)])
def test_false_times_come_at_the_asked_rate(method, lowest):
    """100 simulations: 5 % lies between 1 % and 10 % with a chance above 0.98."""
    runs = [
        decode_over_time(
            epochs(100 + s, n=32, times=6, units=4), "kind", method=method, folds=4,
            n_permutations=39, seed=s,
        )
        for s in range(100)
    ]  # fmt: skip
    false = np.mean([run.significant.any() for run in runs])
    assert lowest <= false <= 0.1
    if method == "crossnobis":  # accuracies tie, which makes their p-values larger than uniform
        p = np.array([run.p_pointwise[3] for run in runs])
        spread = np.random.default_rng(0).uniform(0, 1 / 40, len(p))
        assert stats.kstest(p - spread, "uniform").pvalue > 0.01


def test_the_seed_is_all_that_is_random():
    recording = epochs(seed=5)
    np.random.seed(0)  # noqa: NPY002
    first = decode_over_time(recording, "kind", n_permutations=19, seed=7)
    np.random.seed(1)  # noqa: NPY002
    again = decode_over_time(recording, "kind", n_permutations=19, seed=7)
    other = decode_over_time(recording, "kind", n_permutations=19, seed=8)
    np.testing.assert_array_equal(first.null, again.null)
    assert not np.array_equal(first.null, other.null)


def test_windows_average_before_decoding():
    recording = epochs(effect=1.0)
    found = decode_over_time(recording, "kind", window=0.03, n_permutations=19, seed=0)
    np.testing.assert_allclose(found.times, [0.01, 0.04, 0.07])


def test_messages_say_what_to_do():
    recording = epochs()
    with pytest.raises(InvalidArgument, match="needs epochs with time"):
        decode_over_time(recording.mean_time(), seed=0)
    with pytest.raises(NotIdentifiable, match="nothing can be told apart"):
        decode_over_time(recording.select(kind="left"), "kind", seed=0)
    with pytest.raises(NotIdentifiable, match="1 epochs of stimulus=0"):
        decode_over_time(recording, seed=0)
    with pytest.raises(NotIdentifiable, match="use at least 19"):
        decode_over_time(recording, "kind", n_permutations=5, seed=0)
    few = recording.select(presentation=np.arange(4))
    with pytest.raises(NotIdentifiable, match="in 4 ways"):
        decode_over_time(few, "kind", folds=2, seed=0)
    with pytest.raises(InvalidArgument, match="folds at least 2"):
        decode_over_time(recording, "kind", folds=1, seed=0)
    with pytest.raises(InvalidArgument, match="labels units"):
        decode_over_time(recording.assign(area=("unit", ["V1"] * 5)), "area", seed=0)
    silent = recording.with_values(recording.values * (np.arange(12) > 0)[:, None])
    with pytest.raises(InvalidArgument, match="no unit varies"):
        decode_over_time(silent, "kind", seed=0)
    import inspect

    with pytest.raises(InvalidArgument, match="one of"):
        inspect.unwrap(decode_over_time)(recording, "kind", method="svm", seed=0)


def test_real_epochs_of_two_event_types(shared_data):
    pytest.importorskip("mne", reason="the reader is not installed")
    recording = read(
        shared_data / "eeg" / "eeglab_data.set", events=["square", "rt"], window=(-0.2, 0.6),
        high_pass=0.5, low_pass=20, picks="eeg", outside="drop",
    )  # fmt: skip
    found = decode_over_time(recording, window=0.05, n_permutations=39, seed=0)
    assert found.classes == ("rt", "square")
    assert found.significant.any()
    assert found.score.max() > 0.7
