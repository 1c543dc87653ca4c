"""Layers whose weights change only where earlier tasks are not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bregma.errors import InvalidArgument
from bregma.learning._hebbian_subspace import HebbianSubspace


class Protected(nn.Module):
    """A linear or convolutional layer that gets the gradient delta (x - H'Hx)' instead of delta x'.

    With H spanning the presynaptic activity x of old tasks, W x of these stays as it is whatever
    errors delta come in, from backpropagation, surrogate gradients or feedback alignment. The bias
    counts as the weight of a constant input, so that it is protected too; of a convolution, x are
    the patches. Forward nothing changes.

    Train with SGD, with or without momentum, and a new optimizer for each task: what scales each
    weight apart (Adam, weight decay) leaves the allowed directions.

    Parameters
    ----------
    layer : torch.nn.Linear or torch.nn.Conv2d
        The layer; it is used, not copied. Convolutions without groups.
    **settings : float
        Of the `HebbianSubspace`.

    Raises
    ------
    InvalidArgument
        Another kind of layer.

    References
    ----------
    Xiao, Meng, Zhang, He and Lin (2024), Hebbian learning based orthogonal projection for continual
    learning of spiking neural networks.

    Examples
    --------
    >>> layer = Protected(nn.Linear(3, 2))
    >>> layer.subspace.grow(1, seed=0)  # for task 1
    >>> with observing(layer):
    ...     for _ in range(100):
    ...         before = layer(torch.tensor([[1.0, 2.0, 3.0]]))
    >>> layer.subspace.grow(1, seed=0)  # task 2 begins
    >>> layer(torch.tensor([[0.0, 5.0, 1.0]])).sum().backward()
    >>> with torch.no_grad():
    ...     for parameter in layer.layer.parameters():
    ...         _ = parameter.sub_(parameter.grad)
    >>> torch.allclose(layer(torch.tensor([[1.0, 2.0, 3.0]])), before, atol=1e-5)
    True
    """

    def __init__(self, layer: nn.Linear | nn.Conv2d, **settings: float) -> None:
        super().__init__()
        plain = isinstance(layer, nn.Linear) or (
            isinstance(layer, nn.Conv2d) and layer.groups == 1 and layer.padding_mode == "zeros"
        )
        if not plain or (isinstance(layer, nn.Conv2d) and isinstance(layer.padding, str)):
            raise InvalidArgument(
                f"{layer} cannot be protected: a Linear, or a Conv2d without groups and with "
                "padding by numbers of zeros, is needed"
            )
        self.layer = layer
        inputs = layer.weight[0].numel() + (layer.bias is not None)
        self.subspace = HebbianSubspace(inputs, **settings)  # type: ignore[arg-type]
        self.observes = False

    def forward(self, x: Tensor) -> Tensor:
        """What the layer gives; derivatives by its weights are projected.

        Parameters
        ----------
        x : Tensor
            Its input.

        Returns
        -------
        Tensor
            Its output.
        """
        source = self._sources(x)  # (..., input)
        if self.observes:
            self.subspace.learn(source)
        with torch.no_grad():
            free = self.subspace.project(source)
        weight = self.layer.weight.flatten(1)
        if self.layer.bias is not None:
            weight = torch.cat([weight, self.layer.bias[:, None]], 1)
        # The two terms with the free part cancel in value; the first of them has the gradient.
        moving = free @ weight.T
        return self._shaped(source @ weight.detach().T + (moving - moving.detach()), x)

    def _sources(self, x: Tensor) -> Tensor:
        if isinstance(self.layer, nn.Conv2d):
            c = self.layer
            around: Any = c.padding  # numbers: names are refused above
            x = F.unfold(x, c.kernel_size, c.dilation, around, c.stride).transpose(1, 2)
        if self.layer.bias is None:
            return x
        return torch.cat([x, x.new_ones(*x.shape[:-1], 1)], -1)

    def _shaped(self, y: Tensor, x: Tensor) -> Tensor:
        if not isinstance(self.layer, nn.Conv2d):
            return y
        c = self.layer
        rows, columns = (
            (x.shape[-2 + i] + 2 * c.padding[i] - c.dilation[i] * (c.kernel_size[i] - 1) - 1)  # type: ignore[operator]
            // c.stride[i]
            + 1
            for i in range(2)
        )
        return y.transpose(1, 2).reshape(len(x), c.out_channels, rows, columns)


def protect(module: nn.Module, **settings: float) -> nn.Module:
    """Put every linear and convolutional layer of a network into a `Protected` one, in place.

    Parameters
    ----------
    module : torch.nn.Module
        The network.
    **settings : float
        Of the `HebbianSubspace` of each layer.

    Returns
    -------
    torch.nn.Module
        The network; where it is a layer itself, its wrapper.

    Raises
    ------
    InvalidArgument
        If a convolution has groups or a padding by name, or a setting is out of range.
    """
    if isinstance(module, Protected):
        return module
    if isinstance(module, nn.Linear | nn.Conv2d):
        return Protected(module, **settings)
    for name, part in module.named_children():
        setattr(module, name, protect(part, **settings))
    return module


@contextmanager
def observing(module: nn.Module) -> Iterator[None]:
    """Let protected layers learn the subspace of whatever passes through them.

    Parameters
    ----------
    module : torch.nn.Module
        A network with `Protected` layers.

    Yields
    ------
    None
        Nothing.

    Raises
    ------
    InvalidArgument
        If there is no such layer.
    """
    layers = [part for part in module.modules() if isinstance(part, Protected)]
    if not layers:
        raise InvalidArgument(f"{type(module).__name__} has no protected layers; see protect()")
    try:
        for layer in layers:
            layer.observes = True
        yield
    finally:
        for layer in layers:
            layer.observes = False
