"""Rules of connection: exact degrees and probabilities, and slices that equal the whole."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bregma.dynamics.connect._connect import (
    AllToAll,
    FixedInDegree,
    FixedOutDegree,
    FixedProbability,
    OneToOne,
    Rule,
    capacity_for,
)
from bregma.dynamics.connect._connect_given import FromMatrix
from bregma.dynamics.connect._connect_kernels import bernoulli_rows, hazard_of
from bregma.dynamics.connect._connect_space import SmallWorld, Spatial, grid_positions
from bregma.dynamics.connect._transpose import transpose
from bregma.dynamics.randomness._random import uniform
from bregma.errors import InvalidArgument

KEY = 2**61 + 17
N = 24  # units of the small populations
PLACES = grid_positions(4, 6)

EVERY_RULE = [
    FixedProbability(0.0),
    FixedProbability(0.3),
    FixedProbability(0.97, self_connections=False),
    FixedProbability(1.0, self_connections=False),
    FixedOutDegree(0),
    FixedOutDegree(5),
    FixedOutDegree(23, self_connections=False),
    FixedInDegree(5),
    FixedInDegree(7, self_connections=False),
    AllToAll(),
    AllToAll(self_connections=False),
    OneToOne(),
    Spatial("gaussian", 1.5, 0.8, PLACES, PLACES, self_connections=False),
    Spatial("exponential", 2.0, 1.0, PLACES, PLACES, (6.0, 4.0)),
    Spatial("disc", 2.0, 0.5, PLACES, PLACES),
    SmallWorld(4, 0.3),
    SmallWorld(22, 1.0),
    FromMatrix(np.random.default_rng(0).poisson(0.4, (N, N))),
]


def dense(rows, n_post):
    out = np.zeros((len(rows.indptr) - 1, n_post), int)
    for i, (begin, end) in enumerate(zip(rows.indptr[:-1], rows.indptr[1:], strict=True)):
        for target in rows.targets[begin:end]:
            out[i, target] += 1
    return out


def whole(rule, n_pre, n_post=None, key=KEY):
    n_post = n_pre if n_post is None else n_post
    return dense(rule.rows(n_pre, n_post, key, 0, n_pre), n_post)


# What holds for every rule


@pytest.mark.parametrize("rule", EVERY_RULE, ids=str)
def test_rows_are_sorted_and_hold_nothing_twice(rule):
    assert isinstance(rule, Rule)
    rows = rule.rows(N, N, KEY, 0, N)
    assert (rows.indptr.dtype, rows.targets.dtype) == (np.int64, np.int32)
    assert rows.indptr[0] == 0
    assert rows.indptr[-1] == len(rows.targets)
    for begin, end in zip(rows.indptr[:-1], rows.indptr[1:], strict=True):
        row = rows.targets[begin:end]
        assert (np.diff(row) > 0).all()
        assert ((row >= 0) & (row < N)).all()
    if getattr(rule, "self_connections", not isinstance(rule, SmallWorld)) is False:
        assert dense(rows, N).trace() == 0


@pytest.mark.parametrize("rule", EVERY_RULE, ids=str)
@given(key=st.integers(0, 2**63 - 1), cuts=st.lists(st.integers(0, N), max_size=4))
@settings(max_examples=25)
def test_slices_equal_the_whole(rule, key, cuts):
    expected = whole(rule, N, key=key)
    np.testing.assert_array_equal(whole(rule, N, key=key), expected)
    cuts = [0, *sorted(cuts), N]
    parts = [rule.rows(N, N, key, a, b) for a, b in pairwise(cuts)]
    np.testing.assert_array_equal(np.concatenate([dense(p, N) for p in parts]), expected)


@pytest.mark.parametrize("rule", EVERY_RULE, ids=str)
def test_impossible_slices_and_keys_are_refused(rule):
    for first, last in ((-1, 3), (4, 3), (0, N + 1)):
        with pytest.raises(InvalidArgument, match="slice"):
            rule.rows(N, N, KEY, first, last)
    with pytest.raises(InvalidArgument, match="key"):
        rule.rows(N, N, -1, 0, N)
    with pytest.raises(InvalidArgument, match="n_pre"):
        rule.rows(2**31, N, KEY, 0, N)


@pytest.mark.parametrize(
    "rule",
    [FixedProbability(0.2), FixedOutDegree(6), FixedInDegree(6), SmallWorld(6, 0.9)],
    ids=str,
)
def test_other_keys_give_other_graphs(rule):
    # two graphs of this density that know nothing of each other share a few synapses by chance
    a, b = whole(rule, 400), whole(rule, 400, key=KEY + 1)
    shared, p = int((a & b).sum()), b.mean()
    expected = a.sum() * p
    if isinstance(rule, SmallWorld):  # and those that neither has moved
        expected += 400 * 6 * 0.1**2
    assert abs(shared - expected) < 4 * np.sqrt(expected)


def test_empty_populations():
    for rule in (FixedProbability(0.5), AllToAll(), FixedOutDegree(0), FixedInDegree(0)):
        assert len(rule.rows(0, 5, KEY, 0, 0).targets) == 0
        assert len(rule.rows(5, 0, KEY, 0, 5).targets) == 0
    assert len(FixedInDegree(3).rows(5, 0, KEY, 0, 5).targets) == 0
    assert len(AllToAll(self_connections=False).rows(0, 0, KEY, 0, 0).targets) == 0


# Probabilities


@pytest.mark.parametrize("p", [0.002, 0.1, 0.24, 0.26, 0.6, 0.95])
def test_counts_are_binomial(p):
    n = 2000
    rows = FixedProbability(p).rows(n, n, KEY, 0, n)
    out = np.diff(rows.indptr)
    into = np.bincount(rows.targets, minlength=n)
    for count in (out, into):
        assert stats.binomtest(int(count.sum()), n * n, p).pvalue > 0.01
        # n s^2 / (n p q) is chi-square with n - 1 degrees
        spread = count.var(ddof=1) * (n - 1) / (n * p * (1 - p))
        assert 0.005 < stats.chi2.cdf(spread, n - 1) < 0.995


def test_no_gap_is_preferred():
    p, n = 0.2, 3000
    rows = FixedProbability(p).rows(n, n, KEY, 0, n)
    row = np.repeat(np.arange(n), np.diff(rows.indptr))
    gap = (np.diff(rows.targets) - 1)[np.diff(row) == 0]
    gap = gap[gap < 20]
    law = stats.geom.pmf(np.arange(1, 21), p)  # rows are long, so their ends hardly cut
    observed = np.bincount(gap, minlength=20)
    assert stats.chisquare(observed, law / law.sum() * observed.sum()).pvalue > 0.01


def test_jumps_equal_a_search_through_cumulated_hazards():
    # the same numbers, used by adding up the hazard of one target after the other
    p, n = 0.3, 60
    got = whole(FixedProbability(p), 5, n)
    for i in range(5):
        numbers = iter([u for b in range(n) for u in _pair(i, b)])
        left, expected = -np.log1p(-next(numbers)), np.zeros(n, int)
        for j in range(n):
            if left < -np.log1p(-p):
                expected[j], left = 1, -np.log1p(-next(numbers))
            else:
                left -= -np.log1p(-p)
        np.testing.assert_array_equal(got[i], expected)


def _pair(unit, block):
    from bregma.dynamics.randomness._random_numba import uniform_pair

    pair = uniform_pair(KEY, unit, 0, 0, block)
    assert pair[0] == float(uniform(KEY, unit, 0, 0, block))
    return pair


def test_room_grows_where_more_is_drawn_than_was_expected():
    first = bernoulli_rows(KEY, 0, 50, 200, hazard_of(0.5), 0, 2)
    again = bernoulli_rows(KEY, 0, 50, 200, hazard_of(0.5), 0, capacity_for(50 * 200, 0.5))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("p", [1e-300, 1e-12, 1e-3, 0.2499, 0.25, 0.9, 1 - 2**-53])
def test_hazard(p):
    np.testing.assert_allclose(hazard_of(p), -np.log1p(-p), rtol=1e-14)


# Degrees


@pytest.mark.parametrize("self_connections", [True, False])
@pytest.mark.parametrize("k", [0, 1, 7, 39])
def test_degrees_are_exact(k, self_connections):
    assert (whole(FixedOutDegree(k, self_connections), 40).sum(axis=1) == k).all()
    assert (whole(FixedInDegree(k, self_connections), 40).sum(axis=0) == k).all()


def test_degrees_of_populations_of_different_size():
    assert (whole(FixedOutDegree(9), 30, 10).sum(axis=1) == 9).all()
    assert (whole(FixedInDegree(9), 10, 30).sum(axis=0) == 9).all()
    assert (whole(FixedInDegree(10), 10, 30) == 1).all()


@pytest.mark.parametrize("self_connections", [True, False])
def test_every_set_of_partners_is_equally_likely(self_connections):
    n, k = 6, 3
    for rule, axis in (
        (FixedOutDegree(k, self_connections), 0),
        (FixedInDegree(k, self_connections), 1),
    ):
        codes = []
        for key in range(2500):
            graph = np.moveaxis(whole(rule, n, key=key), axis, 0)
            codes.append(graph[2] @ 2 ** np.arange(n))
        partners = [j for j in range(n) if self_connections or j != 2]
        sets = [sum(2**j for j in chosen) for chosen in combinations(partners, k)]
        assert set(codes) == set(sets)
        assert stats.chisquare([codes.count(c) for c in sets]).pvalue > 0.01


# Complete, one to one


def test_complete_and_one_to_one():
    np.testing.assert_array_equal(whole(AllToAll(), 3, 5), np.ones((3, 5)))
    np.testing.assert_array_equal(whole(AllToAll(False), 5), 1 - np.eye(5))
    np.testing.assert_array_equal(whole(FixedProbability(1.0), 3, 5), np.ones((3, 5)))
    np.testing.assert_array_equal(whole(OneToOne(), 5), np.eye(5))


# Refusals


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FixedProbability(1.1), "p must lie"),
        (lambda: FixedProbability(float("nan")), "p must lie"),
        (lambda: FixedOutDegree(-1), "k must lie"),
        (lambda: FixedInDegree(-1), "k must lie"),
        (lambda: whole(FixedOutDegree(6), 9, 5), "only 5 units"),
        (lambda: whole(FixedOutDegree(5, self_connections=False), 5), "only 4 units"),
        (lambda: whole(FixedInDegree(6), 5, 9), "only 5 units"),
        (lambda: whole(OneToOne(), 4, 5), "OneToOne"),
        (lambda: whole(FixedProbability(0.1, self_connections=False), 4, 5), "with itself"),
        (lambda: whole(AllToAll(self_connections=False), 4, 5), "with itself"),
    ],
)
def test_impossible_rules_are_refused(make, message):
    with pytest.raises(InvalidArgument, match=message):
        make()


# Incoming synapses


@given(
    n_pre=st.integers(0, 30), n_post=st.integers(0, 30), p=st.floats(0, 1), key=st.integers(0, 99)
)
def test_transpose_equals_that_of_the_matrix(n_pre, n_post, p, key):
    rows = FixedProbability(p).rows(n_pre, n_post, key, 0, n_pre)
    incoming = transpose(rows.indptr, rows.targets, n_post)
    as_rows = type(rows)(incoming.indptr, incoming.sources)
    np.testing.assert_array_equal(dense(as_rows, n_pre), dense(rows, n_post).T)
    into = np.repeat(np.arange(n_post), np.diff(incoming.indptr))
    np.testing.assert_array_equal(rows.targets[incoming.synapses], into)
    np.testing.assert_array_equal(np.sort(incoming.synapses), np.arange(len(rows.targets)))
    source = np.repeat(np.arange(n_pre), np.diff(rows.indptr))
    np.testing.assert_array_equal(source[incoming.synapses], incoming.sources)


def test_transpose_refuses_what_is_no_graph():
    targets = np.array([0, 4], np.int32)
    with pytest.raises(InvalidArgument, match="targets must lie"):
        transpose(np.array([0, 2]), targets, 4)
    for indptr in ([0, 1], [0, 2, 1, 2], [1, 2]):
        with pytest.raises(InvalidArgument, match="indptr"):
            transpose(np.array(indptr), targets, 5)
