"""Null networks: the same degrees or the same weights, in another order."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from bregma.dynamics.connect._shuffle import Rewired, Shuffled
from bregma.dynamics.network._network import Network, Projection
from bregma.errors import InvalidArgument
from bregma.run import derive, spawn


def rewire(network: Network, *, seed: int) -> Network:
    """Every unit keeps how many synapses it gives and receives, but not with whom.

    Weights and delays that a matrix or table gives stay with the postsynaptic unit.

    Parameters
    ----------
    network : Network
        The old network.
    seed : int
        What the new pairs follow from.

    Returns
    -------
    Network
        The new network.

    References
    ----------
    Strona, Nappo, Boccacci, Fattorini, San-Miguel-Ayanz (2014). A fast and unbiased procedure to
    randomize ecological binary matrices with fixed row and column totals. Nature Communications 5.
    """
    return replace(
        network,
        projections=tuple(
            replace(p, rule=Rewired(p.rule, derive(seed, "rewire", p.label), p.pre == p.post))
            for p in network.projections
        ),
    )


def shuffle_weights(network: Network, *, seed: int) -> Network:
    """The same synapses, whose weights change places within each projection.

    Weights are what a matrix or table gives, and numbers that are given one for each synapse.

    Parameters
    ----------
    network : Network
        The old network.
    seed : int
        What the new places follow from.

    Returns
    -------
    Network
        The new network.

    Raises
    ------
    InvalidArgument
        No projection has weights that are given, so that there is nothing to shuffle.
    """
    new = tuple(_shuffled(p, derive(seed, "shuffle", p.label)) for p in network.projections)
    if all(a is b for a, b in zip(new, network.projections, strict=True)):
        raise InvalidArgument(
            "no projection of the network has weights that were given for its synapses, so there "
            "is nothing to shuffle; rewire its connections instead"
        )
    return replace(network, projections=new)


def _shuffled(p: Projection, seed: int) -> Projection:
    new = p
    stored: Any = getattr(p.rule, "_stored", None)
    if stored is not None and "weight" in stored.numbers:
        new = replace(new, rule=Shuffled(p.rule, seed))
    given = {"params": p.synapse.params, "init": p.synapse.init}
    changed: dict[str, Any] = {
        what: {
            n: spawn(seed, what, n).permutation(np.asarray(v)) if np.ndim(v) == 1 else v
            for n, v in values.items()
        }
        for what, values in given.items()
        if any(np.ndim(v) == 1 for v in values.values())
    }
    return replace(new, synapse=replace(p.synapse, **changed)) if changed else new
