"""SEANet: a convolutional encoder of a waveform into few vectors, and the decoder back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

from jaxtyping import Float
from torch import Tensor, nn

from bregma.errors import InvalidArgument


class _Residual(nn.Module):
    """x + a narrow pair of convolutions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.ELU(), _same(width, width // 2, 3), nn.ELU(), _same(width // 2, width, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.block(x)


class SEANetEncoder(nn.Module):
    """One waveform to a vector per hop; a hop is the product of the strides.

    Parameters
    ----------
    width : int
        Length of a vector.
    n_filters : int
        Channels of the first layer, even; they double with each stride.
    strides : sequence of int
        By how much each stage shortens time.

    Raises
    ------
    InvalidArgument
        If a stride is below 2 or there is none, or the filters are odd.

    References
    ----------
    Tagliasacchi, Li, Misiunas and Roblek (2020), SEANet: a multi-modal speech enhancement network.

    Examples
    --------
    >>> import torch
    >>> SEANetEncoder(32, strides=(4, 2))(torch.zeros(5, 1, 64)).shape
    torch.Size([5, 32, 8])
    """

    def __init__(self, width: int, *, n_filters: int = 8, strides: Sequence[int] = (2, 2, 2)):
        super().__init__()
        self.hop = _hop(strides, n_filters)
        layers: list[nn.Module] = [_same(1, n_filters, 5)]
        for stride in strides:
            layers += [_Residual(n_filters), nn.ELU(), _shorter(n_filters, stride)]
            n_filters *= 2
        self.layers = nn.Sequential(*layers, nn.ELU(), _same(n_filters, width, 5))

    def forward(self, x: Float[Tensor, "wave 1 time"]) -> Float[Tensor, "wave width token"]:
        """Encode.

        Parameters
        ----------
        x : Tensor (wave, 1, time)
            Waveforms; time is a multiple of the hop.

        Returns
        -------
        Tensor (wave, width, time / hop)
            Vectors.

        Raises
        ------
        InvalidArgument
            If time is no multiple of the hop, or shorter than three hops.
        """
        if x.shape[-1] % self.hop or x.shape[-1] < 3 * self.hop:
            raise InvalidArgument(
                f"windows need a multiple of {self.hop} samples, and {3 * self.hop} or more, not "
                f"{x.shape[-1]}"
            )
        return self.layers(x)


class SEANetDecoder(nn.Module):
    """The mirror image of `SEANetEncoder`: vectors back to one waveform.

    Parameters
    ----------
    width : int
        Length of a vector.
    n_filters : int
        Channels of the last layer, even.
    strides : sequence of int
        Those of the encoder, in its order.

    Raises
    ------
    InvalidArgument
        As `SEANetEncoder` does.

    Examples
    --------
    >>> import torch
    >>> SEANetDecoder(32, strides=(4, 2))(torch.zeros(5, 32, 8)).shape
    torch.Size([5, 1, 64])
    """

    def __init__(self, width: int, *, n_filters: int = 8, strides: Sequence[int] = (2, 2, 2)):
        super().__init__()
        _hop(strides, n_filters)
        n_filters *= 2 ** len(strides)
        layers: list[nn.Module] = [_same(width, n_filters, 5)]
        for stride in reversed(strides):
            n_filters //= 2
            layers += [nn.ELU(), _longer(n_filters, stride), _Residual(n_filters)]
        self.layers = nn.Sequential(*layers, nn.ELU(), _same(n_filters, 1, 5))

    def forward(self, z: Float[Tensor, "wave width token"]) -> Float[Tensor, "wave 1 time"]:
        """Decode.

        Parameters
        ----------
        z : Tensor (wave, width, token)
            Vectors; 3 tokens or more.

        Returns
        -------
        Tensor (wave, 1, token * hop)
            Waveforms.
        """
        return self.layers(z)


def _same(before: int, after: int, kernel: int) -> nn.Conv1d:
    """Convolution that keeps the length."""
    layer = nn.Conv1d(before, after, kernel, padding=kernel // 2, padding_mode="reflect")
    return _keeps_size(layer, before * kernel)


def _shorter(width: int, stride: int) -> nn.Sequential:
    """Twice the filters, time by the stride."""
    pad = nn.ReflectionPad1d((stride // 2, stride - stride // 2))
    layer = nn.Conv1d(width, 2 * width, 2 * stride, stride)
    return nn.Sequential(pad, _keeps_size(layer, width * 2 * stride))


def _longer(width: int, stride: int) -> nn.ConvTranspose1d:
    """Half the filters, time by the stride."""
    pad = math.ceil(stride / 2)
    layer = nn.ConvTranspose1d(
        2 * width, width, 2 * stride, stride, padding=pad, output_padding=stride % 2
    )
    return _keeps_size(layer, 2 * width * 2)  # each sample is a sum over 2 tokens


Layer = TypeVar("Layer", nn.Conv1d, nn.ConvTranspose1d)


def _keeps_size(layer: Layer, terms: int) -> Layer:
    """First weights that keep the size of a waveform; those of torch shrink it to nothing."""
    nn.init.normal_(layer.weight, std=terms**-0.5)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


def _hop(strides: Sequence[int], n_filters: int) -> int:
    if not strides or min(strides) < 2 or n_filters < 2 or n_filters % 2:
        raise InvalidArgument(
            f"strides must be 2 or more and filters even, not {tuple(strides)} and {n_filters}"
        )
    return math.prod(strides)
