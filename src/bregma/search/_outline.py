"""What a chain of layers looks like to whoever decides how it grows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn

from bregma.errors import InvalidArgument
from bregma.search._grow import widenable

POOLS = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)
LINEAR, CONVOLUTION, POOL = range(3)  # kinds of a token


@dataclass(frozen=True)
class Outline:
    """A network as tokens, one for each layer that can grow and each pooling, in order.

    Parameters
    ----------
    tokens : Int[Tensor, "token 3"]
        Kind (0 linear, 1 convolution, 2 pooling), level of the width, and number of the kernel.
    layers : tuple of int
        Index of each token in the chain.
    may_widen : Bool[Tensor, "token"]
        Whether there is a wider level for it.
    blocks : tuple of tuple of int
        Tokens of the layers between poolings; blocks without a layer are left out.
    """

    tokens: Int[Tensor, "token 3"]
    layers: tuple[int, ...]
    may_widen: Bool[Tensor, " token"]
    blocks: tuple[tuple[int, ...], ...]


def outline(net: nn.Sequential, levels: Sequence[int], kernels: Sequence[int]) -> Outline:
    """Look at a chain of layers.

    Parameters
    ----------
    net : torch.nn.Sequential
        A chain as `wider` takes it.
    levels : sequence of int
        Widths that a layer can be given, rising.
    kernels : sequence of int
        Sides of kernels that a layer can be given.

    Returns
    -------
    Outline
        Its tokens.

    Raises
    ------
    InvalidArgument
        If nothing in the chain can grow, or the levels do not rise.
    """
    if list(levels) != sorted(set(levels)) or not levels or not kernels:
        raise InvalidArgument(f"levels must rise, and there must be a kernel: {levels}, {kernels}")
    grow = widenable(net)
    if not grow:
        raise InvalidArgument(
            "no layer can grow: a chain needs a Linear or Conv2d before the last one"
        )
    rows, places, may = list[tuple[int, int, int]](), list[int](), list[bool]()
    blocks: list[list[int]] = [[]]
    for index, part in enumerate(list(net)[: grow[-1] + 1]):
        if index in grow:
            blocks[-1].append(len(rows))
            width = len(part.weight)  # type: ignore[arg-type]
            level = max(0, sum(width >= n for n in levels) - 1)
            may.append(width < levels[-1])
            if isinstance(part, nn.Conv2d):
                near = min(range(len(kernels)), key=lambda k: abs(kernels[k] - part.kernel_size[0]))
                rows.append((CONVOLUTION, level, near))
            else:
                rows.append((LINEAR, level, 0))
        elif isinstance(part, POOLS):
            blocks.append([])
            may.append(False)
            rows.append((POOL, 0, 0))
        else:
            continue
        places.append(index)
    return Outline(
        torch.tensor(rows), tuple(places), torch.tensor(may), tuple(tuple(b) for b in blocks if b)
    )
