"""Distances between response patterns, as pure functions.

Patterns of shape (stimulus, unit) or (time, stimulus, unit) give (pair,) or (time, pair), with
pairs in the order of ``numpy.triu_indices(n, 1)``. Single precision stays single.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, Num

from bregma.errors import InvalidArgument

from ._crossnobis import Precision, whitening
from ._noise import as_floating
from ._pairs import pairs_of_gram


def euclidean_distance(
    patterns: Num[np.ndarray, "*time stimulus unit"],
) -> Float[np.ndarray, "*time pair"]:
    """Squared Euclidean distance, divided by the number of units.

    Parameters
    ----------
    patterns : array of shape (stimulus, unit) or (time, stimulus, unit)
        Responses.

    Returns
    -------
    array of shape (pair,) or (time, pair)
        Mean squared difference between patterns.
    """
    x = as_floating(patterns)
    # The mean pattern drops out of every difference; taken out first, it costs no digits.
    x = x - x.mean(axis=-2, keepdims=True)
    distances = pairs_of_gram(x @ x.swapaxes(-1, -2), x.shape[-1])
    return np.maximum(distances, 0, out=distances)  # rounding only


def cosine_distance(
    patterns: Num[np.ndarray, "*time stimulus unit"],
) -> Float[np.ndarray, "*time pair"]:
    """One minus the cosine between patterns.

    Parameters
    ----------
    patterns : array of shape (stimulus, unit) or (time, stimulus, unit)
        Responses.

    Returns
    -------
    array of shape (pair,) or (time, pair)
        Distances between 0 and 2.

    Raises
    ------
    InvalidArgument
        A pattern that is zero everywhere has no direction.
    """
    return _one_minus_cosine(as_floating(patterns).copy(), "is zero in every unit")


def correlation_distance(
    patterns: Num[np.ndarray, "*time stimulus unit"],
) -> Float[np.ndarray, "*time pair"]:
    """One minus Pearson's correlation between patterns over units.

    Parameters
    ----------
    patterns : array of shape (stimulus, unit) or (time, stimulus, unit)
        Responses.

    Returns
    -------
    array of shape (pair,) or (time, pair)
        Distances between 0 and 2.

    Raises
    ------
    InvalidArgument
        A pattern that is the same in every unit has no correlation.
    """
    x = as_floating(patterns)
    mean = x.mean(axis=-1, keepdims=True)
    return _one_minus_cosine(x - mean, "is the same in every unit", mean[..., 0])


def _one_minus_cosine(x: Any, what: str, offset: Any = 0.0) -> Any:
    """Of rows that had an offset (overwritten); a constant row's rounding is no direction."""
    norms = np.sqrt(np.einsum("...u,...u->...", x, x))
    rounding = 8 * np.finfo(x.dtype).eps * np.sqrt(x.shape[-1]) * np.abs(offset)
    if (norms <= rounding).any():
        flat = norms <= rounding
        *time, stimulus = np.argwhere(flat)[0].tolist()
        at = f" at time number {time[0]}" if time else ""
        raise InvalidArgument(
            f"{int(flat.sum())} patterns have no direction (first: stimulus number {stimulus}{at} "
            f"{what}); leave those stimuli or times out, average over a longer window, or use "
            "EuclideanDistance()"
        )
    x *= (1 / norms)[..., None]
    distances = pairs_of_gram(x @ x.swapaxes(-1, -2), 2)  # |x - y|^2 / 2 of unit vectors
    return np.clip(distances, 0, 2, out=distances)  # rounding only


def mahalanobis_distance(
    patterns: Num[np.ndarray, "*time stimulus unit"], precision: Precision
) -> Float[np.ndarray, "*time pair"]:
    """Squared Mahalanobis distance, divided by the number of units.

    Parameters
    ----------
    patterns : array of shape (stimulus, unit) or (time, stimulus, unit)
        Responses.
    precision : array of shape (unit, unit)
        Inverse noise covariance, such as `noise_precision` gives.

    Returns
    -------
    array of shape (pair,) or (time, pair)
        Distances.

    Raises
    ------
    InvalidArgument
        The precision does not fit or is not positive definite.
    """
    x = as_floating(patterns)
    return euclidean_distance(x @ whitening(precision, x.shape[-1]).astype(x.dtype))


def poisson_kl_distance(
    rates: Num[np.ndarray, "*time stimulus unit"],
    *,
    prior_rate: float = 1.0,
    prior_weight: float = 0.1,
) -> Float[np.ndarray, "*time pair"]:
    """Symmetrised Kullback-Leibler divergence of Poisson rates, divided by the number of units.

    Parameters
    ----------
    rates : array of shape (stimulus, unit) or (time, stimulus, unit)
        Mean counts.
    prior_rate, prior_weight : float
        Rates are pulled towards `prior_rate` as by `prior_weight` observations, so that silent
        units have a logarithm.

    Returns
    -------
    array of shape (pair,) or (time, pair)
        Distances.

    Raises
    ------
    InvalidArgument
        Negative rates, or a prior that is not positive.
    """
    x = as_floating(rates)
    if prior_rate <= 0 or prior_weight <= 0:
        raise InvalidArgument(
            f"the prior must be positive, not {prior_rate} with weight {prior_weight}"
        )
    if (x < 0).any():
        raise InvalidArgument("Poisson rates cannot be negative: use counts, not z-scores")
    x = (x + prior_rate * prior_weight) / (1 + prior_weight)
    gram = x @ np.log(x).swapaxes(-1, -2)
    distances = pairs_of_gram((gram + gram.swapaxes(-1, -2)) / 2, x.shape[-1])
    return np.maximum(distances, 0, out=distances)  # rounding only
