"""Inference in hidden Markov chains against the sum over all paths."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bregma.errors import InvalidArgument
from bregma.population import forward_backward, match_states, viterbi


def chain(seed, n_states, n_bins, n_sequences=1):
    rng = np.random.default_rng(seed)
    emission = rng.normal(0, 3, (n_sequences, n_bins, n_states))
    initial = rng.dirichlet(np.ones(n_states))
    return emission, initial, rng.dirichlet(np.ones(n_states), n_states)


def every_path(emission, initial, transition):
    """Log-probability of each path together with the observations of one sequence."""
    n_bins, n_states = emission.shape
    found = {}
    for path in product(range(n_states), repeat=n_bins):
        value = np.log(initial[path[0]]) + emission[0, path[0]]
        for t in range(1, n_bins):
            value += np.log(transition[path[t - 1], path[t]]) + emission[t, path[t]]
        found[path] = value
    return found


@given(st.integers(0, 10**6), st.integers(1, 3), st.integers(1, 6), st.integers(1, 2))
def test_equals_the_sum_over_all_paths(seed, n_states, n_bins, n_sequences):
    emission, initial, transition = chain(seed, n_states, n_bins, n_sequences)
    found = forward_backward(emission, initial, transition)
    best = viterbi(emission, initial, transition)
    total, states, moves = 0.0, np.zeros(emission.shape), np.zeros((n_states, n_states))
    for number, sequence in enumerate(emission):
        paths = every_path(sequence, initial, transition)
        log_likelihood = np.logaddexp.reduce(list(paths.values()))
        total += log_likelihood
        for path, value in paths.items():
            probability = np.exp(value - log_likelihood)
            for t, s in enumerate(path):
                states[number, t, s] += probability
            for s, r in pairwise(path):
                moves[s, r] += probability
        assert paths[tuple(best[number])] == pytest.approx(max(paths.values()), abs=1e-9)
    assert found.log_likelihood == pytest.approx(total, abs=1e-9)
    np.testing.assert_allclose(found.states, states, atol=1e-9)
    np.testing.assert_allclose(found.transitions, moves, atol=1e-9)


def test_long_sequences_neither_underflow_nor_drift():
    emission, initial, transition = chain(0, 3, 20_000)
    found = forward_backward(emission - 1e4, initial, transition)
    plain = forward_backward(emission, initial, transition)
    assert found.log_likelihood == pytest.approx(plain.log_likelihood - 2e8, rel=1e-12)
    np.testing.assert_allclose(found.states.sum(-1), 1, atol=1e-6)
    assert found.transitions.sum() == pytest.approx(19_999, abs=0.01)


def test_forbidden_transitions_stay_forbidden():
    emission = np.zeros((1, 5, 2))
    emission[0, 3, 1] = -np.inf  # an impossible observation in state 1
    forward = np.array([[0.5, 0.5], [0.0, 1.0]])  # nothing returns from state 1
    found = forward_backward(emission, np.array([1.0, 0.0]), forward)
    np.testing.assert_allclose(found.states[0, :4, 0], 1)
    assert viterbi(emission, np.array([1.0, 0.0]), forward)[0, :4].tolist() == [0] * 4
    with pytest.raises(InvalidArgument, match="impossible"):
        forward_backward(np.full((1, 2, 2), -np.inf), np.array([0.5, 0.5]), forward)


@pytest.mark.usefixtures("unchecked_types")
def test_what_is_wrong_is_said():
    emission, initial, transition = chain(0, 2, 3)
    for wrong in (np.array([0.5, 0.6]), np.array([1.0, 0.0, 0.0])):
        with pytest.raises(InvalidArgument, match="initial"):
            forward_backward(emission, wrong, transition)
    with pytest.raises(InvalidArgument, match="transition"):
        viterbi(emission, initial, 2 * transition)
    with pytest.raises(InvalidArgument, match="NaN"):
        forward_backward(np.where(emission > 0, np.nan, emission), initial, transition)
    with pytest.raises(InvalidArgument, match="empty"):
        forward_backward(emission[:, :0], initial, transition)


@given(st.permutations(range(4)), st.integers(0, 1000))
def test_names_of_states_are_found(order, seed):
    true = np.random.default_rng(seed).integers(0, 4, 200)
    true[:4] = range(4)
    found_order, accuracy = match_states(np.asarray(order)[true], true, 4)
    assert found_order.tolist() == list(order)
    assert accuracy == 1


@pytest.mark.usefixtures("unchecked_types")
def test_matching_refuses_what_are_no_states():
    with pytest.raises(InvalidArgument, match="one shape"):
        match_states(np.zeros(3, int), np.zeros(4, int), 2)
    with pytest.raises(InvalidArgument, match="states from 0 to 5"):
        match_states(np.array([0, 5]), np.array([0, 1]), 2)
