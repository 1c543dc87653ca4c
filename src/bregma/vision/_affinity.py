"""Which places of a scene belong together: the edges of a graph over places."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

State = Float[Tensor, "movie unit place_y place_x"]
Graph = Float[Tensor, "movie place place"]


def normalised_graph(weights: Graph) -> Graph:
    """Symmetric degree normalisation D^-1/2 A D^-1/2.

    Parameters
    ----------
    weights : Tensor (movie, place, place)
        Symmetric affinities of 0 or more.

    Returns
    -------
    Tensor (movie, place, place)
        Symmetric; its largest eigenvalue is 1.
    """
    scale = weights.sum(-1).rsqrt()
    return scale[:, :, None] * weights * scale[:, None, :]


class _Affinity(nn.Module, ABC):
    def __init__(self) -> None:
        super().__init__()

    @abstractmethod
    def forward(self, state: State) -> Graph:
        """Link the places.

        Parameters
        ----------
        state : Tensor (movie, unit, place_y, place_x)
            One vector per place; where the links are fixed, only its shape counts.

        Returns
        -------
        Tensor (movie, place, place)
            Normalised affinities.
        """


class CosineAffinity(_Affinity):
    """Places are close whose states point the same way: exp(s cos(a_i, a_j)), normalised.

    The sharpness s = 1 + 3 pi sigmoid(mean a) follows from the state: integration over everything
    where it is low, segregation of objects where it is high.

    References
    ----------
    Sun et al. (2023), Modeling human visual motion processing with trainable motion energy
    sensing and a self-attention network.
    """

    def forward(self, state: State) -> Graph:
        nodes = state.flatten(2)
        unit = F.normalize(nodes, dim=1)
        sharpness = 1 + 3 * math.pi * nodes.mean((1, 2)).sigmoid()
        cosine = unit.transpose(1, 2) @ unit
        return normalised_graph(torch.exp(sharpness[:, None, None] * cosine))


class UniformAffinity(_Affinity):
    """All places are equally close: what is passed on is the mean over the whole scene."""

    def forward(self, state: State) -> Graph:
        n, _, rows, columns = state.shape
        return normalised_graph(state.new_ones(n, rows * columns, rows * columns))


class NeighbourAffinity(_Affinity):
    """A place is close to itself and its eight neighbours: local pooling of 3 x 3."""

    def forward(self, state: State) -> Graph:
        n, _, rows, columns = state.shape
        y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        at = torch.stack([y.flatten(), x.flatten()], 1)
        near = (at[:, None] - at[None]).abs().amax(-1) <= 1
        return normalised_graph(near.to(state).expand(n, -1, -1))
