"""Wider and deeper: moves on a chain of layers that leave the function as it is."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bregma.errors import InvalidArgument
from bregma.run import spawn_torch
from bregma.search._replicate import NORMS, replicate_inputs, replicate_outputs, replication

LAYERS = (nn.Linear, nn.Conv2d)
# What acts on each unit by itself, so that copies of a unit stay copies behind it.
UNITWISE = (
    nn.ReLU, nn.LeakyReLU, nn.GELU, nn.Tanh, nn.Sigmoid, nn.SiLU, nn.ELU, nn.Dropout, nn.Dropout2d,
    nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.Flatten, nn.Identity,
)  # fmt: skip


def widenable(net: nn.Sequential) -> list[int]:
    """Places of the layers that can be widened or followed by another one: all but the last.

    Parameters
    ----------
    net : torch.nn.Sequential
        A chain of Linear, Conv2d, BatchNorm, ReLU, pooling, Flatten, ...

    Returns
    -------
    list of int
        Their indices in the chain.
    """
    return [i for i, part in enumerate(net) if isinstance(part, LAYERS)][:-1]


def wider(
    net: nn.Sequential, layer: int, width: int, *, noise: float = 0.0, seed: int
) -> nn.Sequential:
    """A copy of a network with more units in a layer, which computes the same.

    Units are copied at random, and the next layer shares its weights among the copies. Batch
    normalisation keeps the function in training mode, too: copies have the same statistics.

    Parameters
    ----------
    net : torch.nn.Sequential
        A chain of Linear, Conv2d, BatchNorm, ReLU, pooling, Flatten, ...; for networks of other
        shapes see `replicate_outputs` and `replicate_inputs`.
    layer : int
        Index of a Linear or Conv2d that is not the last one (see `widenable`).
    width : int
        Units that it is to have.
    noise : float
        Noise on the copies, as a multiple of the deviation of the layer's weights; 0 keeps the
        function exactly, but then copies get the same gradients and never differ.
    seed : int
        Draws the copied units and the noise.

    Returns
    -------
    torch.nn.Sequential
        The wider network; its parameters are new.

    Raises
    ------
    InvalidArgument
        If there is no such layer, something between it and the next one mixes units, or it would
        not become wider.

    References
    ----------
    Cai et al. (2018), Efficient architecture search by network transformation.
    Chen, Goodfellow and Shlens (2016), Net2Net: accelerating learning via knowledge transfer.

    Examples
    --------
    >>> net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    >>> grown, x = wider(net, 0, 6, seed=0), torch.ones(1, 3)
    >>> grown[0].out_features, torch.allclose(grown(x), net(x), atol=1e-6)
    (6, True)
    """
    _check(net, layer)
    net = copy.deepcopy(net)
    first, *behind = list(net)[layer:]
    units = replication(len(first.weight), width, seed=seed)  # type: ignore[arg-type]
    replicate_outputs(first, units, noise=noise, seed=seed)
    for part in behind:
        if isinstance(part, LAYERS):
            replicate_inputs(part, units)
            break
        if isinstance(part, NORMS):
            replicate_outputs(part, units)
        elif not isinstance(part, UNITWISE):
            raise InvalidArgument(
                f"{part} behind layer {layer} may mix units: it cannot be widened"
            )
    return net


def deeper(
    net: nn.Sequential,
    layer: int,
    *,
    kernel: int = 3,
    examples: Tensor | None = None,
    noise: float = 0.0,
    seed: int = 0,
) -> nn.Sequential:
    """A copy of a network with one more layer, the identity, which computes the same.

    It comes behind the ReLU of a layer and has a ReLU of its own, which changes nothing where
    nothing is negative. Where the layer has batch normalisation, the new one gets one that undoes
    itself: scale sqrt(variance + eps), shift mean.

    Parameters
    ----------
    net : torch.nn.Sequential
        A chain of Linear, Conv2d, BatchNorm, ReLU, pooling, Flatten, ...
    layer : int
        Index of a Linear or Conv2d that is not the last one and is followed by a ReLU, at most
        with batch normalisation between.
    kernel : int
        Side of the new kernel, odd, behind a convolution.
    examples : Tensor, optional
        Inputs of the network, to measure the statistics of a new batch normalisation: without
        them it is 0 and 1, which keeps the function in evaluation mode only.
    noise : float
        Noise on the new weights, as a multiple of the deviation of the identity's weights.
    seed : int
        Of the noise.

    Returns
    -------
    torch.nn.Sequential
        The deeper network; its parameters are new.

    Raises
    ------
    InvalidArgument
        If there is no such layer, it has no ReLU, the kernel is even, or the examples are too few.

    References
    ----------
    Cai et al. (2018), Efficient architecture search by network transformation.
    Chen, Goodfellow and Shlens (2016), Net2Net: accelerating learning via knowledge transfer.

    Examples
    --------
    >>> net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    >>> deeper(net, 0)
    Sequential(
      (0): Linear(in_features=3, out_features=4, bias=True)
      (1): ReLU()
      (2): Linear(in_features=4, out_features=4, bias=True)
      (3): ReLU()
      (4): Linear(in_features=4, out_features=2, bias=True)
    )
    """
    _check(net, layer)
    if kernel < 1 or kernel % 2 == 0:
        raise InvalidArgument(f"a kernel needs a centre: {kernel} is not odd")
    parts = list(copy.deepcopy(net))
    normed = isinstance(parts[layer + 1], NORMS)
    at = layer + 1 + normed  # of the ReLU
    if not isinstance(parts[at], nn.ReLU):
        raise InvalidArgument(
            f"behind layer {layer} there is {parts[at]}: a further ReLU changes nothing only "
            "behind a ReLU"
        )
    new: list[nn.Module] = [_identity(parts[layer], kernel, noise, seed)]
    if normed:
        new.append(_undone(parts[layer + 1], nn.Sequential(*parts[: at + 1], *new), examples))
    return nn.Sequential(*parts[: at + 1], *new, nn.ReLU(), *parts[at + 1 :]).train(net.training)


def _check(net: nn.Sequential, layer: int) -> None:
    if layer not in widenable(net):
        raise InvalidArgument(
            f"layer {layer} is none of the layers that can grow: {widenable(net)}"
        )


def _identity(like: nn.Module, kernel: int, noise: float, seed: int) -> nn.Module:
    old: Tensor = like.weight  # type: ignore[assignment]
    width, place = len(old), {"device": old.device, "dtype": old.dtype}
    weight = torch.zeros(width, width, *(kernel,) * (old.ndim - 2), **place)  # type: ignore[call-overload]
    centre: Sequence[int] = (kernel // 2,) * (old.ndim - 2)
    weight[(torch.arange(width), torch.arange(width), *centre)] = 1
    if noise and weight.numel() > 1:  # a single weight has no deviation
        drawn = torch.randn(weight.shape, generator=spawn_torch(seed, "deepening noise"))
        weight += noise * weight.std() * drawn.to(weight)
    made: nn.Module
    if isinstance(like, nn.Linear):
        made = torch.nn.utils.skip_init(nn.Linear, width, width, **place)
    else:
        made = torch.nn.utils.skip_init(
            nn.Conv2d, width, width, kernel, padding=kernel // 2, **place
        )
    made.weight = nn.Parameter(weight)
    made.bias = nn.Parameter(torch.zeros(width, **place))  # type: ignore[call-overload]
    return made


@torch.no_grad()
def _undone(like: nn.Module, before: nn.Sequential, examples: Tensor | None) -> nn.Module:
    """Batch normalisation that gives back what it gets, with the statistics of what it gets."""
    norm = copy.deepcopy(like)
    assert isinstance(norm, NORMS)
    if norm.running_mean is None or norm.running_var is None or not norm.affine:
        raise InvalidArgument(f"{like} has no statistics or no scale, so it cannot undo itself")
    norm.running_mean.zero_()
    norm.running_var.fill_(1)
    if examples is not None:
        seen = before.eval()(examples).transpose(0, 1).flatten(1)
        if seen.shape[1] < 2:
            raise InvalidArgument(
                f"{len(examples)} examples give {seen.shape[1]} values of each unit; a variance "
                "needs at least 2"
            )
        norm.running_mean.copy_(seen.mean(1))
        norm.running_var.copy_(seen.var(1))
    norm.weight.copy_((norm.running_var + norm.eps).sqrt())
    norm.bias.copy_(norm.running_mean)
    return norm
