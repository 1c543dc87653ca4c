"""Pairs of stimuli, in the order of ``numpy.triu_indices(n, 1)``: counts and differences."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from jaxtyping import Float

from bregma.errors import InvalidArgument


def n_stimuli_of(n_pairs: int) -> int:
    """How many stimuli have so many pairs.

    Parameters
    ----------
    n_pairs : int
        Number of pairs.

    Returns
    -------
    int
        Number of stimuli.

    Raises
    ------
    InvalidArgument
        When no number of stimuli has so many pairs.
    """
    n = (1 + int(np.sqrt(1 + 8 * n_pairs))) // 2
    if n * (n - 1) // 2 != n_pairs:
        raise InvalidArgument(
            f"{n_pairs} pairs belong to no number of stimuli ({n} have {n * (n - 1) // 2})"
        )
    return n


def pairs_of_gram(
    gram: Float[np.ndarray, "*time n n"], units: int = 1
) -> Float[np.ndarray, "*time pair"]:
    """(g_ii + g_jj - 2 g_ij) / units of each pair i < j, in the order of ``numpy.triu_indices``."""
    n = gram.shape[-1]
    if gram.ndim == 2 and n <= 512:  # few and small: indexing beats a loop over rows
        first, second = _pair_indices(n)
        own = np.diagonal(gram)
        return (own[first] + own[second] - 2 * gram[first, second]) / units
    from ._pair_kernel import differences

    out = np.empty((*gram.shape[:-2], n * (n - 1) // 2), gram.dtype)
    differences(gram.reshape(-1, n, n), gram.dtype.type(1 / units), out.reshape(-1, out.shape[-1]))
    return out


@lru_cache(maxsize=4)
def _pair_indices(n: int) -> tuple[np.ndarray, np.ndarray]:
    return np.triu_indices(n, 1)
