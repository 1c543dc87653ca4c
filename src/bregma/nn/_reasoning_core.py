"""Recurrent cores of a reasoner: what happens to its state within one segment."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bregma.errors import InvalidArgument

States = tuple[Tensor, ...]


class TwoTimescale(nn.Module):
    """A fast module that is updated at every step, and a slow one that is updated once per cycle.

    The fast state settles under a slow state that is held; then the slow state moves, and the
    fast one starts to settle anew: z_L = f_L(z_L, z_H + x) for `steps` steps, z_H = f_H(z_H, z_L),
    `cycles` times. Derivatives flow through the last update of both modules only, which needs
    memory for two updates however many there are: what remains of the derivative of a fixed point
    when the inverse of (1 - Jacobian) is replaced by 1.

    Parameters
    ----------
    fast, slow : torch.nn.Module
        ``f(z, injection)`` gives the next z, all (batch, token, width); see `PostNormTransformer`.
    cycles : int
        Updates of the slow module.
    steps : int
        Updates of the fast module in each cycle.
    one_step : bool
        Whether derivatives flow through the last updates only, or through all of them.

    Raises
    ------
    InvalidArgument
        If there is no cycle or no step.

    References
    ----------
    Wang et al. (2025), Hierarchical reasoning model.
    Bai, Kolter and Koltun (2019), Deep equilibrium models.

    Examples
    --------
    >>> mean = nn.Bilinear(1, 1, 1)  # stands for any module of a state and an input
    >>> core = TwoTimescale(mean, mean, cycles=3, steps=2)
    >>> slow, fast = core((torch.zeros(4, 1), torch.zeros(4, 1)), torch.ones(4, 1))
    >>> slow.shape
    torch.Size([4, 1])
    """

    n_states = 2

    def __init__(
        self,
        fast: nn.Module,
        slow: nn.Module,
        *,
        cycles: int = 2,
        steps: int = 2,
        one_step: bool = True,
    ) -> None:
        super().__init__()
        if min(cycles, steps) < 1:
            raise InvalidArgument(f"cycles and steps must be 1 or more, not {cycles} and {steps}")
        self.fast, self.slow = fast, slow
        self.cycles, self.steps, self.one_step = cycles, steps, one_step

    def forward(self, state: States, x: Tensor) -> States:
        """One segment.

        Parameters
        ----------
        state : tuple of Tensor (batch, token, width)
            The slow state, which the answer is read from, and the fast state.
        x : Tensor (batch, token, width)
            The embedded input.

        Returns
        -------
        tuple of Tensor
            Both states after the segment.
        """
        slow, fast = state
        total = self.cycles * self.steps
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.one_step):
            for step in range(1, total):
                fast = self.fast(fast, slow + x)
                if step % self.steps == 0:
                    slow = self.slow(slow, fast)
        fast = self.fast(fast, slow + x)
        slow = self.slow(slow, fast)
        return slow, fast


class OneTimescale(nn.Module):
    """A single recurrent module: z = f(z, x), with derivatives through the last update only.

    The control of `TwoTimescale`: the same blocks in one stack, with neither levels nor two speeds.

    Parameters
    ----------
    module : torch.nn.Module
        ``f(z, injection)`` gives the next z, all (batch, token, width); see `PostNormTransformer`.
    steps : int
        Number of updates.

    Raises
    ------
    InvalidArgument
        If there is no step.

    References
    ----------
    Wang et al. (2025), Hierarchical reasoning model (the model that this one is compared with).
    """

    n_states = 1

    def __init__(self, module: nn.Module, *, steps: int = 3) -> None:
        super().__init__()
        if steps < 1:
            raise InvalidArgument(f"steps must be 1 or more, not {steps}")
        self.module, self.steps = module, steps

    def forward(self, state: States, x: Tensor) -> States:
        """One segment.

        Parameters
        ----------
        state : tuple of one Tensor (batch, token, width)
            The state.
        x : Tensor (batch, token, width)
            The embedded input.

        Returns
        -------
        tuple of Tensor
            The state after the segment.
        """
        (z,) = state
        with torch.no_grad():
            for _ in range(self.steps - 1):
                z = self.module(z, x)
        return (self.module(z, x),)
