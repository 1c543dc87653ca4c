"""RDMs whose stimuli have exchanged their labels."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int

CHUNK = 2**22  # numbers held at once: 32 MiB


def relabelled(
    rdms: Float[np.ndarray, "rdm pair"], orders: Int[np.ndarray, "draw stimulus"]
) -> Iterator[Float[np.ndarray, "draws pair rdm"]]:
    """RDMs with their stimuli in other orders, some draws at a time.

    Parameters
    ----------
    rdms : array of shape (rdm, pair)
        Dissimilarities.
    orders : array of shape (draw, stimulus)
        For each draw, which stimulus comes where.

    Yields
    ------
    array of shape (draws, pair, rdm)
        The same dissimilarities under the new labels, for the next draws.
    """
    n = orders.shape[1]
    i, j = np.triu_indices(n, 1)
    pair = np.zeros((n, n), dtype=np.intp)
    pair[i, j] = pair[j, i] = np.arange(len(i))
    of_pairs = np.ascontiguousarray(rdms.T)  # all RDMs of a pair are fetched at once
    step = max(1, CHUNK // rdms.size)
    for start in range(0, len(orders), step):
        some = orders[start : start + step]
        yield of_pairs[pair[some[:, i], some[:, j]]]
