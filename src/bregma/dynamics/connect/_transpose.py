"""Synapses by their target, for plasticity that asks who projects here."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Int32, Int64

from bregma.dynamics.connect._connect_kernels import transposed
from bregma.errors import InvalidArgument


class Incoming(NamedTuple):
    """Incoming synapses of each unit.

    Parameters
    ----------
    indptr : array (post + 1,)
        Where the synapses of each unit begin.
    sources : array (synapse,)
        Presynaptic units, rising within each unit.
    synapses : array (synapse,)
        Where the synapse lies among the outgoing ones: ``weights[synapses]`` are the weights in
        this order.
    """

    indptr: Int64[np.ndarray, " post_and_end"]
    sources: Int32[np.ndarray, " synapse"]
    synapses: Int64[np.ndarray, " synapse"]


def transpose(
    indptr: Int64[np.ndarray, " pre_and_end"], targets: Int32[np.ndarray, " synapse"], n_post: int
) -> Incoming:
    """Order synapses by their target.

    Parameters
    ----------
    indptr : array (pre + 1,)
        Where the outgoing synapses of each unit begin.
    targets : array (synapse,)
        Postsynaptic units.
    n_post : int
        Number of postsynaptic units.

    Returns
    -------
    Incoming
        The same synapses by target.

    Raises
    ------
    InvalidArgument
        If `indptr` does not divide the synapses into rows, or a target is not below `n_post`.
    """
    if (
        len(indptr) == 0
        or indptr[0] != 0
        or indptr[-1] != len(targets)
        or (np.diff(indptr) < 0).any()
    ):
        raise InvalidArgument(f"indptr must rise from 0 to the number of synapses, {len(targets)}")
    if len(targets) and not (targets.min() >= 0 and targets.max() < n_post):
        raise InvalidArgument(
            f"targets must lie between 0 and {n_post - 1}; they go from {targets.min()} to "
            f"{targets.max()}"
        )
    return Incoming(*transposed(indptr, targets, n_post))
