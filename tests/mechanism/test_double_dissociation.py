"""Double dissociations, compared with SciPy's tests and with planted ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from bregma.datasets import wired_families
from bregma.errors import InvalidArgument, NotIdentifiable
from bregma.mechanism import (
    PartRemoval,
    dissociate,
    double_dissociation,
    logit_difference,
    specialisation,
)

SCORES = arrays(float, (5, 2), elements=st.floats(-10, 10, width=32))


def tables(seed=0, n=(6, 4), effect=(0.5, 0.3)):
    rng = np.random.default_rng(seed)
    first, second = (rng.normal(size=(k, 2)) + rng.normal(size=(k, 1)) for k in n)
    first[:, 0] -= effect[0]
    second[:, 1] -= effect[1]
    return first, second


def test_as_scipy():
    first, second = tables()
    found = double_dissociation(first, second, seed=0)
    a, b = np.diff(first)[:, 0], np.diff(second)[:, 0]
    welch = stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    assert (found.interval.low, found.interval.high) == pytest.approx(tuple(welch))
    for x, interval in ((a, found.first_interval), (-b, found.second_interval)):
        student = stats.ttest_1samp(x, 0).confidence_interval(0.95)
        assert (interval.low, interval.high) == pytest.approx(tuple(student))
    exact = stats.permutation_test(
        (a, b), lambda x, y: x.mean() - y.mean(), alternative="greater", n_resamples=np.inf
    )
    assert found.index == pytest.approx(exact.statistic)
    assert found.null.p_value == pytest.approx(exact.pvalue)
    assert found.null.n_arrangements == 210
    drawn = double_dissociation(first, second, n=200, seed=0).null
    assert drawn.p_value == pytest.approx(exact.pvalue, abs=0.1)
    assert np.array_equal(
        drawn.values, double_dissociation(first, second, n=200, seed=0).null.values
    )
    assert not np.array_equal(
        drawn.values, double_dissociation(first, second, n=200, seed=1).null.values
    )


@settings(max_examples=25)
@given(first=SCORES, second=SCORES, hard=st.floats(-10, 10))
def test_how_hard_a_case_or_a_column_is_changes_nothing(first, second, hard):
    found = double_dissociation(first, second, n=9, seed=0)
    each = double_dissociation(first + np.arange(5)[:, None], second - 3, n=9, seed=0)
    harder = np.array([hard, 0])
    column = double_dissociation(first + harder, second + harder, n=9, seed=0)
    swapped = double_dissociation(second[:, ::-1], first[:, ::-1], n=9, seed=0)
    for other in (each, column, swapped):
        assert other.index == pytest.approx(found.index, abs=1e-4)
    assert swapped.first == pytest.approx(found.second, abs=1e-4)
    assert found.index == pytest.approx(found.first + found.second, abs=1e-4)


def test_a_hard_ability_alone_is_no_double_dissociation():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 50, 2)) * 0.1
    first[:, 0] -= 2  # the first lesion costs the first ability much, the second costs nothing
    found = double_dissociation(first, second, seed=0)
    assert found.null.p_value < 0.01
    assert not found.crossed
    second[:, 1] -= 0.5
    assert double_dissociation(first, second, seed=0).crossed


def test_p_values_are_uniform_without_a_dissociation():
    p = [
        double_dissociation(*tables(seed, (8, 8), (0, 0)), n=99, seed=seed).null.p_value
        for seed in range(150)
    ]
    assert stats.kstest(p, "uniform").pvalue > 0.01


def test_more_exchanges_than_a_float_can_count():
    found = double_dissociation(*tables(n=(600, 600)), n=9, seed=0)
    assert found.null.n_arrangements == np.inf
    assert found.crossed


def test_scores_that_do_not_vary():
    found = double_dissociation([[0, 1]] * 3, [[1, 0]] * 3, seed=0)
    assert (found.index, found.interval.low, found.interval.high) == (2, 2, 2)
    assert found.null.p_value == pytest.approx(1 / 20)


@settings(max_examples=40)
@given(arrays(float, 6, elements=st.floats(-5, 5)), arrays(float, 6, elements=st.floats(-5, 5)))
def test_specialisation(first, second):
    found = specialisation(first, second)
    assert (np.abs(found) <= 1 + 1e-12).all()
    np.testing.assert_allclose(specialisation(second, first), -found)
    np.testing.assert_array_equal(found[(first == 0) & (second == 0)], 0)
    both = (first > 0) & (second > 0)
    np.testing.assert_array_equal(np.sign(found[both]), np.sign((first - second)[both]))


COSTS = {"a": (0.6, 0), "b": (0.4, 0.1), "c": (0, 0.5), "d": (0.1, 0.3), "e": (0.3, 0.3),
         "f": (0, 0), "g": (0, 0), "h": (0, 0)}  # fmt: skip


def planted(removed, half, noise=0.05):
    rng = np.random.default_rng([half, *map(ord, removed)])
    return tuple(
        1 - sum(COSTS[part][k] for part in removed) + rng.normal(0, noise, 30) for k in (0, 1)
    )


def test_planted_parts_are_found():
    strata = list("xyxyxyxy")
    found = dissociate(planted, list(COSTS), 2, strata=strata, n=300, seed=0)
    assert (found.first, found.second) == (["a", "b"], ["c", "d"])
    np.testing.assert_allclose(found.parts[["first", "second"]], list(COSTS.values()), atol=0.04)
    np.testing.assert_allclose(found.drops, [[1.0, 0.1], [0.1, 0.8]], atol=0.04)
    assert found.drops.loc["first", "second"] == pytest.approx(0.1, abs=0.04)
    assert found.tested.index == pytest.approx(1.6, abs=0.05)
    assert found.tested.crossed
    # Two parts of each of two strata: 4 * 3 ways for one of either kind, twice.
    assert found.random.n_arrangements == 144
    assert found.random.p_value < 0.05
    free = dissociate(planted, list(COSTS), 2, n=20, seed=0)
    assert free.random.n_arrangements == 28 * 15
    again = dissociate(planted, list(COSTS), 2, n=20, seed=0)
    assert np.array_equal(free.random.values, again.random.values)
    strict = dissociate(planted, list(COSTS), 2, least=0.7, n=5, seed=0)
    assert "b" not in strict.first  # 0.6
    assert "d" not in strict.second  # 0.5


def test_random_sets_are_matched_and_share_nothing():
    strata = {name: name in "abc" for name in COSTS}
    met = set()
    for seed in range(20):
        asked = []

        def listen(removed, half, asked=asked):
            asked.append((removed, half))
            return planted(removed, half)

        dissociate(listen, list(COSTS), 2, strata=list(strata.values()), n=1, seed=seed)
        assert len(set(asked)) == len(asked)  # nothing is asked twice
        assert {len(removed) for removed, half in asked if half == 0} == {0, 1}
        tested = [removed for removed, half in asked if half == 1]
        assert tested[:3] == [(), ("a", "b"), ("c", "d")]
        for removed in tested[3:]:  # like a and b, or like c and d
            assert sum(strata[part] for part in removed) in (1, 2)
        if len(tested) == 5:
            first, second = tested[3:]
            assert [sum(strata[part] for part in x) for x in (first, second)] == [2, 1]
            assert not set(first) & set(second)
        met |= set(tested[3:])
    assert len(met) > 10


def test_parts_chosen_from_noise_are_tested_on_other_trials():
    def noise(removed, half, seed):
        rng = np.random.default_rng([seed, half, *map(ord, removed)])
        return rng.normal(size=20), rng.normal(size=20)

    tested = [
        dissociate(lambda r, h, s=s: noise(r, h, s), list(COSTS), 2, n=1, seed=0).tested.index
        for s in range(40)
    ]
    assert stats.ttest_1samp(tested, 0).pvalue > 0.01


def test_heads_of_a_wired_network():
    """Two tasks with circuits of their own: each is found on some prompts, tested on others."""
    wired = wired_families(24, seed=0)
    tasks = [wired.tasks[name] for name in ("agreement", "capital")]
    removals = [PartRemoval(wired.net, task.clean) for task in tasks]
    halves = list(zip(*(task.split(seed=0) for task in tasks), strict=True))

    def score(removed, half):
        return tuple(
            logit_difference(removal(pairs.clean, removed), pairs).numpy()
            for removal, pairs in zip(removals, halves[half], strict=True)
        )

    heads = [part for part in removals[0].parts if "h" in part]
    found = dissociate(score, heads, 2, least=0.5, n=9, seed=0)
    assert set(found.first) == wired.heads("agreement")
    assert set(found.second) == wired.heads("capital")
    assert found.tested.crossed
    assert found.random.p_value < 0.2


def test_errors():
    first, second = tables()
    for bad in (first[:, :1], first[0], np.where(first > 0, np.nan, first)):
        with pytest.raises(InvalidArgument, match="finite"):
            double_dissociation(bad, second, seed=0)
    with pytest.raises(NotIdentifiable, match="1 cases"):
        double_dissociation(first, second[:1], seed=0)
    with pytest.raises(InvalidArgument, match="level"):
        double_dissociation(first, second, level=1.0, seed=0)
    with pytest.raises(InvalidArgument, match="shapes"):
        specialisation([1, 2], [1])
    names = list(COSTS)
    for wrong in ({"parts": ["a", "a"]}, {"parts": ["a"]}, {"strata": [1, 2]}):
        with pytest.raises(InvalidArgument, match="names"):
            dissociate(planted, **({"parts": names, "size": 1, "seed": 0} | wrong))
    for wrong in ({"size": 0}, {"size": 5}, {"least": 1.0}, {"n": 0}):
        with pytest.raises(InvalidArgument, match="size must"):
            dissociate(planted, **({"parts": names, "size": 1, "seed": 0} | wrong))
    with pytest.raises(InvalidArgument, match="second ability without"):
        dissociate(lambda removed, half: (np.ones(3), [np.nan] * 3), names, 1, seed=0)
