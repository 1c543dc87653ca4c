"""Sparseness: to how few stimuli a unit answers, and how few units answer a stimulus."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from bregma.errors import InvalidArgument, NotIdentifiable
from bregma.recording import Recording


def lifetime_sparseness(responses: Any) -> Float[np.ndarray, " unit"]:
    r"""To how few of the stimuli each unit answers.

    .. math:: S = \frac{1 - \langle r\rangle^2 / \langle r^2\rangle}{1 - 1/n}

    with means over the n stimuli: 0 for a unit that answers all alike (or none), 1 for one that
    answers a single stimulus.

    Parameters
    ----------
    responses : Recording or array (stimulus, unit)
        Rates or other numbers of 0 or more; repeats in a recording are averaged.

    Returns
    -------
    array (unit,)
        From 0 to 1.

    Raises
    ------
    InvalidArgument
        If there are negative numbers, or a time axis.
    NotIdentifiable
        If there are fewer than 2 stimuli.

    References
    ----------
    Rolls and Tovee (1995), Sparseness of the neuronal representation of stimuli in the primate
    temporal visual cortex.
    Vinje and Gallant (2000), Sparse coding and decorrelation in primary visual cortex during
    natural vision.

    Examples
    --------
    >>> lifetime_sparseness(np.array([[3.0, 1.0], [0.0, 1.0], [0.0, 1.0]])).tolist()
    [1.0, 0.0]
    """
    return sparseness_of(_rates(responses), "stimuli")


def population_sparseness(responses: Any) -> Float[np.ndarray, " stimulus"]:
    """How few of the units answer each stimulus: the same index, over units.

    Parameters
    ----------
    responses : Recording or array (stimulus, unit)
        Rates or other numbers of 0 or more; repeats in a recording are averaged. Bring units to
        one scale first where their rates are not comparable.

    Returns
    -------
    array (stimulus,)
        From 0 to 1.

    Raises
    ------
    InvalidArgument
        If there are negative numbers, or a time axis.
    NotIdentifiable
        If there are fewer than 2 units.

    References
    ----------
    Willmore and Tolhurst (2001), Characterizing the sparseness of neural codes.

    Examples
    --------
    >>> population_sparseness(np.array([[1.0, 1.0, 1.0], [0.0, 5.0, 0.0]])).round(3).tolist()
    [0.0, 1.0]
    """
    return sparseness_of(_rates(responses).T, "units")


def sparseness_of(rates: Float[np.ndarray, "n many"], what: str) -> Float[np.ndarray, " many"]:
    """The index over the first axis of numbers of 0 or more."""
    n = len(rates)
    if n < 2:
        raise NotIdentifiable(f"sparseness over {n} of the {what}: at least 2 are needed")
    squares = (rates**2).mean(axis=0)
    even = np.divide(rates.mean(axis=0) ** 2, squares, out=np.ones_like(squares), where=squares > 0)
    return np.clip((1 - even) / (1 - 1 / n), 0, 1)


def _rates(responses: Any) -> Float[np.ndarray, "stimulus unit"]:
    if isinstance(responses, Recording):
        if responses.has_time:
            raise InvalidArgument("there is a time axis: average over a window with mean_time")
        responses = responses.average_repeats().values
    rates = np.asarray(responses, dtype=np.float64)
    if rates.ndim != 2 or not np.isfinite(rates).all():
        raise InvalidArgument(f"responses must be finite and (stimulus, unit), not {rates.shape}")
    if rates.min() < 0:
        raise InvalidArgument(
            f"sparseness is of rates of 0 or more; these go down to {rates.min():.3g}: rectify "
            "them, or take the layer behind the nonlinearity"
        )
    return rates
