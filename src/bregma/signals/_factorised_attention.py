"""Attention over time and over sources at once, each with half of the features."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

BASE = 10_000.0  # longest wave of the rotations, in tokens


def _rotated(x: Float[Tensor, "*batch token width"]) -> Float[Tensor, "*batch token width"]:
    """Rotary positions (see `bregma.nn.Rotary`); a pair is a feature of each half."""
    half = x.shape[-1] // 2
    speed = BASE ** (-torch.arange(half, device=x.device) / half)
    angle = torch.arange(x.shape[-2], device=x.device)[:, None] * speed
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)


class _Attention(nn.Module):
    """Attention of all tokens of one axis to each other."""

    def __init__(self, width: int, n_heads: int, *, ordered: bool) -> None:
        super().__init__()
        self.n_heads, self.ordered = n_heads, ordered
        self.projection, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Float[Tensor, "*batch token width"]) -> Tensor:
        q, k, v = (
            y.unflatten(-1, (self.n_heads, -1)).transpose(-3, -2)
            for y in self.projection(x).chunk(3, dim=-1)
        )
        if self.ordered:
            q, k = _rotated(q), _rotated(k)
        return self.out(scaled_dot_product_attention(q, k, v).transpose(-3, -2).flatten(-2))


class FactorisedAttention(nn.Module):
    """A transformer block over a grid of sources and times.

    Half of the features attend over time (with rotary positions), the other half over sources
    (which have no order); cost grows with the sum of squares of both lengths, not with the square
    of their product.

    Parameters
    ----------
    width : int
        Features of a token.
    n_heads : int
        Of each half; 4 n_heads divides the width.

    References
    ----------
    Xiao et al. (2025), BrainOmni: a brain foundation model for unified EEG and MEG signals.
    """

    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__()
        self.norm, self.norm_2 = nn.RMSNorm(width), nn.RMSNorm(width)
        self.time = _Attention(width // 2, n_heads, ordered=True)
        self.space = _Attention(width // 2, n_heads, ordered=False)
        self.feed = nn.Sequential(
            nn.Linear(width, 4 * width), nn.SELU(), nn.Linear(4 * width, width)
        )

    def forward(
        self, x: Float[Tensor, "window source token width"]
    ) -> Float[Tensor, "window source token width"]:
        """Attend and feed forward.

        Parameters
        ----------
        x : Tensor (window, source, token, width)
            Tokens.

        Returns
        -------
        Tensor (window, source, token, width)
            Tokens.
        """
        over_time, over_space = self.norm(x).chunk(2, dim=-1)
        space = self.space(over_space.transpose(1, 2)).transpose(1, 2)
        x = x + torch.cat([self.time(over_time), space], dim=-1)
        return x + self.feed(self.norm_2(x))
