"""Images as parameters: pixel by pixel, or wave by wave."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

EDGE = 0.005  # how near the limits a sigmoid can start


class PixelImages(nn.Module):
    """Images whose pixels are the parameters; they are clipped to the limits after every step.

    Parameters
    ----------
    start : Tensor (image, channel, row, column)
        Where ascent starts.
    low, high : float
        Limits of pixels.
    """

    def __init__(
        self, start: Float[Tensor, "image channel row column"], low: float, high: float
    ) -> None:
        super().__init__()
        self.low, self.high = low, high
        self.pixels = nn.Parameter(start.clone())

    def forward(self) -> Float[Tensor, "image channel row column"]:
        """The images."""
        return self.pixels + 0.0  # a tensor of its own, whose gradient can be weighted

    @torch.no_grad()
    def project(self) -> None:
        """Clip to the limits, in place."""
        self.pixels.clamp_(self.low, self.high)


class FourierImages(nn.Module):
    r"""Images whose waves are the parameters, each scaled by its length; limits by a sigmoid.

    .. math:: x = low + (high - low)\, \sigma\left(\mathcal F^{-1}(z_f / \max(f, 1/n))\right)

    A step along the gradient then changes all frequencies by as much as natural images hold of
    them, instead of the high ones most.

    Parameters
    ----------
    start : Tensor (image, channel, row, column)
        Where ascent starts.
    low, high : float
        Limits of pixels.

    References
    ----------
    Olah, Mordvintsev and Schubert (2017), Feature visualization.
    """

    scale: Tensor

    def __init__(
        self, start: Float[Tensor, "image channel row column"], low: float, high: float
    ) -> None:
        super().__init__()
        self.low, self.high = low, high
        self.size = (start.shape[2], start.shape[3])
        rows = torch.fft.fftfreq(self.size[0], device=start.device)[:, None]
        columns = torch.fft.rfftfreq(self.size[1], device=start.device)
        slowest = 1 / max(self.size)
        pixels = math.sqrt(self.size[0] * self.size[1])
        self.register_buffer("scale", pixels / torch.hypot(rows, columns).clamp_min(slowest) / 4)
        share = ((start - low) / (high - low)).clamp(EDGE, 1 - EDGE)
        waves = torch.fft.rfft2(share.logit()) / self.scale
        self.waves = nn.Parameter(torch.view_as_real(waves))

    def forward(self) -> Float[Tensor, "image channel row column"]:
        """The images."""
        waves = torch.view_as_complex(self.waves) * self.scale
        share = torch.fft.irfft2(waves, s=self.size).sigmoid()
        return self.low + (self.high - self.low) * share

    def project(self) -> None:
        """Nothing: the sigmoid keeps the limits."""


def total_variation(
    images: Float[Tensor, "image channel row column"], *, beta: float | int = 2
) -> Float[Tensor, " image"]:
    r"""How much neighbouring pixels differ, :math:`\sum (d_x^2 + d_y^2)^{\beta/2}`.

    Parameters
    ----------
    images : Tensor (image, channel, row, column)
        The images.
    beta : float
        2 favours smooth shades, 1 sharp edges between flat parts.

    Returns
    -------
    Tensor (image,)
        Sum over pixels and channels.

    References
    ----------
    Mahendran and Vedaldi (2015), Understanding deep image representations by inverting them.

    Examples
    --------
    >>> total_variation(torch.eye(3)[None, None]).item()
    6.0
    """
    down = images[..., 1:, :-1] - images[..., :-1, :-1]
    right = images[..., :-1, 1:] - images[..., :-1, :-1]
    square = down**2 + right**2
    # The root has no slope at 0, where flat parts are.
    each = square if beta == 2 else (square + 1e-12) ** (beta / 2)
    return each.sum((1, 2, 3))
