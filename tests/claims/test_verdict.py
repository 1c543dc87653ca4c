"""Verdicts are statistics: against their definition, and never kinder than the interval."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bregma.claims import Claim, Expect, Paper, Result, SeedRun, claim, judge, verdict
from bregma.claims import student_interval as interval
from bregma.errors import InvalidArgument

PAPER = Paper("t", "A B", 2000, arxiv="1")


def made(*expects: Expect, **changes) -> Claim:
    words = {
        **{"paper": PAPER, "sentence": "s", "systems": "s", "controls": {"b": "none"}},
        **{"smoke": {}, "check": {}, "full": {}, "equations": [], "use": "", "expects": expects},
    }
    return claim(**{**words, **changes})(lambda *, seed: {"a": 1.0, "b": 0.0})


def result(a, b, seeds=(1, 2, 3)) -> Result:
    runs = [SeedRun(seed=s, measures={"a": x, "b": y}) for s, x, y in zip(seeds, a, b, strict=True)]
    empty = Result(slug="x", budget="check", digest=made(HALF).digest("check"), settings={})
    return empty.having(*runs)


HALF = Expect(measure="a", above="b", by=0.5, says="a > b + 0.5")


@pytest.mark.parametrize(
    ("a", "word"),
    [
        ([1.0, 1.1, 0.9], "holds"),
        ([1.0, 2.0, 0.2], "partly"),  # the mean clears the bound, the interval does not
        ([0.3, 0.31, 0.29], "partly"),  # the direction is clear, the size is not there
        ([0.1, -0.1, 0.0], "fails"),
        ([-1.0, -1.1, -0.9], "fails"),
    ],
)
def test_words(a, word):
    found = result(a, [0.0, 0.0, 0.0])
    assert judge(made(HALF), found)[0].verdict == word
    assert verdict(made(HALF), found) == word


def test_the_centre_decides_between_partly_and_fails():
    good, bad = HALF, Expect(measure="b", above=1.0, says="b > 1")
    found = result([1.0, 1.1, 0.9], [0.0, 0.0, 0.0])
    assert verdict(made(good, bad), found) == "partly"
    assert verdict(made(bad, good), found) == "fails"


def test_factors_and_margins():
    four = Expect(measure="a", above="b", times=4, by=0.1, says="a > 4 b + 0.1")
    assert four.of({"a": 5.0, "b": 1.0}) == pytest.approx((4.0, 0.9))
    below = Expect(measure="a", below="b", times=0.5, by=0.1, says="a < b / 2 - 0.1")
    assert below.of({"a": 0.2, "b": 1.0}) == pytest.approx((0.8, 0.2))
    assert str(four) == "a > 4 x b + 0.1"
    assert str(below) == "a < 0.5 x b - 0.1"


def test_open_without_all_seeds_or_with_other_code():
    few = result([1.0, 1.1], [0.0, 0.0], seeds=(1, 2))
    assert verdict(made(HALF), few) == "open"
    assert verdict(made(HALF), None) == "open"
    assert verdict(made(HALF, check={"n": 2}), result([1.0] * 3, [0.0] * 3)) == "open"


def test_the_pilot_seed_never_counts():
    found = result([100.0, 1.0, 1.1, 0.9], [0.0] * 4, seeds=(0, 1, 2, 3))
    assert list(judge(made(HALF), found)[0].measured) == [1.0, 1.1, 0.9]


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=8))
def test_the_interval_is_students(samples):
    samples = np.array(samples)
    found = interval(samples)
    if samples.std() < 1e-9:
        assert found.low == pytest.approx(found.high, abs=1e-6)
        return
    low, high = stats.t.interval(
        0.95, len(samples) - 1, loc=samples.mean(), scale=stats.sem(samples)
    )
    assert (found.low, found.high) == pytest.approx((low, high))


def test_the_interval_covers_with_three_seeds():
    rng = np.random.default_rng(0)
    covered = [0.0 in interval(rng.normal(size=3)) for _ in range(2000)]
    assert 0.935 < np.mean(covered) < 0.965


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"controls": {}}, "control"),
        ({"expects": []}, "expectation"),
        ({"seeds": (1, 2)}, "3 or more seeds"),
        ({"seeds": (0, 1, 2)}, "pilot"),
    ],
)
def test_a_claim_without_control_or_seeds_is_none(changes, said):
    with pytest.raises(InvalidArgument, match=said):
        made(HALF, **changes)


def test_an_expectation_is_above_or_below():
    with pytest.raises(InvalidArgument, match="above or below"):
        Expect(measure="a", says="x")
    with pytest.raises(InvalidArgument, match="above or below"):
        Expect(measure="a", above=1.0, below=2.0, says="x")
    with pytest.raises(InvalidArgument, match="by must"):
        Expect(measure="a", above=1.0, by=-1.0, says="x")
    with pytest.raises(InvalidArgument, match="doi"):
        Paper("t", "a", 2000)
