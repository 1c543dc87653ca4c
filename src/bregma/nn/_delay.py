"""Delays that are learned, one for each channel."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bregma.errors import InvalidArgument
from bregma.run import spawn_torch


class Delay(nn.Module):
    """Delay each channel by a learnable time (an axon), in steps.

    A delay need not be whole: what comes in is shared between the two steps around it in proportion
    (linear interpolation), which is the limit of ``sigma = 0``. Such a delay sees only one step to
    each side; training finds distant spikes when ``sigma``, the width of a Gaussian in steps,
    begins wide and is lowered towards 0 (set it between epochs).

    Parameters
    ----------
    size : int
        How many channels.
    most : int
        Longest delay, in steps. Delays stay between 0 and `most`.
    sigma : float
        Width of the Gaussian in steps; 0 for linear interpolation.
    seed : int
        Of the first delays, uniform between 0 and `most`.

    Attributes
    ----------
    delay : Parameter (unit,)
        Delays in steps.

    Raises
    ------
    InvalidArgument
        A size or longest delay below 1, or a negative width.

    References
    ----------
    Hammouamri, Khalfaoui-Hassani and Masquelier (2024), Learning delays in spiking neural networks
    using dilated convolutions with learnable spacings.

    Examples
    --------
    >>> layer = Delay(1, 4)
    >>> _ = layer.delay.data.fill_(1.25)
    >>> x = torch.tensor([1.0, 0, 0, 0]).reshape(4, 1, 1)
    >>> layer(x)[0].flatten()
    tensor([0.0000, 0.7500, 0.2500, 0.0000], grad_fn=<ViewBackward0>)
    """

    def __init__(self, size: int, most: int, *, sigma: float = 0.0, seed: int = 0) -> None:
        super().__init__()
        if size < 1 or most < 1 or not sigma >= 0:
            raise InvalidArgument(
                f"a delay needs size >= 1, most >= 1 and sigma >= 0, not {size}, {most}, {sigma}"
            )
        self.size, self.most, self.sigma = size, most, sigma
        drawn = torch.rand(size, generator=spawn_torch(seed, "Delay")) * most
        self.delay = nn.Parameter(drawn)

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Delay what comes in.

        Parameters
        ----------
        x : Tensor (time, batch, unit)
            Spikes or currents.
        state : Tensor (most, batch, unit), optional
            What is still under way: what an earlier call returned; nothing by default.

        Returns
        -------
        (Tensor, Tensor)
            The delayed input (time, batch, unit), and what is still under way.

        Raises
        ------
        InvalidArgument
            An input or a state of another shape.
        """
        if x.dim() != 3 or x.shape[2] != self.size:
            raise InvalidArgument(
                f"the input must have the shape (time, batch, {self.size}), not {tuple(x.shape)}"
            )
        before = x.new_zeros(self.most, *x.shape[1:]) if state is None else state
        if before.shape != (self.most, *x.shape[1:]):
            raise InvalidArgument(
                f"the state must have the shape {(self.most, *x.shape[1:])}, not "
                f"{tuple(before.shape)}"
            )
        both = torch.cat([before, x])
        lines = both.permute(1, 2, 0)  # (batch, unit, time)
        kernel = self.weights().to(x).flip(1)[:, None]  # the oldest step first
        delayed = nn.functional.conv1d(lines, kernel, groups=self.size)
        return delayed.permute(2, 0, 1), both[len(x) :]

    def weights(self) -> Tensor:
        """How much of the input comes through after each number of steps.

        Returns
        -------
        Tensor (unit, most + 1)
            Each row adds up to 1.
        """
        # the derivative goes on where a delay is at its bounds, so that it can come back
        delay = self.delay + (self.delay.clamp(0, self.most) - self.delay).detach()
        if self.sigma == 0:
            whole = delay.detach().floor().clamp(max=self.most - 1)
            part = (delay - whole)[:, None]
            one = nn.functional.one_hot(whole.long(), self.most + 1)
            return one * (1 - part) + one.roll(1, 1) * part
        away = torch.arange(self.most + 1, device=delay.device) - delay[:, None]
        return torch.softmax(-((away / self.sigma) ** 2) / 2, 1)

    def extra_repr(self) -> str:
        """What the module shows of itself.

        Returns
        -------
        str
            Sizes.
        """
        return f"{self.size} channels, at most {self.most} steps, sigma={self.sigma:g}"
