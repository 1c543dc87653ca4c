"""Many tests at once: corrected p-values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from bregma.errors import InvalidArgument


def _p_values(p: Sequence[float | int] | Float[np.ndarray, " test"]) -> Float[np.ndarray, " test"]:
    p = np.asarray(p, dtype=float)
    if not ((p >= 0) & (p <= 1)).all():  # NaN fails both
        raise InvalidArgument(f"p-values lie in [0, 1]: {p[~((p >= 0) & (p <= 1))][0]}")
    return p


def benjamini_hochberg(
    p: Sequence[float | int] | Float[np.ndarray, " test"],
) -> Float[np.ndarray, " test"]:
    """Correct p-values for the false discovery rate.

    Parameters
    ----------
    p : array of shape (test,)
        One p-value per test.

    Returns
    -------
    array of shape (test,)
        Adjusted p-values: rejecting those <= q bounds the expected share of false discoveries by
        q, for independent or positively dependent tests.

    Raises
    ------
    InvalidArgument
        When a value is outside [0, 1].

    References
    ----------
    Benjamini and Hochberg (1995), Controlling the false discovery rate.

    Examples
    --------
    >>> benjamini_hochberg([0.01, 0.02, 0.9]).tolist()
    [0.03, 0.03, 0.9]
    """
    p = _p_values(p)
    order = np.argsort(p, kind="stable")[::-1]  # largest first
    rank = np.arange(p.size, 0, -1)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum.accumulate(p[order] * p.size / rank)
    return adjusted


def holm(p: Sequence[float | int] | Float[np.ndarray, " test"]) -> Float[np.ndarray, " test"]:
    """Correct p-values for the family-wise error rate.

    Parameters
    ----------
    p : array of shape (test,)
        One p-value per test.

    Returns
    -------
    array of shape (test,)
        Adjusted p-values: rejecting those <= alpha bounds the probability of any false rejection
        by alpha, whatever the dependence.

    Raises
    ------
    InvalidArgument
        When a value is outside [0, 1].

    References
    ----------
    Holm (1979), A simple sequentially rejective multiple test procedure.

    Examples
    --------
    >>> holm([0.01, 0.02, 0.9]).tolist()
    [0.03, 0.04, 0.9]
    """
    p = _p_values(p)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1)), 1)
    return adjusted
