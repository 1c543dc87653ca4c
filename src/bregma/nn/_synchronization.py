"""Synchronisation of pairs of units over time as a representation, and the snapshot beside it."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bregma.errors import InvalidArgument
from bregma.run import spawn_torch

Sums = tuple[Tensor, Tensor]


class Synchronization(nn.Module):
    """How alike pairs of units moved so far, the recent past weighing more.

    For a pair (i, j) with the decay r, S = sum_s e^{-r (t-s)} z_i z_j / sqrt(sum_s e^{-r (t-s)}):
    both sums are carried along, so that a step costs the same however long the past is.

    Parameters
    ----------
    size : int
        How many units.
    n_pairs : int
        How many pairs are drawn, with replacement.
    n_self : int
        How many of them are a unit with itself, from which its size now can be read.
    seed : int
        Draws the pairs.

    Attributes
    ----------
    decay : Parameter (pair,)
        The rates r, learned, of 0 at first: no forgetting. Below 0 they count as 0.
    left, right : Tensor (pair,)
        The units of each pair.

    Raises
    ------
    InvalidArgument
        A size or a number of pairs below 1, or more pairs of a unit with itself than pairs.

    References
    ----------
    Darlow et al. (2025), Continuous thought machines. arXiv:2505.05522.

    Examples
    --------
    >>> sync = Synchronization(2, 3, n_self=3, seed=0).requires_grad_(False)
    >>> first, sums = sync(torch.tensor([[2.0, 2.0]]))
    >>> second, sums = sync(torch.tensor([[1.0, 1.0]]), sums)
    >>> first, second  # 4, and (4 + 1) / sqrt(2)
    (tensor([[4., 4., 4.]]), tensor([[3.5355, 3.5355, 3.5355]]))
    """

    left: Tensor
    right: Tensor

    def __init__(self, size: int, n_pairs: int, *, n_self: int = 0, seed: int = 0) -> None:
        super().__init__()
        if size < 1 or n_pairs < 1 or not 0 <= n_self <= n_pairs:
            raise InvalidArgument(
                f"size and n_pairs must be 1 or more and n_self from 0 to n_pairs, "
                f"not {size}, {n_pairs}, {n_self}"
            )
        self.n_units, self.size = size, n_pairs
        rng = spawn_torch(seed, "Synchronization")
        left, right = torch.randint(size, (2, n_pairs), generator=rng)
        right[:n_self] = left[:n_self]
        self.register_buffer("left", left)
        self.register_buffer("right", right)
        self.decay = nn.Parameter(torch.zeros(n_pairs))

    def forward(
        self, z: Float[Tensor, "batch unit"], sums: Sums | None = None
    ) -> tuple[Float[Tensor, "batch pair"], Sums]:
        """Take one more moment in.

        Parameters
        ----------
        z : Float[Tensor, "batch unit"]
            Activity now.
        sums : (Tensor, Tensor), optional
            What the moment before returned; without it, this is the first one.

        Returns
        -------
        (Float[Tensor, "batch pair"], (Tensor, Tensor))
            The synchronisation, and the sums to go on from.

        Raises
        ------
        InvalidArgument
            Another number of units.
        """
        if z.shape[-1] != self.n_units:
            raise InvalidArgument(f"{self.n_units} units are synchronised, not {z.shape[-1]}")
        together = z[:, self.left] * z[:, self.right]
        if sums is None:
            above, below = together, torch.ones_like(self.decay)
        else:
            keep = torch.exp(-_AtLeastZero.apply(self.decay))
            above, below = keep * sums[0] + together, keep * sums[1] + 1
        return above / below.sqrt(), (above, below)


class Snapshot(nn.Module):
    """The activity of now as a representation: what recurrent networks are usually read from.

    Parameters
    ----------
    size : int
        How many units.

    Raises
    ------
    InvalidArgument
        Fewer than one unit.

    Examples
    --------
    >>> Snapshot(3)(torch.ones(1, 3))
    (tensor([[1., 1., 1.]]), None)
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        if size < 1:
            raise InvalidArgument(f"size must be 1 or more, not {size}")
        self.size = size

    def forward(
        self, z: Float[Tensor, "batch unit"], sums: None = None
    ) -> tuple[Float[Tensor, "batch unit"], None]:
        """Give the activity back.

        Parameters
        ----------
        z : Float[Tensor, "batch unit"]
            Activity now.
        sums : None
            Nothing is carried along.

        Returns
        -------
        (Float[Tensor, "batch unit"], None)
            The same activity.
        """
        return z, None


class _AtLeastZero(torch.autograd.Function):
    """max(x, 0), whose derivative is 0 only where it would lead further below 0.

    With the derivative of a plain clamp, a rate that a step of the optimizer put below 0 would
    stay there for ever.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return gradient * ((x > 0) | (gradient < 0))
