"""Intervals of means over samples."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy import stats

from bregma.errors import InvalidArgument


def check_level(level: float) -> None:
    """Refuse what is no level."""
    if not 0 < level < 1:
        raise InvalidArgument(f"the level lies in (0, 1), not {level}")


def student_half(values: Float[np.ndarray, "sample ..."], level: float) -> Float[np.ndarray, ...]:
    """Half of the interval of a mean (Student); without end where there is one sample.

    Parameters
    ----------
    values : array (sample, ...)
        What the mean is of.
    level : float
        Of the interval.

    Returns
    -------
    array (...)
        From the mean to either end.

    Raises
    ------
    InvalidArgument
        A level outside (0, 1).
    """
    check_level(level)
    n = len(values)
    if n < 2:
        return np.full(values.shape[1:], np.inf)
    return np.asarray(stats.t.ppf((1 + level) / 2, n - 1) * values.std(0, ddof=1) / np.sqrt(n))
