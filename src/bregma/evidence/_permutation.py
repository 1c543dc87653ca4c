"""Nulls of data: the same numbers under exchanged labels, or with exchanged phases."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from jaxtyping import Int

from bregma.errors import InvalidArgument, NotIdentifiable
from bregma.recording import Recording


@dataclass(frozen=True, eq=False)
class Arrangements:
    """Orders in which things are exchanged with each other.

    Parameters
    ----------
    order : array of int, shape (draw, thing)
        Each row is a permutation of 0 ... n - 1.
    n_arrangements : float
        How many distinct arrangements there are.
    exact : bool
        Whether `order` holds every arrangement once, the unchanged one first.
    """

    order: Int[np.ndarray, "draw thing"]
    n_arrangements: float
    exact: bool


def arrangements(n: int, n_draws: int, *, seed: int) -> Arrangements:
    """Orders for a permutation test: all of them where they are few, else random ones.

    Parameters
    ----------
    n : int
        How many things are exchanged with each other.
    n_draws : int
        How many orders to draw at most.
    seed : int
        Seed of the draws.

    Returns
    -------
    Arrangements
        Every order once when there are at most `n_draws`; otherwise `n_draws` random ones.

    Raises
    ------
    InvalidArgument
        When there is nothing to exchange, or no draw is asked for.

    Examples
    --------
    >>> arrangements(3, 100, seed=0).order.tolist()[:3]
    [[0, 1, 2], [0, 2, 1], [1, 0, 2]]
    """
    if n < 2 or n_draws < 1:
        raise InvalidArgument(f"{n} things in {n_draws} draws: nothing to exchange")
    count = float(math.factorial(n)) if n <= 170 else math.inf  # 171! is above every float
    if count <= n_draws:
        return Arrangements(np.array(list(permutations(range(n)))), count, True)
    # The unchanged order is not left out: draws and observation are then exchangeable, which is
    # what makes (1 + reached) / (1 + draws) a valid p however few arrangements there are.
    order = np.random.default_rng(seed).permuted(np.tile(np.arange(n), (n_draws, 1)), axis=1)
    return Arrangements(order, count, False)


def check_arrangements(n: float, alpha: float, exchange: str, remedy: str) -> None:
    """Refuse a level that no exchange of so few things can reach.

    Parameters
    ----------
    n : float
        How many distinct arrangements there are.
    alpha : float
        The p that has to be reached.
    exchange : str
        What can be exchanged, as the beginning of a sentence.
    remedy : str
        What to do.

    Raises
    ------
    NotIdentifiable
        The smallest p is above that.
    """
    if 1 / n > alpha * (1 + 1e-9):
        raise NotIdentifiable(
            f"{exchange} in {n:g} ways, so the smallest p that can be reached is {1 / n:.3g}; "
            f"the asked level needs {alpha:.3g}. {remedy}"
        )


def shuffled_labels(
    recording: Recording, *, label: str = "stimulus", within: str | None = None, seed: int
) -> Recording:
    """The recording with the labels of its presentations exchanged at random.

    Parameters
    ----------
    recording : Recording
        What was recorded.
    label : str
        The presentation coordinate whose labels are exchanged.
    within : str, optional
        Exchange only among presentations that share this coordinate, such as ``"session"``.
    seed : int
        Seed of the exchange.

    Returns
    -------
    Recording
        Same values in the same order, other labels.

    Raises
    ------
    UnknownName
        When a coordinate does not exist.
    NotIdentifiable
        When no exchange can change anything.
    """
    labels = np.array(recording.coordinate(label))
    groups = np.zeros(len(labels), int)
    if within is not None:
        groups = np.unique(recording.coordinate(within), return_inverse=True)[1]
    rng = np.random.default_rng(seed)
    shuffled, changeable = labels.copy(), False
    for group in range(groups.max() + 1):
        rows = np.flatnonzero(groups == group)
        shuffled[rows] = labels[rng.permutation(rows)]
        changeable |= len(set(labels[rows].tolist())) > 1
    if not changeable:
        raise NotIdentifiable(
            f"exchanging {label!r}{f' within {within!r}' if within else ''} changes nothing: "
            "there is one label only"
        )
    return recording.assign(**{label: ("presentation", shuffled)})


def phase_scrambled(recording: Recording, *, seed: int) -> Recording:
    """The recording with the phase of every frequency of its time course drawn anew.

    Each presentation gets its own random phases, the same for all of its units: what stays are the
    mean, the power spectrum of every unit and the cross-spectra between units; what goes is
    everything that is locked to time.

    Parameters
    ----------
    recording : Recording
        With a time axis of even steps.
    seed : int
        Seed of the phases.

    Returns
    -------
    Recording
        Other values under the same labels.

    Raises
    ------
    InvalidArgument
        When there is no time axis.
    NotIdentifiable
        When there are too few times for a phase to matter.

    References
    ----------
    Prichard and Theiler (1994), Generating surrogate data for time series with several
    simultaneously measured variables.
    """
    if not recording.has_time:
        raise InvalidArgument("phases need a time axis; this recording has none")
    _ = recording.sampling_rate  # refuses uneven steps, over which frequencies mean nothing
    values = recording.values
    n_presentations, n_times, _n_units = values.shape
    if n_times < 3:
        raise NotIdentifiable(f"{n_times} times have no phase to draw anew; at least 3 are needed")
    spectrum = np.fft.rfft(values, axis=1)  # (presentation, frequency, unit)
    turn = np.random.default_rng(seed).uniform(0, 2 * np.pi, (n_presentations, spectrum.shape[1]))
    turn[:, 0] = 0  # the mean
    if n_times % 2 == 0:
        turn[:, -1] = 0  # the Nyquist frequency is real
    scrambled = np.fft.irfft(spectrum * np.exp(1j * turn)[:, :, None], n=n_times, axis=1)
    return recording.with_values(
        scrambled.astype(values.dtype if values.dtype.kind == "f" else float),
        measured_in=recording.measured_in,
    )
