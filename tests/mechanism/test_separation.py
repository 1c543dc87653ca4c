"""Tables within and between groups, against partitions that are written out."""

from __future__ import annotations

from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bregma.errors import InvalidArgument, NotIdentifiable, UnknownName
from bregma.mechanism import separation

SIX = ["formal"] * 3 + ["functional"] * 3


def by_hand(table, groups, of=None):
    n = len(groups)
    within = [
        table[i, j]
        for i in range(n)
        for j in range(n)
        if i != j and groups[i] == groups[j] and of in (None, groups[i])
    ]
    between = [table[i, j] for i in range(n) for j in range(n) if groups[i] != groups[j]]
    return np.mean(within) - np.mean(between)


def different(labels, of=None):
    """Assignments that differ where names of groups do not matter, but that of `of`."""
    found = set()
    for order in set(permutations(labels)):
        groups = [frozenset(i for i, x in enumerate(order) if x == name) for name in set(labels)]
        mine = frozenset(i for i, x in enumerate(order) if x == of)
        found.add((frozenset(groups), mine))
    return len(found)


def test_the_whole_null_of_three_and_three():
    table = np.random.default_rng(0).standard_normal((6, 6))
    got = separation(table, SIX, seed=0)
    every = []
    for first in combinations(range(6), 3):
        every.append(by_hand(table, ["a" if i in first else "b" for i in range(6)]))
    score = by_hand(table, SIX)
    assert got.difference == pytest.approx(score)
    assert got.null.p_value == pytest.approx(np.mean(np.array(every) >= score - 1e-9))
    assert got.null.n_arrangements == 10
    assert got.within["formal"] == pytest.approx(table[:3, :3][~np.eye(3, dtype=bool)].mean())
    assert got.between == pytest.approx((table[:3, 3:].mean() + table[3:, :3].mean()) / 2)


def test_one_group_alone():
    table = np.random.default_rng(1).standard_normal((5, 5))
    groups = ["a", "b", "a", "c", "b"]
    got = separation(table, groups, of="b", seed=0)
    assert got.difference == pytest.approx(by_hand(table, groups, "b"))
    assert set(got.within) == {"a", "b"}
    null = [by_hand(table, [groups[i] for i in order], "b") for order in permutations(range(5))]
    assert got.null.p_value == pytest.approx(np.mean(np.array(null) >= got.difference - 1e-9))


@pytest.mark.parametrize(
    ("groups", "of"),
    [
        (SIX, None),
        (SIX, "formal"),
        (["a", "a", "b", "b", "b"], None),
        (["a", "a", "b", "b", "c"], None),
        (["a", "a", "b", "b", "c", "c"], "b"),
    ],
)
def test_how_many_assignments_differ(groups, of):
    table = np.arange(len(groups) ** 2).reshape(len(groups), -1) / 10
    assert separation(table, groups, of=of, seed=0).null.n_arrangements == different(groups, of)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), shift=st.floats(-5, 5), order=st.permutations(range(6)))
def test_order_and_a_constant_change_nothing(seed, shift, order):
    table = np.random.default_rng(seed).standard_normal((6, 6))
    one = separation(table, SIX, seed=0)
    other = separation(table[np.ix_(order, order)] + shift, [SIX[i] for i in order], seed=seed)
    assert other.difference == pytest.approx(one.difference)
    assert other.null.p_value == pytest.approx(one.null.p_value)


def test_many_things_are_drawn_at_random():
    rng = np.random.default_rng(0)
    groups = ["a"] * 6 + ["b"] * 6
    ps = [separation(rng.standard_normal((12, 12)), groups, n=99, seed=i).null.p_value
          for i in range(60)]  # fmt: skip
    assert 0.35 < np.mean(ps) < 0.65  # uniform where there is nothing
    apart = np.kron(np.eye(2), np.ones((6, 6)))
    assert separation(apart, groups, n=99, seed=0).null.p_value == pytest.approx(0.01)
    twice = [separation(apart, groups, n=99, seed=3).null for _ in range(2)]
    assert twice[0] == twice[1]


def test_more_assignments_than_a_float_can_count():
    groups = ["a"] * 600 + ["b"] * 600
    assert separation(np.eye(1200), groups, n=9, seed=0).null.n_arrangements == np.inf


def test_the_diagonal_does_not_count():
    table = np.full((6, 6), 0.5)
    np.fill_diagonal(table, 99)
    assert separation(table, SIX, seed=0).difference == 0


@pytest.mark.parametrize(
    ("table", "groups", "of", "error", "says"),
    [
        (np.zeros((2, 3)), ["a", "b"], None, InvalidArgument, "row and a column"),
        (np.full((3, 3), np.nan), ["a", "a", "b"], None, InvalidArgument, "finite"),
        (np.zeros((3, 3)), ["a", "a", "a"], None, NotIdentifiable, "two groups"),
        (np.zeros((2, 2)), ["a", "b"], None, NotIdentifiable, "two members"),
        (np.zeros((3, 3)), ["a", "a", "b"], "b", NotIdentifiable, "two members"),
        (np.zeros((3, 3)), ["a", "a", "b"], "c", UnknownName, "group"),
        (np.zeros((0, 0)), [], None, NotIdentifiable, "two groups"),
    ],
)
def test_what_is_wrong_is_said(table, groups, of, error, says):
    with pytest.raises(error, match=says):
        separation(table, groups, of=of, seed=0)
