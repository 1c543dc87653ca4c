"""Two perceptrons in a row whose features, and the links between them, are known."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from bregma.errors import InvalidArgument
from bregma.run import spawn_torch

THRESHOLD = 0.75  # drive above which a feature is on; amplitudes of inputs are 1 to 2


@dataclass(frozen=True)
class PlantedChain:
    """What two perceptrons read and write, and what they are made of.

    Parameters
    ----------
    inputs : Tensor (sample, width)
        What the first one reads: a few of `reads`.
    first : Tensor (sample, width)
        What it writes; the second one reads the sum of both.
    second : Tensor (sample, width)
        What the second one writes.
    reads, writes : Tensor (feature, width)
        Of each feature of the first one.
    later_reads, later_writes : Tensor (later feature, width)
        Of each feature of the second one.
    links : Tensor (feature, later feature)
        True where a feature writes what a later one reads.
    """

    inputs: Float[Tensor, "sample width"]
    first: Float[Tensor, "sample width"]
    second: Float[Tensor, "sample width"]
    reads: Float[Tensor, "feature width"]
    writes: Float[Tensor, "feature width"]
    later_reads: Float[Tensor, "later width"]
    later_writes: Float[Tensor, "later width"]
    links: Bool[Tensor, "feature later"]


def planted_chain(
    n: int,
    *,
    width: int = 64,
    features: int = 64,
    later: int = 32,
    links: int = 3,
    active: int = 3,
    seed: int,
) -> PlantedChain:
    r"""Perceptrons sum_k v_k ReLU(u_k . x - 0.75) in one stream; the second reads sums of v_k.

    All u_k are at right angles to each other, and so are all v_k and what the second one writes;
    each later feature reads the sum of as many v_k as it has links. Inputs are sums of u_k with
    amplitudes of 1 to 2, each there by chance.

    Parameters
    ----------
    n : int
        How many samples.
    width : int
        Of the stream.
    features, later : int
        Features of the first and of the second perceptron, at most `width`.
    links : int
        Features that drive each later one.
    active : int
        Features that are on in a sample, on average.
    seed : int
        Draws everything.

    Returns
    -------
    PlantedChain
        Samples with their truth.

    Raises
    ------
    InvalidArgument
        If a number is out of range.

    Examples
    --------
    >>> chain = planted_chain(10, seed=0)
    >>> chain.second.shape, chain.links.sum(0).unique().tolist()
    (torch.Size([10, 64]), [3])
    """
    if min(n, links, active, later) < 1 or not max(features, later) <= width:
        raise InvalidArgument(
            f"all numbers must be 1 or more, and features={features} and later={later} at most "
            f"the width {width}: they are at right angles"
        )
    if max(links, active) > features:
        raise InvalidArgument(f"links={links} and active={active} are at most {features} features")
    rng = spawn_torch(seed, "planted chain")
    reads, writes, later_writes = (
        torch.linalg.qr(torch.randn(width, width, generator=rng))[0][:rows]
        for rows in (features, features, later)
    )
    order = torch.rand(features, later, generator=rng).argsort(0)
    joined = order < links
    later_reads = joined.T.float() @ writes
    on = torch.rand(n, features, generator=rng) < active / features
    inputs = (on * (1 + torch.rand(n, features, generator=rng))) @ reads
    first = (inputs @ reads.T - THRESHOLD).relu() @ writes
    second = ((inputs + first) @ later_reads.T - THRESHOLD).relu() @ later_writes
    return PlantedChain(inputs, first, second, reads, writes, later_reads, later_writes, joined)
