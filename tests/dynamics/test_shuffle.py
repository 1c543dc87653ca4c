"""Null networks keep what they promise to keep."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import scipy.sparse

from bregma.dynamics import (
    AllToAll,
    FixedProbability,
    FromMatrix,
    Network,
    Neuron,
    Population,
    Projection,
    Synapse,
    rewire,
    shuffle_weights,
)
from bregma.dynamics.network._plan import plan
from bregma.errors import InvalidArgument

CELL = Neuron("dv/dt = -v/tau", spike="v > 1", reset="v = 0", params={"tau": "10 ms"})
KICK = Synapse(on_pre="v += w", params={"w": "weight"})


def network(rule, synapse=KICK, sizes=(12, 9)):
    pre, post = sizes
    populations = {"A": Population(CELL, pre), "B": Population(CELL, post)}
    return Network(populations, [Projection("A", "B" if pre != post else "A", synapse, rule)])


def matrix_of(n):
    q = plan(n, dt=1e-4, seed=0, dtype=np.float64).projections[0]
    shape = len(q.indptr) - 1, n.populations[q.post].size
    for a, b in zip(q.indptr[:-1], q.indptr[1:], strict=True):
        assert (np.diff(q.targets[a:b]) > 0).all()  # sorted, none twice
    weights = q.fixed.get("syn_w", np.ones(len(q.targets)))
    return scipy.sparse.csr_array((weights, q.targets, q.indptr), shape).toarray()


def weights(sizes=(12, 9), seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(0.1, 1, sizes) * (rng.random(sizes) < 0.4)


def test_rewiring_keeps_degrees_and_the_weights_that_a_unit_receives():
    given = weights()
    before, after = (
        matrix_of(network(FromMatrix(given))),
        matrix_of(rewire(network(FromMatrix(given)), seed=1)),
    )
    assert (before == given).all()
    for axis in (0, 1):
        np.testing.assert_array_equal((after > 0).sum(axis), (before > 0).sum(axis))
    for old, new in zip(before.T, after.T, strict=True):
        np.testing.assert_array_equal(np.sort(old), np.sort(new))
    assert ((after > 0) != (before > 0)).mean() > 0.2
    again = matrix_of(rewire(network(FromMatrix(given)), seed=1))
    assert (again == after).all()
    assert (matrix_of(rewire(network(FromMatrix(given)), seed=2)) != after).any()


def test_a_rule_that_is_drawn_is_rewired_without_new_loops():
    rule = FixedProbability(0.3, self_connections=False)
    kick = Synapse(on_pre="v += w", params={"w": 0.1})
    n = network(rule, kick, (20, 20))
    before, after = matrix_of(n), matrix_of(rewire(n, seed=0))
    for axis in (0, 1):
        np.testing.assert_array_equal(after.sum(axis), before.sum(axis))
    assert (np.diag(after) == 0).all()
    assert (after != before).any()


def test_all_graphs_with_the_same_degrees_are_as_likely():
    """Of two rows with two targets each among four, three units shared none: six graphs."""
    given = np.array([[1, 1, 0, 0], [0, 0, 1, 1]], float)
    found = Counter(
        tuple(matrix_of(rewire(network(FromMatrix(given), sizes=(2, 4)), seed=s))[0] > 0)
        for s in range(300)
    )
    assert len(found) == 6
    # a chi-squared value with 5 degrees of freedom lies below 20.5 in 99.9 % of all cases
    assert sum((n - 50) ** 2 / 50 for n in found.values()) < 20.5


def test_slices_of_rewired_rows_are_those_of_the_whole():
    rule = rewire(network(FromMatrix(weights())), seed=1).projections[0].rule
    whole, part = rule.rows(12, 9, 0, 0, 12), rule.rows(12, 9, 0, 4, 7)
    begin, end = whole.indptr[4], whole.indptr[7]
    np.testing.assert_array_equal(part.targets, whole.targets[begin:end])
    np.testing.assert_array_equal(part.indptr, whole.indptr[4:8] - begin)
    np.testing.assert_array_equal(
        rule.values(4, 7)["weight"], rule.values(0, 12)["weight"][begin:end]
    )


def test_shuffled_weights_stay_on_the_same_synapses():
    given = weights()
    after = matrix_of(shuffle_weights(network(FromMatrix(given)), seed=1))
    assert ((after > 0) == (given > 0)).all()
    np.testing.assert_array_equal(np.sort(after.ravel()), np.sort(given.ravel()))
    assert (after != given).any()
    own = Synapse(on_pre="v += w", params={"w": np.linspace(0, 1, 108)})
    after = matrix_of(shuffle_weights(network(AllToAll(), own), seed=1))
    np.testing.assert_array_equal(np.sort(after.ravel()), np.linspace(0, 1, 108))
    assert (after.ravel() != np.linspace(0, 1, 108)).any()


def test_without_given_weights_there_is_nothing_to_shuffle():
    same = Synapse(on_pre="v += w", params={"w": 0.1})
    with pytest.raises(InvalidArgument, match="rewire its connections"):
        shuffle_weights(network(AllToAll(), same), seed=0)
