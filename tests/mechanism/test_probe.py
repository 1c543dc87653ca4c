"""Probes are compared with scikit-learn on its own and with planted codes."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import balanced_accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from bregma.errors import InvalidArgument, NotIdentifiable, UnknownName
from bregma.mechanism import probe
from bregma.recording import Recording
from bregma.system import TorchSystem, untrained


def rng(seed=0):
    return np.random.default_rng(seed)


def two_areas(n=90, seed=0):
    """Area A tells which of three conditions it is, along one axis each; area B nothing."""
    r = rng(seed)
    condition = np.repeat([0, 1, 2], n // 3)
    a = 2.0 * np.eye(3, 5)[condition] + r.standard_normal((n, 5))
    values = np.concatenate([a * [1, 10, 1, 1, 1], r.standard_normal((n, 4))], 1)
    return Recording.from_array(
        values,
        unit={"unit": [f"u{i}" for i in range(9)], "area": ["A"] * 5 + ["B"] * 4},
        presentation={
            "stimulus": np.arange(n).astype(str),
            "condition": np.array(["x", "y", "z"])[condition],
            "session": np.tile(np.arange(n // 3 // 3).repeat(3), 3).astype(str),
        },
        name="two areas",
    )


def test_as_scikit_learn_on_the_same_folds():
    r = two_areas()
    found = probe(r, "condition", groups="session", penalties=[5.0], seed=0)
    assert found.sites == ("A", "B")
    y = r.coordinate("condition")
    for i, area in enumerate(found.sites):
        x, predicted = r.select(area=area).values, np.empty(len(y), dtype=object)
        for split in found.task.splits:
            model = LogisticRegression(C=1 / 5.0, class_weight="balanced", max_iter=5000, tol=1e-8)
            fitted = make_pipeline(StandardScaler(), model).fit(x[split.train], y[split.train])
            predicted[split.test] = fitted.predict(x[split.test])
        assert (predicted == found.predictions[i]).mean() > 0.98  # but for what is at the edge
        wanted = balanced_accuracy_score(y, found.predictions[i])
        assert found.score[i] == pytest.approx(wanted, abs=1e-12)
    table = found.to_frame()
    assert table["score"][0] > 0.7
    assert table["low"][0] > 1 / 3
    assert table["low"][1] < 1 / 3 < table["high"][1]


def test_groups_are_never_on_both_sides():
    r = two_areas()
    found = probe(r, "condition", groups="session", seed=0)
    sessions = r.coordinate("session")
    tested = []
    for split in found.task.splits:
        assert not set(sessions[split.train]) & set(sessions[split.test])
        inner = sessions[split.train]
        assert not set(inner[split.choosing]) & set(inner[~split.choosing])
        tested += split.test.tolist()
    assert sorted(tested) == list(range(90))


def test_numbers_with_more_units_than_presentations():
    r = rng()
    x = r.standard_normal((40, 120))
    y = x @ r.standard_normal(120) / 10 + 0.1 * r.standard_normal(40)
    found = probe(Recording.from_array(x), y, penalties=[30.0], seed=0)
    predicted, mean = np.empty(40), np.empty(40)
    for split in found.task.splits:
        fitted = make_pipeline(StandardScaler(), Ridge(alpha=30.0)).fit(
            x[split.train], y[split.train]
        )
        predicted[split.test], mean[split.test] = (
            fitted.predict(x[split.test]),
            y[split.train].mean(),
        )
    np.testing.assert_allclose(found.predictions[0], predicted, atol=1e-9)
    assert found.score[0] == pytest.approx(
        1 - ((y - predicted) ** 2).sum() / ((y - mean) ** 2).sum()
    )
    whole = make_pipeline(StandardScaler(), Ridge(alpha=30.0)).fit(x, y)
    direction = whole[1].coef_ / whole[0].scale_
    np.testing.assert_allclose(found.direction(), direction / np.linalg.norm(direction), atol=1e-9)


def test_the_penalty_is_chosen_among_the_training_rows():
    r = rng()
    x = r.standard_normal((60, 30))
    noise, clear = r.standard_normal(60), x[:, 0]
    recording = Recording.from_array(x)
    large, small = (
        probe(recording, y, penalties=[1e-3, 1e4], seed=0).penalty for y in (noise, clear)
    )
    assert np.median(large) == 1e4
    assert np.median(small) == 1e-3
    # What is held out has no say: other targets there, the same choice.
    first = probe(recording, noise, penalties=[1e-3, 1.0, 1e4], seed=0)
    held = first.task.splits[0].test
    other = noise.copy()
    other[held] = 50 * x[held, 0]
    again = probe(recording, other, penalties=[1e-3, 1.0, 1e4], seed=0)
    assert again.penalty[0, 0] == first.penalty[0, 0]
    np.testing.assert_array_equal(again.predictions[0][held], first.predictions[0][held])


def words(seed=0, n_sentences=60, n_words=8):
    """Words in sentences: one layer has the word itself, another its part of speech."""
    r = rng(seed)
    word = r.integers(n_words, size=(n_sentences, 4))
    speech = (np.arange(n_words) % 2)[word]
    identity = 3.0 * np.eye(n_words)[word.ravel()] + 0.3 * r.standard_normal((word.size, n_words))
    abstract = 3.0 * speech.reshape(-1, 1) + 0.3 * r.standard_normal((word.size, n_words))
    return Recording.from_array(
        np.concatenate([identity, abstract], 1),
        unit={
            "unit": [f"{k}{i}" for k in "ia" for i in range(n_words)],
            "layer": ["identity"] * n_words + ["abstract"] * n_words,
        },
        presentation={
            "stimulus": np.arange(word.size).astype(str),
            "sentence": np.arange(n_sentences).repeat(4).astype(str),
            "word": word.ravel().astype(str),
            "speech": speech.ravel().astype(str),
        },
    )


def test_selectivity_tells_knowing_from_learning():
    found = probe(words(), "speech", groups="sentence", items="word", n_control=5, seed=0)
    identity, abstract = found.to_frame().to_dict("records")
    assert identity["score"] > 0.95  # both layers allow for it
    assert abstract["score"] > 0.95
    assert identity["control"] > 0.95  # but one of them for anything
    assert identity["selectivity"] < 0.05
    assert abstract["selectivity"] > 0.25
    task = found.task
    for control in task.controls(3):
        per_item = pd.Series(control).groupby(task.items).nunique()
        assert (per_item == 1).all()


def test_a_control_task_of_unique_items_cannot_be_learned():
    found = probe(two_areas(), "condition", groups="session", n_control=5, seed=1)
    np.testing.assert_allclose(found.control.mean(1), 1 / 3, atol=0.1)


def test_directions_of_labels():
    r = two_areas(630)
    found = probe(r, "condition", groups="session", seed=0)
    for label, unit in (("x", 0), ("y", 1), ("z", 2)):
        scaled = found.direction("A", label) * r.select(area="A").values.std(0)
        assert np.argmax(scaled) == unit
        assert np.linalg.norm(found.direction("A", label)) == pytest.approx(1)
    two = r.data.isel(presentation=np.flatnonzero(r.coordinate("condition") != "z"))
    pair = probe(Recording(two), "condition", seed=0)
    np.testing.assert_allclose(pair.direction("A"), pair.direction("A", "y"))
    np.testing.assert_allclose(pair.direction("A"), -pair.direction("A", "x"))


def test_evidence_of_an_animal():
    found = probe(two_areas(), "condition", groups="session", penalties=[10.0], seed=0)
    assert not found.task.one_each  # all conditions in each session
    evidence = found.evidence(n=9, level=0.9, seed=0)
    assert evidence.p_value == 0.1
    assert "same group" in evidence.null.exchanged
    assert evidence.null.n_arrangements == pytest.approx(math.factorial(9) ** 10)
    assert evidence.system_null is None
    assert evidence.score == found.score.max() in evidence.interval
    assert evidence.settings["site"] == "A"
    assert found.evidence(n=9, level=0.9, seed=0) == evidence
    again = probe(two_areas(), "condition", groups="session", penalties=[10.0], seed=0)
    np.testing.assert_array_equal(again.control, found.control)
    other = probe(two_areas(), "condition", groups="session", seed=1)
    assert not np.array_equal(other.control, found.control)


def test_targets_of_groups_are_exchanged_whole():
    r = rng()
    stimulus = np.arange(24).repeat(3)
    label = (np.arange(24) % 2)[stimulus].astype(str)
    # Every stimulus has a pattern of its own, which says nothing about the label.
    x = 3 * r.standard_normal((24, 40))[stimulus] + 0.1 * r.standard_normal((72, 40))
    recording = Recording.from_array(x, presentation={"stimulus": stimulus.astype(str)})
    found = probe(recording, label, seed=0)
    assert found.task.one_each
    assert found.task.n_arrangements == pytest.approx(math.factorial(24))
    drawn = found.task.exchanged(rng(1))
    assert pd.Series(drawn).groupby(stimulus).nunique().eq(1).all()
    assert drawn.sum() == found.task.y.sum()
    assert not np.array_equal(drawn, found.task.y)
    naive = probe(recording, label, groups=np.arange(72), seed=0)
    assert naive.score[0] > found.score[0] + 0.15  # repeats on both sides give labels away


def test_twins_of_a_network():
    g = torch.Generator().manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(12, 6), torch.nn.Tanh())
    x = torch.randn(80, 12, generator=g)
    label = (x[:, 0] * x[:, 1] > 0).numpy()  # no line tells it
    with torch.no_grad():
        net[0].weight.zero_()
        net[0].weight[:2, :2] = torch.tensor([[3.0, 3.0], [3.0, -3.0]])
        net[0].bias.fill_(-2.0)
        net[0].weight[2:4, :2] = -net[0].weight[:2, :2]
    system = TorchSystem(net, ["0", "1"])
    found = probe(system.record(x), label, penalties=[1.0], n_control=1, seed=0)
    assert found.sites == ("0", "1")
    assert found.score[1] > 0.8 > found.score[0] + 0.1
    twins = [twin.record(x) for twin in untrained(system, seeds=range(9))]
    evidence = found.evidence(twins=twins, n=9, level=0.9, seed=0)
    assert evidence.system_null.p_value == 0.1
    with pytest.raises(InvalidArgument, match="same stimuli"):
        found.evidence(twins=[system.record(x[:40])] * 19, n=19, seed=0)
    with pytest.raises(NotIdentifiable, match="at least 19"):
        found.evidence(twins=twins[:3], n=19, seed=0)


def test_p_values_of_nothing_are_even():
    ps = []
    for seed in range(30):
        r = rng(seed)
        recording = Recording.from_array(r.standard_normal((24, 3)))
        y = r.standard_normal(24)
        found = probe(recording, y, penalties=[10.0], folds=3, n_control=1, seed=seed)
        ps.append(found.evidence(n=9, level=0.9, seed=seed).p_value)
    assert np.mean(np.array(ps) <= 0.2) < 0.4  # 6 expected, 12 at most
    assert 0.35 < np.mean(ps) < 0.75


def test_the_figure():
    figure = probe(two_areas(), "condition", seed=0).plot()
    assert [trace.name for trace in figure.data] == ["score", "control"]
    assert list(figure.data[0].x) == ["A", "B"]


def over_time():
    return Recording.from_array(np.ones((4, 3, 2)), time=np.arange(3) / 10)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda r: probe(over_time(), [0, 1, 0, 1], seed=0), InvalidArgument, "mean_time"),
        (lambda r: probe(r, "nothing", seed=0), UnknownName, "nothing"),
        (lambda r: probe(r, "area", seed=0), InvalidArgument, "presentations"),
        (lambda r: probe(r, [0, 1], seed=0), InvalidArgument, "one value for each of 90"),
        (lambda r: probe(r, np.zeros(90, int), seed=0), NotIdentifiable, "nothing to predict"),
        (lambda r: probe(r, np.full(90, np.nan), seed=0), InvalidArgument, "NaN"),
        (lambda r: probe(r, "condition", sites="session", seed=0), InvalidArgument, "of units"),
        (lambda r: probe(r, "condition", folds=1, seed=0), InvalidArgument, "2 or more"),
        (lambda r: probe(r, "condition", groups=np.arange(90) % 2, seed=0), NotIdentifiable,
         "2 groups"),
        (lambda r: probe(r, "condition", groups=np.arange(90) % 3, folds=2, seed=0),
         NotIdentifiable, "at least 4"),
        (lambda r: probe(r, "condition", items=np.zeros(90), seed=0), NotIdentifiable, "2 items"),
        (lambda r: probe(r, "condition", penalties=[0.0], seed=0), InvalidArgument, "above 0"),
        (lambda r: probe(r, "condition", penalties=[], seed=0), InvalidArgument, "above 0"),
        (lambda r: probe(r, "condition", seed=0).direction("C"), UnknownName, "C"),
        (lambda r: probe(r, "condition", seed=0).direction("A"), InvalidArgument, "which label"),
        (lambda r: probe(r, "condition", seed=0).direction("A", "w"), UnknownName, "w"),
        (lambda r: probe(r, rng().standard_normal(90), seed=0).direction("A", "w"),
         InvalidArgument, "a number"),
        (lambda r: probe(r, "condition", seed=0).to_frame(level=0.0), InvalidArgument, "level"),
        (lambda r: probe(r, "condition", seed=0).evidence(n=3, seed=0), NotIdentifiable,
         "at least"),
    ],
)  # fmt: skip
def test_bad_probes(call, error, message):
    with pytest.raises(error, match=message):
        call(two_areas())
