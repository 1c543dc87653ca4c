"""The sentences say what the numbers say."""

from __future__ import annotations

from dataclasses import replace

import pytest
from example_report import evidence

from bregma.evidence import Ceiling, EvidenceSet, Null
from bregma.report import summary


def told(evidences: EvidenceSet) -> str:
    return "\n".join(summary(evidences)).replace("\N{NO-BREAK SPACE}", " ")


def test_the_best_model_comes_first():
    text = told(evidence(["a", "b", "c"], [0.1, 0.5, 0.3]))
    first = text.splitlines()[0]
    assert first.startswith("Of 3 models, b comes closest to human IT: its score is 0.500")
    assert "(95 % interval 0.439 to 0.561)" in first
    assert "more than chance gives (p = 0.003, corrected for 3 tests)" in first
    assert "It is ahead of the next best, c, by 0.200" in text


def test_models_that_the_data_do_not_tell_apart():
    text = told(evidence(["a", "b"], [0.31, 0.30]))
    assert "It leads the next best, b, only by 0.010" in text
    assert "do not tell the two apart" in text


def test_the_order_of_the_pair_in_the_table_does_not_matter():
    forward = told(evidence(["a", "b"], [0.5, 0.3], twins=()))
    backward = told(evidence(["b", "a"], [0.3, 0.5], twins=()))
    lines = [t.splitlines()[1] for t in (forward, backward)]
    assert lines[0] == lines[1]


@pytest.mark.parametrize(
    ("score", "words"),
    [
        (0.3, "reaches 55 % of the lower bound"),
        (0.3, "and is short of it"),
        (0.54, "do not tell it from the bound"),
        (0.8, "reaches 145 % of the lower bound"),
        (0.8, "and is beyond it"),
    ],
)
def test_distance_from_the_ceiling(score, words):
    assert words in told(evidence(["a"], [score]))


def test_a_ceiling_that_may_be_zero_is_shown_but_not_divided_by():
    weak = evidence(["a"], [0.02])
    assert "share" not in told(weak)
    e = replace(
        weak[0],
        ceiling=Ceiling(0.01, 0.2, "reliability", "halves"),
        normalised=None,
        normalised_interval=None,
        ceiling_reason="the lower ceiling (0.01) cannot be told from zero",
    )
    text = told(EvidenceSet([e]))
    assert "between 0.010 and 0.200" in text
    assert "Not possible here: a score relative to a noise ceiling (the lower ceiling" in text


def test_without_a_ceiling_the_reason_is_given():
    text = told(evidence(["a"], [0.3], ceiling=False))
    assert "Not possible here: a score relative to a noise ceiling (a single subject" in text
    assert "true model" not in text


def test_chance():
    text = told(evidence(["a", "b", "c"], [0.5, 0.4, 0.3]))
    assert "All 3 models score above chance." in text
    text = told(evidence(["a", "b", "c"], [0.5, 0.01, -0.02]))
    assert "Above chance: a. Not told from chance: b and c." in text
    text = told(evidence(["a", "b"], [0.5, 0.4]))
    assert "Both models score above chance." in text
    text = told(evidence(["a", "b"], [0.01, -0.02]))
    assert "within what chance gives" in text
    assert "No model scores above chance." in text
    assert "−" in text  # a minus sign, not a hyphen


def test_many_names_are_shortened():
    names = [f"m{i}" for i in range(9)]
    text = told(evidence(names, [0.5] + [0.0] * 8))
    assert "and 2 more" in text


def test_null_systems():
    text = told(evidence(["a", "b"], [0.5, 0.4], twins=["a", "b"]))
    assert "a and b score above all 5 of their null systems." in text
    assert "with 5 of them p cannot fall below 0.17" in text
    text = told(evidence(["a", "b"], [0.5, 0.4], twins=["a"]))
    assert "a scores above all 5 of its null systems." in text


def test_null_systems_that_are_as_good():
    null = Null.of(0.5, [0.4, 0.6, 0.5], exchanged="weights drawn anew")
    text = told(evidence(["a"], [0.5], system_nulls={"a": null}))
    assert "a scores above only 1 of its 3 null systems" in text


def test_null_systems_that_are_all_better():
    null = Null.of(0.5, [0.6, 0.7], exchanged="weights drawn anew")
    text = told(evidence(["a"], [0.5], system_nulls={"a": null}))
    assert "a scores above none of its 2 null systems" in text


def test_brain_parts():
    both = EvidenceSet.join(
        [
            evidence(["a", "b"], [0.5, 0.2], brain="V1", twins=["a"]),
            evidence(["a", "b"], [0.2, 0.21], brain="IT", ceiling=False),
            evidence(["a", "b"], [0.5, 0.01], brain="V4"),
        ]
    )
    lines = told(both).splitlines()
    assert lines[0] == "The closest model, brain part by brain part: a in V1 and V4; b in IT."
    assert lines[1].startswith(
        "V1: a scores 0.500, above chance (p = 0.006, corrected for 6 tests)"
    )
    assert "91 % of the lower ceiling, ahead of b (by 0.300, p < 0.0001, FDR)." in lines[1]
    assert "not told from a (by 0.010" in lines[2]
    assert any(line.startswith("a in V1 scores above all 5") for line in lines)
    assert any("Not possible here for IT: a score relative" in line for line in lines)


def test_a_set_without_tests_of_pairs_has_no_lead():
    evidences = EvidenceSet(list(evidence(["a", "b"], [0.5, 0.2])))
    assert "next best" not in told(evidences)
    assert "of the lower bound" in told(evidences)
