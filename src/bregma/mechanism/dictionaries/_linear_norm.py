"""A norm as a linear map: its scale is held at what it is, so that contributions go through it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from bregma.errors import InvalidArgument
from bregma.mechanism.circuits._stream import Map

NEAR = 1e-3  # relative: how well a norm has to be what it is read as


@dataclass(frozen=True)
class LinearNorm:
    """norm(x) = gain * (x - mean(x)) / scale(x) + bias, or without the mean.

    Parameters
    ----------
    norm : callable
        The norm itself.
    gain, bias : Tensor (width,)
        Of each channel.
    centred : bool
        Whether the mean over channels is subtracted.
    """

    norm: Map
    gain: Float[Tensor, " width"]
    bias: Float[Tensor, " width"]
    centred: bool

    def pull(self, v: Float[Tensor, "*row width"]) -> Float[Tensor, "*row width"]:
        """Vectors whose products with x / scale(x) are those of v with norm(x) - bias."""
        v = v * self.gain
        return v - v.mean(-1, keepdim=True) if self.centred else v

    def scale(self, x: Float[Tensor, "token width"]) -> Float[Tensor, " token"]:
        """What each token is divided by."""
        bare = x - x.mean(-1, keepdim=True) if self.centred else x
        above = (self.gain * bare).square().sum(-1)
        below = (self.gain * bare * (self.norm(x) - self.bias)).sum(-1)
        return torch.where(below > 0, above / below.clamp_min(1e-30), 1.0)


def linear_norm(norm: Map, like: Float[Tensor, "*row width"]) -> LinearNorm:
    """Read a norm: what kind it is shows in what it does to one vector.

    Parameters
    ----------
    norm : callable
        A layer norm, a root mean square norm, or the identity.
    like : Tensor (..., width)
        Of the width, type and device of what it is given.

    Returns
    -------
    LinearNorm
        Its gain and bias, and whether it centres.

    Raises
    ------
    InvalidArgument
        It is none of these.
    """
    width = like.shape[-1]
    probe = 1 + torch.arange(width, dtype=like.dtype, device=like.device).cos()  # with a mean
    ones, bias = torch.ones_like(probe), norm(torch.zeros_like(probe)[None, None])[0, 0]
    wanted = norm(probe[None, None])[0, 0]
    weight = getattr(norm, "weight", None)
    for gain in (ones,) if weight is None else (weight, 1 + weight):
        for centred in (False, True):
            found = LinearNorm(lambda x: norm(x[None])[0], gain.detach(), bias, centred)
            got = found.gain * (probe - probe.mean() if centred else probe)
            got = got / found.scale(probe[None]) + bias
            if bool((got - wanted).norm() <= NEAR * wanted.norm()):
                return found
    raise InvalidArgument(
        f"{type(norm).__name__} is neither a layer norm nor a root mean square norm nor the "
        "identity, so that contributions cannot be followed through it"
    )
