"""Rotary positions: pairs of units turn with time, so that products depend on distances in time."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from bregma.errors import InvalidArgument


class Rotary(nn.Module):
    """Turn every pair of neighbouring units by an angle that grows with time.

    Pair p of n units turns by ``base**(-2 p / n)`` radians per step. The product of two vectors,
    one of time t and one of time s, then depends on t - s only.

    Parameters
    ----------
    size : int
        How many units, an even number.
    base : float
        No pair takes longer than ``2 pi base`` steps to turn once.

    Attributes
    ----------
    frequencies : Tensor (pair,)
        Radians per step; zeros turn nothing.

    Raises
    ------
    InvalidArgument
        An odd number of units or none, or a base that is not above 1.

    References
    ----------
    Su et al. (2021), RoFormer: enhanced transformer with rotary position embedding.
    arXiv:2104.09864.

    Examples
    --------
    >>> turn = Rotary(2)
    >>> turn(torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([0, 1]))
    tensor([[1.0000, 0.0000],
            [0.5403, 0.8415]])
    """

    frequencies: Tensor

    def __init__(self, size: int, base: float = 2.0**16) -> None:
        super().__init__()
        if size < 2 or size % 2 or not base > 1:
            raise InvalidArgument(
                f"an even number of units and a base above 1 are needed, not {size} and {base}"
            )
        exponents = torch.arange(0, size, 2, dtype=torch.float64) / size
        self.register_buffer("frequencies", base**-exponents)

    def forward(
        self, x: Float[Tensor, "*batch time unit"], times: Int[Tensor, " time"]
    ) -> Float[Tensor, "*batch time unit"]:
        """Turn vectors.

        Parameters
        ----------
        x : Float[Tensor, "*batch time unit"]
            Vectors at every time.
        times : Int[Tensor, "time"]
            The times; negative ones turn back.

        Returns
        -------
        Float[Tensor, "*batch time unit"]
            As long as before.

        Raises
        ------
        InvalidArgument
            Another number of units or times.
        """
        if x.shape[-1] != 2 * len(self.frequencies) or x.shape[-2:-1] != times.shape:
            raise InvalidArgument(
                f"{len(times)} times need vectors of the shape "
                f"(..., {len(times)}, {2 * len(self.frequencies)}), not {tuple(x.shape)}"
            )
        angles = times[:, None] * self.frequencies  # in double precision: times may be long
        cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
        first, second = x[..., ::2], x[..., 1::2]
        turned = (first * cos - second * sin, first * sin + second * cos)
        return torch.stack(turned, -1).flatten(-2)
