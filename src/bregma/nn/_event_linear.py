"""A linear map of spikes that adds up the weights of those units that fired."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from bregma.dynamics.training._events import Events, events_of, product, weight_gradient
from bregma.dynamics.training._workspace import workspace
from bregma.errors import InvalidArgument
from bregma.run import spawn_torch

DENSE = 0.25  # share of ones above which a dense product is faster


class EventLinear(nn.Module):
    """``torch.nn.Linear`` for spikes: it skips the zeros where there are many.

    At every call it measures the input: on the CPU an array of zeros and ones, at most a quarter of
    them ones, is taken as events, forward and backward; anything else goes through a dense product.
    The result is the same up to the order of the sums.

    Parameters
    ----------
    in_features : int
        How many units come in, such as channels of a sensor.
    out_features : int
        How many currents go out.
    bias : bool
        Whether a constant is added.
    seed : int
        Of the first weights: uniform within 1/sqrt(in_features), as in ``torch.nn.Linear``.

    Attributes
    ----------
    weight : Parameter (out_features, in_features)
        As in ``torch.nn.Linear``; in memory the weights of one input lie together.
    bias : Parameter (out_features,) or None
        The constant.

    Raises
    ------
    InvalidArgument
        Fewer than one unit on either side.

    Examples
    --------
    >>> layer = EventLinear(700, 512, seed=0)
    >>> x = (torch.arange(7000).reshape(10, 1, 700) % 50 == 0).float()
    >>> torch.allclose(layer(x), torch.nn.functional.linear(x, layer.weight), atol=1e-5)
    True
    """

    def __init__(
        self, in_features: int, out_features: int, bias: bool = False, *, seed: int = 0
    ) -> None:
        super().__init__()
        if in_features < 1 or out_features < 1:
            raise InvalidArgument(
                f"a linear map needs 1 unit or more on each side, not {in_features}, {out_features}"
            )
        self.in_features, self.out_features = in_features, out_features
        bound, rng = in_features**-0.5, spawn_torch(seed, "EventLinear")
        weight = torch.empty(in_features, out_features).uniform_(-bound, bound, generator=rng)
        self.weight = nn.Parameter(weight.t())
        self.bias = (
            nn.Parameter(torch.empty(out_features).uniform_(-bound, bound, generator=rng))
            if bias
            else None
        )

    def forward(self, x: Tensor | Events) -> Tensor:
        """Add up weights.

        Parameters
        ----------
        x : Tensor (time, batch, in_features), or Events
            Spikes; `events` prepares those that are used many times.

        Returns
        -------
        Tensor (time, batch, out_features)
            Currents, of the type of the weights.

        Raises
        ------
        InvalidArgument
            An input of another shape.
        """
        shape = tuple(x.shape)
        if len(shape) != 3 or shape[2] != self.in_features:
            raise InvalidArgument(
                f"the input must have the shape (time, batch, {self.in_features}), not {shape}"
            )
        events = x if isinstance(x, Events) else self.events(x)
        if events is None or self.weight.device.type != "cpu":
            dense = x.dense() if isinstance(x, Events) else x
            return nn.functional.linear(dense.to(self.weight), self.weight, self.bias)
        source = x if isinstance(x, Tensor) and x.requires_grad else None
        return _EventProduct.apply(events, source, self.weight, self.bias)

    @staticmethod
    def events(x: Tensor) -> Events | None:
        """Find the spikes in an array once, to use them many times.

        Parameters
        ----------
        x : Tensor (time, batch, unit)
            Zeros and ones, of any type of numbers.

        Returns
        -------
        Events or None
            None where it is not worth it: other values, more than a quarter of ones, not on the
            CPU.
        """
        return events_of(x, DENSE) if x.device.type == "cpu" else None

    def extra_repr(self) -> str:
        """What the module shows of itself.

        Returns
        -------
        str
            Sizes.
        """
        return f"{self.in_features} -> {self.out_features}, bias={self.bias is not None}"


class _EventProduct(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, events: Events, x: Tensor | None, weight: Tensor, bias: Tensor | None
    ) -> Tensor:
        ctx.events = events
        ctx.save_for_backward(weight)
        return product(events, weight.t(), bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_y: Tensor) -> Any:
        (weight,) = ctx.saved_tensors
        _, wants_x, wants_weight, wants_bias = ctx.needs_input_grad
        return (
            None,
            _times(grad_y, weight) if wants_x else None,
            weight_gradient(ctx.events, grad_y).t() if wants_weight else None,
            grad_y.sum((0, 1)) if wants_bias else None,
        )


def _times(grad_y: Tensor, weight: Tensor) -> Tensor:
    """grad_y weight, in memory that is used again."""
    grad_x = workspace.empty((*grad_y.shape[:2], weight.shape[1]), weight.dtype)
    torch.mm(grad_y.flatten(0, 1), weight, out=grad_x.flatten(0, 1))
    return grad_x
