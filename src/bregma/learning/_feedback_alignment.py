"""Feedback alignment: errors come back through fixed random weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bregma.errors import InvalidArgument
from bregma.run import derive, spawn_torch


class FeedbackAligned(nn.Module):
    """A linear layer whose error goes back through fixed random weights instead of its own.

    Parameters
    ----------
    layer : torch.nn.Linear
        The layer; it is used, not copied.
    seed : int
        Draws the feedback, of the size of PyTorch's initial weights.

    References
    ----------
    Lillicrap, Cownden, Tweed and Akerman (2016), Random synaptic feedback weights support error
    backpropagation for deep learning.

    Examples
    --------
    >>> layer = FeedbackAligned(nn.Linear(3, 2), seed=0)
    >>> x = torch.ones(1, 3, requires_grad=True)
    >>> layer(x).sum().backward()
    >>> torch.allclose(x.grad[0], layer.feedback.sum(0))
    True
    """

    feedback: Tensor

    def __init__(self, layer: nn.Linear, *, seed: int) -> None:
        super().__init__()
        self.layer = layer
        rng = spawn_torch(seed, "FeedbackAligned")
        drawn = torch.rand(layer.weight.shape, generator=rng) * 2 - 1
        self.register_buffer("feedback", (drawn * layer.in_features**-0.5).to(layer.weight))

    def forward(self, x: Tensor) -> Tensor:
        """What the layer gives.

        Parameters
        ----------
        x : Tensor
            Its input.

        Returns
        -------
        Tensor
            Its output.
        """
        through = F.linear(x, self.feedback)
        # The terms with feedback cancel in value; derivatives by x flow through them only.
        return self.layer(x.detach()) + (through - through.detach())


def feedback_aligned(module: nn.Module, *, seed: int) -> nn.Module:
    """Give every linear layer of a network random feedback, in place.

    Parameters
    ----------
    module : torch.nn.Module
        The network.
    seed : int
        Draws the feedback.

    Returns
    -------
    torch.nn.Module
        The network.

    Raises
    ------
    InvalidArgument
        If there is no linear layer in it.
    """
    found: list[tuple[Any, str, nn.Linear]] = [
        (parent, name, part)
        for parent in module.modules()
        if not isinstance(parent, FeedbackAligned)
        for name, part in parent.named_children()
        if isinstance(part, nn.Linear)
    ]
    if not found:
        raise InvalidArgument(f"{type(module).__name__} has no linear layer to give feedback to")
    for number, (parent, name, part) in enumerate(found):
        setattr(parent, name, FeedbackAligned(part, seed=derive(seed, number)))
    return module
