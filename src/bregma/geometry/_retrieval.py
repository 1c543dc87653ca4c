"""Retrieval: how high in the list of its neighbours does a response find its partner?"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Num

from bregma.errors import InvalidArgument

BLOCK = 2**22  # similarities in flight


def reciprocal_rank(
    queries: Num[np.ndarray, "stimulus unit"], keys: Num[np.ndarray, "stimulus_2 unit_2"]
) -> float:
    """Mean reciprocal rank of each row's partner among all rows of the other side, by cosine.

    Parameters
    ----------
    queries, keys : array of shape (stimulus, unit)
        Responses of two systems to the same stimuli in the same order, in one space: relative
        representations, or mapped by `ProcrustesMap`.

    Returns
    -------
    float
        1 where every partner is the nearest; chance is (1 + 1/2 + ... + 1/n) / n. Ties share
        their mean rank.

    Raises
    ------
    InvalidArgument
        Shapes that differ, fewer than two stimuli, or responses that are not finite or all 0.

    Examples
    --------
    >>> reciprocal_rank(np.eye(3), np.eye(3)[[0, 2, 1]])  # ranks 1, 2.5 and 2.5
    0.6
    """
    if queries.shape != keys.shape or len(queries) < 2:
        raise InvalidArgument(
            f"two (stimulus, unit) matrices over the same stimuli and units are needed, at least 2 "
            f"stimuli, not {queries.shape} and {keys.shape}"
        )
    queries, keys = _unit(queries, "queries"), _unit(keys, "keys")
    ranks, size = [], max(1, BLOCK // len(keys))
    for first in range(0, len(queries), size):
        similarity = queries[first : first + size] @ keys.T
        own = similarity.diagonal(first)[:, None]
        larger, equal = (similarity > own).sum(axis=1), (similarity == own).sum(axis=1)
        ranks.append(larger + (1 + equal) / 2)
    return float(np.mean(1 / np.concatenate(ranks)))


def _unit(x: np.ndarray, what: str) -> Float[np.ndarray, "stimulus unit"]:
    x = np.asarray(x, dtype=float)
    length = np.linalg.norm(x, axis=1, keepdims=True)
    bad = ~np.isfinite(length) | (length == 0)
    if bad.any():
        raise InvalidArgument(
            f"row {int(np.argmax(bad))} of the {what} is not finite or 0 in every unit: it has no "
            "direction; leave that stimulus out on both sides"
        )
    return x / length
