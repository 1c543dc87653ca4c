"""Function-preserving widening of single layers: units are copied, and their readers share them."""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor, nn

from bregma.errors import InvalidArgument
from bregma.run import spawn_torch

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def replication(n: int, width: int, *, seed: int) -> Int[Tensor, " width"]:
    """Which unit each unit of a wider layer is a copy of.

    Parameters
    ----------
    n : int
        Units of the layer as it is.
    width : int
        Units that it is to have.
    seed : int
        Draws the units that are copied.

    Returns
    -------
    Int[Tensor, "width"]
        0, 1, ..., n - 1, and then units drawn at random.

    Raises
    ------
    InvalidArgument
        If the layer would not become wider.

    References
    ----------
    Chen, Goodfellow and Shlens (2016), Net2Net: accelerating learning via knowledge transfer.

    Examples
    --------
    >>> replication(3, 5, seed=0)
    tensor([0, 1, 2, 1, 0])
    """
    if not 0 < n < width:
        raise InvalidArgument(f"a layer of {n} units cannot be widened to {width}")
    drawn = torch.randint(n, (width - n,), generator=spawn_torch(seed, "replication"))
    return torch.cat([torch.arange(n), drawn])


def replicate_outputs(
    layer: nn.Module, units: Int[Tensor, " width"], *, noise: float = 0.0, seed: int = 0
) -> None:
    """Give a layer copies of its own units, in place.

    Every module that reads the layer has to follow, with the same `units`: normalisation of its
    units with `replicate_outputs`, the next layers with `replicate_inputs`. Where paths add up
    (residual networks), all layers that write to the sum take the same `units`. Parameters are new
    tensors afterwards, so make a new optimizer.

    Parameters
    ----------
    layer : torch.nn.Module
        Linear, convolution (without groups) or batch normalisation.
    units : Int[Tensor, "width"]
        From `replication`.
    noise : float
        Noise on the weights of the copies, as a multiple of the deviation of the layer's weights:
        copies that are the same stay the same in training. With 0 the function is preserved.
    seed : int
        Of the noise.

    Raises
    ------
    InvalidArgument
        If the layer is of another kind, or `units` does not fit.

    References
    ----------
    Chen, Goodfellow and Shlens (2016), Net2Net: accelerating learning via knowledge transfer.
    Cai et al. (2018), Efficient architecture search by network transformation.
    """
    n, width = _checked(layer, units, "out"), len(units)
    if isinstance(layer, NORMS):
        for name in ("running_mean", "running_var"):
            if getattr(layer, name) is not None:
                setattr(layer, name, getattr(layer, name)[units.to(getattr(layer, name).device)])
        layer.num_features = width
    elif isinstance(layer, nn.Linear):
        layer.out_features = width
    else:
        layer.out_channels = width  # type: ignore[assignment]
    for name in ("weight", "bias"):
        old = getattr(layer, name)
        if old is not None:
            new = old.detach()[units.to(old.device)].clone()
            weights = name == "weight" and not isinstance(layer, NORMS)
            if noise and weights and old.numel() > 1:  # a single weight has no deviation
                drawn = torch.randn(new[n:].shape, generator=spawn_torch(seed, "widening noise"))
                new[n:] += noise * old.detach().std() * drawn.to(new)
            setattr(layer, name, nn.Parameter(new, requires_grad=old.requires_grad))


def replicate_inputs(layer: nn.Module, units: Int[Tensor, " width"]) -> None:
    """Let a layer read a widened one: the weights of a unit are shared among its copies, in place.

    Parameters
    ----------
    layer : torch.nn.Module
        Linear or convolution (without groups). A linear layer may read several values of each
        unit, one unit after the other, as behind ``Flatten``.
    units : Int[Tensor, "width"]
        What the widened layer was given.

    Raises
    ------
    InvalidArgument
        If the layer is of another kind, or `units` does not fit.

    References
    ----------
    Chen, Goodfellow and Shlens (2016), Net2Net: accelerating learning via knowledge transfer.
    """
    n = _checked(layer, units, "in")
    weight: Tensor = layer.weight  # type: ignore[assignment]
    units, old = units.to(weight.device), weight.detach()
    counts = torch.bincount(units, minlength=n).to(old)
    apart = old.unflatten(1, (n, old.shape[1] // n))  # (output, unit, value of the unit, ...)
    shared = apart[:, units] / counts[units].view(1, -1, *(1,) * (apart.ndim - 2))
    layer.weight = nn.Parameter(shared.flatten(1, 2), requires_grad=weight.requires_grad)
    if isinstance(layer, nn.Linear):
        layer.in_features = len(layer.weight[0])
    else:
        layer.in_channels = len(units)  # type: ignore[assignment]


def _checked(layer: nn.Module, units: Tensor, side: str) -> int:
    """Number of units that the layer has (or reads) now."""
    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, *(NORMS if side == "out" else ()))
    if not isinstance(layer, kinds) or getattr(layer, "groups", 1) != 1:
        raise InvalidArgument(
            f"{layer} cannot be widened; Linear, Conv without groups and BatchNorm behind them can"
        )
    n = int(units.max()) + 1 if len(units) else 0
    if isinstance(layer, NORMS):
        there = layer.num_features
    else:
        there = layer.weight.shape[0 if side == "out" else 1]
    values = isinstance(layer, nn.Linear) and side == "in"
    if (
        not n
        or not torch.equal(units[:n].cpu(), torch.arange(n))
        or (there % n if values else there != n)
    ):
        raise InvalidArgument(
            f"units must begin with every unit in order and fit the {there} of {layer}; they are "
            f"{units.tolist()}"
        )
    return n
