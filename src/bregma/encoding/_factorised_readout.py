"""A readout with a fixed receptive field: one map of places times weights of features."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bregma.encoding._unit_readout import UnitReadout
from bregma.errors import InvalidArgument
from bregma.run import spawn_torch


class FactorisedReadout(nn.Module):
    """Responses of units from the tokens of an image through a map that is the same for all images.

    ``y_v = w_v . sum_t softmax_t(m_r(v))_t x_t + b_v`` with one map m_r for each area; give every
    unit an area of its own for one map per unit. Maps start flat and weights at 0.

    Parameters
    ----------
    width : int
        Features of a token.
    areas : sequence of hashable
        The area of every unit.
    n_tokens : int
        Places.
    hidden : int
        Units of a feed-forward layer behind the map, as in `AttentionReadout`; 0 for none.
    seed : int
        Of the first weights of that layer; nothing else is random.

    Raises
    ------
    InvalidArgument
        If there is no feature, unit or place, or hidden is negative.

    References
    ----------
    Klindt et al. (2017), Neural system identification for large populations separating "what" and
    "where".
    St-Yves and Naselaris (2018), The feature-weighted receptive field.

    Examples
    --------
    >>> readout = FactorisedReadout(8, areas=["V1", "V1", "FFA"], n_tokens=12, seed=0)
    >>> readout(torch.zeros(5, 12, 8)).shape
    torch.Size([5, 3])
    """

    def __init__(
        self, width: int, areas: Sequence[Hashable], *, n_tokens: int, hidden: int = 0, seed: int
    ) -> None:
        super().__init__()
        if n_tokens < 1:
            raise InvalidArgument(f"n_tokens must be 1 or more, not {n_tokens}")
        self.units = UnitReadout(width, areas, hidden, spawn_torch(seed, "factorised readout"))
        self.map = nn.Parameter(torch.zeros(len(self.units.names), n_tokens))

    @property
    def areas(self) -> tuple[Hashable, ...]:
        """The areas, in the order of their maps."""
        return self.units.names

    def forward(self, tokens: Float[Tensor, "scene token width"]) -> Float[Tensor, "scene unit"]:
        """Predict responses.

        Parameters
        ----------
        tokens : Float[Tensor, "scene token width"]
            Tokens of images.

        Returns
        -------
        Float[Tensor, "scene unit"]
            Responses.

        Raises
        ------
        InvalidArgument
            If the tokens have another number or width.
        """
        expected = (self.map.shape[1], self.units.weight.shape[1])
        if tokens.ndim != 3 or tokens.shape[1:] != expected or not len(tokens):
            raise InvalidArgument(
                f"tokens must be (scene, {expected[0]}, {expected[1]}), not {tuple(tokens.shape)}"
            )
        return self.units(self.map.softmax(dim=1) @ tokens)
