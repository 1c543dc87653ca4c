"""Consolidation: what resembles a memory is merged into it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from bregma.errors import InvalidArgument


class Consolidated(NamedTuple):
    """What was kept of a sequence of features.

    Parameters
    ----------
    features : ndarray (record, feature)
        Mean of everything that was merged into a record.
    owner : ndarray (item,)
        Record that an item was merged into.
    """

    features: Float[np.ndarray, "record feature"]
    owner: Int[np.ndarray, " item"]


def consolidate(
    features: Float[np.ndarray, "item feature"], similarity: float = 0.9
) -> Consolidated:
    """Keep an item only where nothing that was kept before it resembles it.

    Walks in time: an item whose greatest cosine with the kept ones is below `similarity` is kept;
    any other is merged into the one that it resembles most.

    Parameters
    ----------
    features : ndarray (item, feature)
        Features in the order of time.
    similarity : float
        Cosine from which items are the same; above 1 everything is kept.

    Returns
    -------
    Consolidated
        Records and who belongs to them.

    Raises
    ------
    InvalidArgument
        If there are no items, or some are zero or not finite.

    References
    ----------
    Lin et al. (2025), HippoMM: hippocampal-inspired multimodal memory for long audiovisual event
    understanding.

    Examples
    --------
    >>> consolidate(np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])).owner
    array([0, 0, 1])
    """
    unit = unit_length(features)
    kept = [0]
    owner = np.zeros(len(unit), dtype=int)
    for i in range(1, len(unit)):
        cosines = unit[kept] @ unit[i]
        best = int(cosines.argmax())
        if cosines[best] < similarity:
            owner[i] = len(kept)
            kept.append(i)
        else:
            owner[i] = best
    totals = np.zeros((len(kept), features.shape[1]))
    np.add.at(totals, owner, features)
    return Consolidated(totals / np.bincount(owner)[:, None], owner)


def unit_length(features: Float[np.ndarray, "item feature"]) -> Float[np.ndarray, "item feature"]:
    """Divide every row by its length.

    Parameters
    ----------
    features : ndarray (item, feature)
        Features.

    Returns
    -------
    ndarray (item, feature)
        Rows of length 1.

    Raises
    ------
    InvalidArgument
        If there are no rows, or some are zero or not finite.
    """
    if features.ndim != 2 or not features.size or not np.isfinite(features).all():
        raise InvalidArgument("features need the shape (item, feature) and no NaN")
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    if not lengths.all():
        raise InvalidArgument("features that are zero have no direction to compare")
    return features / lengths
