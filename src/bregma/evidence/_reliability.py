"""Noise ceilings from repeats: how well the data predict themselves."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from bregma.errors import InvalidArgument, NotIdentifiable
from bregma.recording import Recording


def spearman_brown(r: float | int, factor: float | int = 2) -> float:
    """Reliability of `factor` times as many repeats.

    Parameters
    ----------
    r : float
        Correlation between two equally long halves, in (-1, 1]; may be negative by chance.
    factor : float
        How many times as many repeats.

    Returns
    -------
    float
        factor * r / (1 + (factor - 1) * r).

    Raises
    ------
    InvalidArgument
        When `r` is outside (-1, 1] or `factor` is not positive.

    References
    ----------
    Spearman (1910) and Brown (1910), British Journal of Psychology 3.

    Examples
    --------
    >>> spearman_brown(0.5)
    0.6666666666666666
    """
    if not -1 < r <= 1 or not factor > 0:
        raise InvalidArgument(
            f"a correlation in (-1, 1] and a positive factor, not {r} and {factor}"
        )
    if 1 + (factor - 1) * r <= 0:
        raise InvalidArgument(f"a correlation of {r} cannot be carried to {factor} times the data")
    return factor * r / (1 + (factor - 1) * r)


def split_half_reliability(
    recording: Recording, *, n_splits: int = 100, seed: int
) -> Float[np.ndarray, " unit"]:
    """Reliability of each unit's average response, over stimuli and times.

    The repeats of each stimulus are split at random into halves; the correlation of the halves is
    averaged over splits and carried to the full number of repeats (Spearman-Brown). It estimates
    the share of the averaged response's variance that is signal. Its square root is the
    correlation that a perfect, noise-free model of the unit would reach.

    Parameters
    ----------
    recording : Recording
        Every stimulus with an even number of repeats, at least 2.
    n_splits : int
        How many random splits.
    seed : int
        Seed of the splits.

    Returns
    -------
    array of shape (unit,)
        One reliability per unit, at most 1; noise can make it negative, and it is not clipped.

    Raises
    ------
    NotIdentifiable
        When a stimulus has an odd number of repeats or only one, when there are fewer than 3
        stimuli, or a unit does not vary.
    InvalidArgument
        When fewer than 1 split is asked for.
    """
    if n_splits < 1:
        raise InvalidArgument(f"at least 1 split, not {n_splits}")
    stimuli, repeats = np.unique(np.asarray(recording.stimuli).astype(str), return_counts=True)
    if len(stimuli) < 3:
        raise NotIdentifiable(f"a correlation over {len(stimuli)} stimuli says nothing; use 3")
    if (repeats % 2).any():
        odd = int(np.flatnonzero(repeats % 2)[0])
        raise NotIdentifiable(
            f"stimulus {stimuli[odd]!r} was shown {repeats[odd]} times; halves of equal size need "
            "an even number of repeats: leave one out"
        )
    total = np.zeros(recording.n_units)
    for first, second in recording.split_halves(n_splits, seed=seed):
        total += _correlation_per_unit(first, second)
    return np.array([spearman_brown(float(r)) for r in total / n_splits])


def _correlation_per_unit(a: Recording, b: Recording) -> Float[np.ndarray, " unit"]:
    x, y = (np.asarray(r.values, float).reshape(-1, r.n_units) for r in (a, b))
    x, y = x - x.mean(0), y - y.mean(0)
    size = np.sqrt((x**2).sum(0) * (y**2).sum(0))
    if (size == 0).any():
        unit = a.units.index[np.flatnonzero(size == 0)[0]]
        raise NotIdentifiable(f"unit {unit!r} does not vary over stimuli; leave it out")
    return (x * y).sum(0) / size
