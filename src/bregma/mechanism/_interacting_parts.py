"""The smallest model of a sudden change in learning: parts that are of use only together."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bregma.errors import InvalidArgument
from bregma.run import spawn_torch


class InteractingParts(nn.Module):
    """Three vectors whose outer product has to become that of three given ones.

    The loss is L = mean (a* x b* x c* - a x b x c)^2 / 2. From a random start it stays on a plateau
    and falls suddenly: each vector learns in proportion to how well the others fit already. The
    vectors pass through ``parts.0``, ``parts.1`` and ``parts.2``, where they can be clamped to
    ``wanted[0]``, ``wanted[1]`` and ``wanted[2]``; with two of them clamped the error of the third
    decays exponentially: times 1 - lr |b*|^2 |c*|^2 / size^3 at each step of gradient descent.

    Parameters
    ----------
    size : int
        Length of the vectors.
    seed : int
        Draws the start and the target, both normal.

    Raises
    ------
    InvalidArgument
        If the vectors have no elements.

    References
    ----------
    Singh, Moskovitz, Hill, Chan and Saxe (2024), What needs to go right for an induction head? A
    mechanistic study of in-context learning circuits and their formation.

    Examples
    --------
    >>> law = InteractingParts(20, seed=0)
    >>> law().item() > 0
    True
    """

    wanted: Tensor

    def __init__(self, size: int = 20, *, seed: int) -> None:
        super().__init__()
        if size < 1:
            raise InvalidArgument(f"size must be 1 or more, not {size}")
        rng = spawn_torch(seed, "InteractingParts")
        self.vectors = nn.Parameter(torch.randn(3, size, generator=rng))
        self.register_buffer("wanted", torch.randn(3, size, generator=rng))
        self.parts = nn.ModuleList(nn.Identity() for _ in range(3))

    def forward(self) -> Float[Tensor, ""]:
        """The loss.

        Returns
        -------
        Tensor
            One number.
        """
        a, b, c = (part(v) for part, v in zip(self.parts, self.vectors, strict=True))
        return (outer(*self.wanted) - outer(a, b, c)).square().mean() / 2


def outer(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    return torch.einsum("i,j,k->ijk", a, b, c)
