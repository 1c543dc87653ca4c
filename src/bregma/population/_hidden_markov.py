"""Inference in hidden Markov chains: exact, whatever the observations are."""

from __future__ import annotations

from typing import NamedTuple, no_type_check

import numpy as np
from jaxtyping import Float, Int
from numba import njit

from bregma.errors import InvalidArgument


class StatePosterior(NamedTuple):
    """What the observations say about the states.

    Parameters
    ----------
    log_likelihood : float
        log p(observations), summed over sequences.
    states : Float[np.ndarray, "sequence bin state"]
        p(state of the bin | all observations of its sequence).
    transitions : Float[np.ndarray, "state state"]
        Expected number of transitions from (row) to (column), over all sequences.
    """

    log_likelihood: float
    states: Float[np.ndarray, "sequence bin state"]
    transitions: Float[np.ndarray, "state state"]


def forward_backward(
    log_emission: Float[np.ndarray, "sequence bin state"],
    initial: Float[np.ndarray, " state"],
    transition: Float[np.ndarray, "state state"],
) -> StatePosterior:
    """Posterior of the states of a hidden Markov chain, in log space.

    Parameters
    ----------
    log_emission : Float[np.ndarray, "sequence bin state"]
        log p(observation of a bin | state), up to a constant of each bin.
    initial : Float[np.ndarray, "state"]
        p(state of the first bin).
    transition : Float[np.ndarray, "state state"]
        p(next state (column) | state (row)).

    Returns
    -------
    StatePosterior
        Likelihood, posterior of each bin, and expected transitions.

    Raises
    ------
    InvalidArgument
        If the shapes do not fit, probabilities do not sum to 1, a value is NaN, or the
        observations are impossible in every state.

    References
    ----------
    Rabiner (1989), A tutorial on hidden Markov models. doi:10.1109/5.18626.

    Examples
    --------
    >>> stay = np.array([[0.9, 0.1], [0.1, 0.9]])
    >>> evidence = np.log([[[0.8, 0.2], [0.5, 0.5]]])
    >>> forward_backward(evidence, np.array([0.5, 0.5]), stay).states.round(2)
    array([[[0.8 , 0.2 ],
            [0.74, 0.26]]])
    """
    log_initial, log_transition = _checked(log_emission, initial, transition)
    total, states, transitions = 0.0, np.empty(log_emission.shape), np.zeros(transition.shape)
    for sequence, emission in enumerate(np.ascontiguousarray(log_emission, dtype=float)):
        one = states[sequence]
        total += _smooth(emission, log_initial, log_transition, one, transitions)
    if not np.isfinite(total):
        raise InvalidArgument("the observations are impossible: their likelihood is 0")
    return StatePosterior(float(total), states, transitions)


def viterbi(
    log_emission: Float[np.ndarray, "sequence bin state"],
    initial: Float[np.ndarray, " state"],
    transition: Float[np.ndarray, "state state"],
) -> Int[np.ndarray, "sequence bin"]:
    """The most probable path of states through each sequence.

    Parameters
    ----------
    log_emission, initial, transition
        As in `forward_backward`.

    Returns
    -------
    Int[np.ndarray, "sequence bin"]
        A state of each bin.

    Raises
    ------
    InvalidArgument
        As in `forward_backward`.

    References
    ----------
    Viterbi (1967), Error bounds for convolutional codes. doi:10.1109/TIT.1967.1054010.
    """
    log_initial, log_transition = _checked(log_emission, initial, transition)
    return np.stack(
        [
            _best_path(emission, log_initial, log_transition)
            for emission in np.ascontiguousarray(log_emission, dtype=float)
        ]
    )


def _checked(
    log_emission: np.ndarray, initial: np.ndarray, transition: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Logarithms of the probabilities, if everything fits together."""
    n = log_emission.shape[-1]
    if initial.shape != (n,) or transition.shape != (n, n) or 0 in log_emission.shape:
        raise InvalidArgument(
            f"log_emission {log_emission.shape} has {n} states in its last dimension: initial "
            f"must have the shape ({n},), not {initial.shape}, transition ({n}, {n}), not "
            f"{transition.shape}, and nothing may be empty"
        )
    if np.isnan(log_emission).any() or np.isposinf(log_emission).any():
        raise InvalidArgument("log_emission holds NaN or +inf: look for invalid rates")
    for name, value in {"initial": initial, "transition": transition}.items():
        if not (value >= 0).all() or not np.allclose(value.sum(axis=-1), 1):
            raise InvalidArgument(f"{name} must hold probabilities that sum to 1, it is {value}")
    with np.errstate(divide="ignore"):  # log(0) = -inf is what a forbidden transition means
        return np.log(initial.astype(float)), np.log(transition.astype(float))


@no_type_check
@njit(cache=True)
def _log_sum(a, b):
    """log sum_i exp(a_i + b_i), without arrays in between."""
    high = -np.inf
    for i in range(len(a)):
        high = max(high, a[i] + b[i])
    if high == -np.inf:
        return high
    total = 0.0
    for i in range(len(a)):
        total += np.exp(a[i] + b[i] - high)
    return high + np.log(total)


@no_type_check
@njit(cache=True)
def _smooth(emission, log_initial, log_transition, states, transitions):
    """Fill in states, add to transitions, give the log-likelihood of one sequence."""
    n_bins, n = emission.shape
    # Each bin is normalised, so that nothing drifts: norm[t] = log p(observation t | those before).
    forward, backward, norm = np.empty((n_bins, n)), np.zeros((n_bins, n)), np.empty(n_bins)
    nothing = np.zeros(n)
    forward[0] = log_initial + emission[0]
    for t in range(n_bins):
        if t:
            for s in range(n):
                forward[t, s] = emission[t, s] + _log_sum(forward[t - 1], log_transition[:, s])
        norm[t] = _log_sum(forward[t], nothing)
        if norm[t] == -np.inf:
            return -np.inf
        forward[t] -= norm[t]
    for t in range(n_bins - 2, -1, -1):
        ahead = emission[t + 1] - norm[t + 1] + backward[t + 1]
        for s in range(n):
            backward[t, s] = _log_sum(log_transition[s], ahead)
            for r in range(n):
                transitions[s, r] += np.exp(forward[t, s] + log_transition[s, r] + ahead[r])
    states[:] = np.exp(forward + backward)
    return norm.sum()


@no_type_check
@njit(cache=True)
def _best_path(emission, log_initial, log_transition):
    n_bins, n = emission.shape
    best = log_initial + emission[0]
    came_from = np.zeros((n_bins, n), dtype=np.int64)
    for t in range(1, n_bins):
        now = np.empty(n)
        for s in range(n):
            scores = best + log_transition[:, s]
            came_from[t, s] = scores.argmax()
            now[s] = scores.max() + emission[t, s]
        best = now
    path = np.empty(n_bins, dtype=np.int64)
    path[-1] = best.argmax()
    for t in range(n_bins - 1, 0, -1):
        path[t - 1] = came_from[t, path[t]]
    return path
