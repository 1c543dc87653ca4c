"""Hidden states have no names: which found state is which true one."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int
from scipy.optimize import linear_sum_assignment

from bregma.errors import InvalidArgument


def match_states(
    found: Int[np.ndarray, "*bins"], true: Int[np.ndarray, "*bins"], n_states: int
) -> tuple[Int[np.ndarray, " state"], float]:
    """Name found states after the true ones that they coincide with most.

    Parameters
    ----------
    found, true : Int[np.ndarray, "*bins"]
        A state of each bin, from 0 to n_states - 1.
    n_states : int
        Number of states.

    Returns
    -------
    order : Int[np.ndarray, "state"]
        The found state that stands for each true state: ``weights_[order]`` is in true order.
    accuracy : float
        Share of bins in which they agree; at least 1 / n_states.

    Raises
    ------
    InvalidArgument
        If the shapes differ, nothing is given, or a state is out of range.

    Examples
    --------
    >>> match_states(np.array([1, 1, 0, 0]), np.array([0, 0, 1, 0]), 2)
    (array([1, 0]), 0.75)
    """
    if found.shape != true.shape or not found.size:
        raise InvalidArgument(
            f"found {found.shape} and true {true.shape} need one shape, and not an empty one"
        )
    low, high = min(found.min(), true.min()), max(found.max(), true.max())
    if low < 0 or high >= n_states:
        raise InvalidArgument(f"states from {low} to {high} are not 0 to {n_states - 1}")
    together = np.zeros((n_states, n_states))
    np.add.at(together, (true.ravel(), found.ravel()), 1)
    rows, order = linear_sum_assignment(-together)
    return order, float(together[rows, order].sum() / found.size)
