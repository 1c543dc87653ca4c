"""The second half of a readout by areas: every unit weighs what its area has gathered."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bregma.errors import InvalidArgument


class UnitReadout(nn.Module):
    """y_v = w_v . o_r(v) + b_v, where r(v) is the area of unit v; weights start at 0.

    With a feed-forward layer, o_r becomes o_r + FF(o_r) before, with the same layer for all areas.

    Parameters
    ----------
    width : int
        Features that an area gathers.
    areas : sequence of hashable
        The area of every unit.
    hidden : int
        Units of the feed-forward layer; 0 for none.
    generator : torch.Generator
        Draws the weights of the feed-forward layer.

    Raises
    ------
    InvalidArgument
        If there is no unit or no feature, or hidden is negative.
    """

    area: Tensor
    rank: Tensor
    slot: Tensor

    def __init__(
        self, width: int, areas: Sequence[Hashable], hidden: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        if width < 1 or not len(areas) or hidden < 0:
            raise InvalidArgument(
                f"a readout needs features, units, and hidden=0 or more, not {width}, "
                f"{len(areas)} and {hidden}"
            )
        self.names = tuple(dict.fromkeys(areas))
        members = [[v for v, name in enumerate(areas) if name == a] for a in self.names]
        most = max(map(len, members))
        area, rank = torch.zeros(2, len(areas), dtype=torch.int64)
        slot = torch.zeros(len(members), most, dtype=torch.int64)
        for r, units in enumerate(members):
            area[units], rank[units] = r, torch.arange(len(units))
            slot[r, : len(units)] = torch.tensor(units)
        self.register_buffer("area", area)
        self.register_buffer("rank", rank)
        self.register_buffer("slot", slot)
        self.mixed = (
            nn.Sequential(
                nn.LayerNorm(width), nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width)
            )
            if hidden
            else None
        )
        normal_(self, generator)
        self.weight = nn.Parameter(torch.zeros(len(areas), width))
        self.bias = nn.Parameter(torch.zeros(len(areas)))

    def forward(self, gathered: Float[Tensor, "scene area width"]) -> Float[Tensor, "scene unit"]:
        if self.mixed is not None:
            gathered = gathered + self.mixed(gathered)
        # Units of an area lie side by side (areas padded to the largest): what an area gathered is
        # never copied for each of its units.
        by_area = torch.einsum("naw,auw->nau", gathered, self.weight[self.slot])
        return by_area[:, self.area, self.rank] + self.bias


def normal_(module: nn.Module, generator: torch.Generator) -> None:
    """Draw the weights of all linear maps with variance 1 / (number of inputs); no biases."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.normal_(part.weight, std=part.in_features**-0.5, generator=generator)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
