"""A simulated circuit whose couplings change with a hidden state, of known wiring."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from bregma.errors import InvalidArgument
from bregma.recording import Recording
from bregma.run import spawn

RATE = (0.1, 0.4)  # spikes per bin without input
STRENGTH = (0.5, 1.5)  # size of a coupling
SILENCED = 0.25  # share of the couplings that are off in a state
OWN = 0.8  # how much a spike lowers the drive of its unit
BIN = 0.02  # seconds


@dataclass(frozen=True)
class SwitchingCircuit:
    """Spike counts with the hidden states and couplings that made them.

    Parameters
    ----------
    recording : Recording
        Counts (1 presentation, bin, unit).
    states : Int[np.ndarray, "bin"]
        The hidden state.
    wiring : Int[np.ndarray, "state unit unit"]
        -1 inhibition, 0 nothing, 1 excitation; from the column to the row.
    weights : Float[np.ndarray, "state unit unit"]
        Couplings that are at work; 0 where one of the wiring is silenced in a state.
    rates : Float[np.ndarray, "bin state unit"]
        Expected counts, given the spikes before, in each state: with them, forward-backward gives
        the best possible (Bayes) decoding of the states.
    transition : Float[np.ndarray, "state state"]
        Probability to go from the row to the column.
    chance : float
        Accuracy of always naming the most frequent state.
    """

    recording: Recording
    states: Int[np.ndarray, " bin"]
    wiring: Int[np.ndarray, "state unit unit"]
    weights: Float[np.ndarray, "state unit unit"]
    rates: Float[np.ndarray, "bin state unit"]
    transition: Float[np.ndarray, "state state"]
    chance: float


def switching_circuit(
    *,
    n_units: int = 12,
    n_states: int = 3,
    density: float = 0.3,
    stay: float = 0.99,
    n_bins: int = 9000,
    n_lags: int = 5,
    shared_wiring: bool = True,
    seed: int,
) -> SwitchingCircuit:
    """Spike counts of a Poisson GLM whose coupling strengths switch with a hidden Markov chain.

    The drive of a unit is its bias in the state, plus the decaying traces of the other units'
    spikes times the weights of the state, minus that of its own spikes; the rate is its softplus.
    Signs of couplings are the same in all states, half of them are inhibitory; biases and strengths
    are drawn for each state, and a quarter of the couplings is silenced there.

    Parameters
    ----------
    n_units, n_states : int
        Units, and hidden states (2 or more).
    density : float
        Share of the pairs of units that are coupled.
    stay : float
        Probability that the state stays the same for another bin.
    n_bins : int
        Length.
    n_lags : int
        Length of the traces in bins.
    shared_wiring : bool
        Whether all states have the same wiring; otherwise each draws its own (a control).
    seed : int
        Draws the circuit, and the states and spikes.

    Returns
    -------
    SwitchingCircuit
        The counts and their truth.

    Raises
    ------
    InvalidArgument
        If there are fewer than 2 units or states or no bins, or a probability is not one.

    References
    ----------
    Li, Kim, Rodgers, Choi and Wu (2024), One-hot generalized linear model for switching brain state
    discovery. arXiv:2310.15263.

    Examples
    --------
    >>> circuit = switching_circuit(n_units=4, n_bins=50, seed=0)
    >>> circuit.recording.shape, circuit.weights.shape
    ((1, 50, 4), (3, 4, 4))
    """
    if min(n_units, n_states) < 2 or min(n_bins, n_lags) < 1:
        raise InvalidArgument(
            f"a circuit needs 2 or more units and states, and 1 or more bins and lags, not "
            f"{n_units}, {n_states}, {n_bins} and {n_lags}"
        )
    if not (0 <= density <= 1 and 0 <= stay <= 1):
        raise InvalidArgument(f"density {density} and stay {stay} must be from 0 to 1")
    rng = spawn(seed, "circuit")
    shape = (n_states, n_units, n_units)
    wiring = rng.choice([-1, 1], size=shape) * (rng.random(shape) < density)
    wiring *= 1 - np.eye(n_units, dtype=np.int64)
    if shared_wiring:
        wiring[:] = wiring[0]
    weights = wiring * rng.uniform(*STRENGTH, shape) * (rng.random(shape) >= SILENCED)
    bias = np.log(np.expm1(rng.uniform(*RATE, shape[:2])))  # what softplus makes that rate
    decay = np.exp(-np.arange(n_lags) / 2)  # of the trace, from lag 1 on
    transition = np.full((n_states, n_states), (1 - stay) / (n_states - 1))
    np.fill_diagonal(transition, stay)

    rng = spawn(seed, "activity")
    states = np.zeros(n_bins, dtype=np.int64)
    counts = np.zeros((n_lags + n_bins, n_units))  # after n_lags bins of silence
    rates = np.empty((n_bins, n_states, n_units))
    for t in range(n_bins):
        states[t] = rng.choice(n_states, p=transition[states[t - 1]] if t else None)
        trace = decay[::-1] / decay.sum() @ counts[t : t + n_lags]
        rates[t] = np.logaddexp(0, bias + weights @ trace - OWN * trace)
        counts[t + n_lags] = rng.poisson(rates[t, states[t]])
    recording = Recording.from_array(
        counts[None, n_lags:].astype(np.int16),
        unit=np.arange(n_units),
        time=(np.arange(n_bins) + 0.5) * BIN,
        measured_in="spikes",
        name="switching circuit",
    )
    chance = float(np.bincount(states).max() / n_bins)
    return SwitchingCircuit(recording, states, wiring, weights, rates, transition, chance)
