"""Evidence never holds what is not a number, and says what is wrong instead."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from example_evidence import evidence_set

from bregma.errors import InvalidArgument, UnknownName
from bregma.evidence import Ceiling, EvidenceSet, Interval, Null


@pytest.mark.parametrize(
    ("low", "high", "level", "kind"),
    [(0, math.nan, 0.95, "t"), (1, 0, 0.95, "t"), (0, 1, 1.0, "t"), (0, 1, 0.95, " ")],
)
def test_an_interval_is_finite_ordered_and_explained(low, high, level, kind):
    with pytest.raises(InvalidArgument):
        Interval(float(low), float(high), level, kind)


def test_an_interval_holds_its_ends():
    interval = Interval(0.0, 1.0, 0.95, "t")
    assert 0.0 in interval
    assert 1.0 in interval
    assert 1.01 not in interval


@pytest.mark.parametrize(
    "change",
    [
        {"values": np.array([])},
        {"values": np.array([0.0, math.inf])},
        {"exchanged": ""},
        {"n_arrangements": 0.5},
        {"n_arrangements": math.nan},
        {"p_value": 0.0},
        {"p_value": 1.5},
        {"p_value": math.nan},
    ],
)
def test_a_null_is_complete(change):
    parts = {"values": np.zeros(3), "exchanged": "a with b", "n_arrangements": 6.0, "p_value": 0.5}
    Null(**parts)
    with pytest.raises(InvalidArgument):
        Null(**{**parts, **change})


def test_a_null_cannot_be_changed_and_knows_its_smallest_p():
    source = np.array([0.1, 0.2, 0.3])
    null = Null.of(0.25, source, exchanged="a with b", n_arrangements=24)
    source[:] = 9
    assert null.values.tolist() == [0.1, 0.2, 0.3]
    assert null.p_value == 0.5
    assert null.smallest_p == 0.25  # three draws
    assert Null.of(9.0, np.zeros(99), exchanged="x", n_arrangements=6).smallest_p == 1 / 6
    many = Null.of(9.0, np.zeros(99), exchanged="x", n_arrangements=10**400)
    assert (many.n_arrangements, many.smallest_p) == (np.inf, 1 / 100)
    with pytest.raises(ValueError, match="read-only"):
        null.values[0] = 1
    assert null != 3
    with pytest.raises(TypeError):
        hash(null)


@pytest.mark.parametrize(
    "change",
    [
        {"lower": math.nan},
        {"lower": 0.9},
        {"kind": ""},
        {"formula": ""},
        {"p_value": 0.0},
    ],
)
def test_a_ceiling_is_complete(change):
    parts = {"lower": 0.5, "upper": 0.6, "kind": "reliability", "formula": "halves"}
    Ceiling(**parts)
    with pytest.raises(InvalidArgument):
        Ceiling(**{**parts, **change})


@pytest.mark.parametrize(
    "change",
    [
        {"score": math.nan},
        {"question": ""},
        {"model": " "},
        {"per_subject": (0.1, math.inf)},
        {"normalised": None},
        {"normalised": math.inf},
        {"ceiling": None},
        {"n": {"stimuli": -1}},
        {"settings": {"x": math.nan}},
        {"settings": {"x": object()}},
    ],
)
def test_evidence_is_complete(evidences, change):
    with pytest.raises(InvalidArgument):
        dataclasses.replace(evidences[0], **change)


def test_evidence_without_a_share_says_why(evidences):
    without = {"normalised": None, "normalised_interval": None, "ceiling": None}
    with pytest.raises(InvalidArgument, match="ceiling_reason"):
        dataclasses.replace(evidences[0], **without)
    kept = dataclasses.replace(evidences[0], **without, ceiling_reason="one subject only")
    assert kept.to_frame()["normalised"].isna().all()
    assert "one subject only" not in str(kept)


def test_unknown_sources_are_refused_with_the_nearest(evidences):
    with pytest.raises(UnknownName, match="holm1979"):
        dataclasses.replace(evidences[0], citations=("holm1978",))


def test_settings_are_copied_into_what_json_can_hold(evidences):
    settings = {"a": (1, np.float64(2.5)), 3: np.arange(2), "b": {"c": None, "d": True}}
    stored = dataclasses.replace(evidences[0], settings=settings).settings
    assert stored == {"a": [1, 2.5], "3": [0, 1], "b": {"c": None, "d": True}}


def test_frozen(evidences):
    with pytest.raises(dataclasses.FrozenInstanceError):
        evidences[0].score = 1.0


def test_a_score_above_the_ceiling_is_not_clipped():
    above = evidence_set(scores=np.array([0.2, 0.5, 0.9]))["cnn"]
    assert above.normalised == pytest.approx(1.5)


def test_a_set_is_a_sequence_with_names(evidences):
    assert len(evidences) == 3
    assert evidences[1] is evidences["V1"]
    assert [e.model for e in evidences] == evidences.models == ["pixels", "V1", "cnn"]
    with pytest.raises(UnknownName, match="cnn"):
        evidences["cnm"]
    with pytest.raises(IndexError):
        evidences[3]


def test_a_part_of_a_set_keeps_its_own_tests(evidences):
    part = evidences[:2]
    assert len(part.pairwise) == 1
    assert part.against_ceiling["model"].tolist() == ["pixels", "V1"]
    assert part != evidences
    assert evidences == evidences[:]


def test_joined_sets_are_one_family():
    a, b = evidence_set(), evidence_set(brain="V4")
    both = EvidenceSet.join([a, b])
    assert both.brains == ["IT", "V4"]
    assert len(both.pairwise) == 6
    assert (both.pairwise["p_fwe"] >= both.pairwise["p"]).all()
    assert both.pairwise["p_fwe"][0] == min(1, 6 * both.pairwise["p"][0]) or (
        both.pairwise["p_fwe"].max() <= 1
    )
    assert both.of_brain("V4").evidences == b.evidences
    assert (both.to_frame()["p_fwe"].to_numpy() >= a.to_frame()["p_fwe"].iloc[0] - 1).all()
    with pytest.raises(UnknownName):
        both.of_brain("V5")
    with pytest.raises(InvalidArgument, match="twice"):
        EvidenceSet.join([a, a])


def test_joining_nothing_is_an_empty_set():
    empty = EvidenceSet.join([])
    assert len(empty) == 0
    assert empty.to_frame().empty
    assert empty == EvidenceSet([])
    assert repr(empty) == "EvidenceSet()"


def test_tables_are_checked(evidences):
    with pytest.raises(InvalidArgument, match="p_fwe"):
        EvidenceSet(evidences, pairwise=evidences.pairwise.drop(columns="p_fwe"))
    with pytest.raises(InvalidArgument, match="finite"):
        EvidenceSet(evidences, pairwise=evidences.pairwise.assign(t=np.nan))


def test_the_frame_has_every_number(evidences):
    frame = evidences.to_frame().set_index("model")
    e = evidences["cnn"]
    assert frame.loc["cnn", "score"] == e.score
    assert frame.loc["cnn", "normalised_high"] == e.normalised_interval.high
    assert frame.loc["cnn", "p_system"] == e.system_null.p_value == 0.25
    assert frame["p_system"].isna().tolist() == [True, True, False]
    assert (frame["p_fdr"] >= frame["p"]).all()
    assert evidences["cnn"].to_frame().shape == (1, 14)
