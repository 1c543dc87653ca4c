"""Codes that switch a feature on above a learned threshold: JumpReLU and gates."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bregma.errors import InvalidArgument
from bregma.mechanism.dictionaries._codes import Norms, Pre, SparseCode, at_least_one


class JumpReLUCode(SparseCode):
    r"""z = pre where pre > theta, else 0, at the cost of l0 times the number of features on.

    The step has no derivative in theta; that of its mean over samples is estimated with a
    rectangle of the given width: for the count -1/width and for z -theta/width, where pre is
    within half a width of theta.

    Parameters
    ----------
    n_features : int
        Number of features; each learns its own threshold.
    l0 : float
        Weight of the count.
    threshold : float
        theta at the start.
    width : float
        Width of the rectangle, in units of the pre-activations.

    References
    ----------
    Rajamanoharan et al. (2024), Jumping ahead: improving reconstruction fidelity with JumpReLU
    sparse autoencoders.
    """

    def __init__(
        self, n_features: int, *, l0: float = 1.0, threshold: float = 0.1, width: float = 0.1
    ) -> None:
        super().__init__()
        if not 0 <= l0 < math.inf or not 0 < threshold < math.inf or not 0 < width < math.inf:
            raise InvalidArgument(
                f"l0={l0} must be 0 or more, threshold={threshold} and width={width} above 0"
            )
        self.l0, self.width = float(l0), float(width)
        start = torch.full((at_least_one(n_features, "n_features"),), math.log(threshold))
        self.log_threshold = nn.Parameter(start)

    @property
    def threshold(self) -> Float[Tensor, " feature"]:
        """theta, above 0."""
        return self.log_threshold.exp()

    def forward(self, pre: Pre) -> Pre:
        return _Jump.apply(pre, self.threshold, self.width)

    def cost(
        self,
        pre: Float[Tensor, "sample feature"],
        code: Float[Tensor, "sample feature"],
        norms: Norms,
        error: Callable[[Tensor], Tensor],
    ) -> Float[Tensor, ""]:
        return self.l0 * _Step.apply(pre, self.threshold, self.width).sum(-1).mean()


class GatedCode(SparseCode):
    """Which features are on and how much are two questions: z = [pre > 0] ReLU(e^r pre + b).

    The cost is l1 times the sum of ReLU(pre) |d_i|, plus the squared error that ReLU(pre) as a code
    would have under the present dictionary: both train the gate, neither shrinks z.

    Parameters
    ----------
    n_features : int
        Number of features; each learns its own r and b.
    l1 : float
        Weight of the sum.

    References
    ----------
    Rajamanoharan et al. (2024), Improving dictionary learning with gated sparse autoencoders.
    """

    def __init__(self, n_features: int, *, l1: float = 1.0) -> None:
        super().__init__()
        if not 0 <= l1 < math.inf:
            raise InvalidArgument(f"l1 must be 0 or more, not {l1}")
        self.l1 = float(l1)
        self.log_gain = nn.Parameter(torch.zeros(at_least_one(n_features, "n_features")))
        self.shift = nn.Parameter(torch.zeros(n_features))

    def forward(self, pre: Pre) -> Pre:
        return (pre > 0) * (self.log_gain.exp() * pre + self.shift).relu()

    def cost(
        self,
        pre: Float[Tensor, "sample feature"],
        code: Float[Tensor, "sample feature"],
        norms: Norms,
        error: Callable[[Tensor], Tensor],
    ) -> Float[Tensor, ""]:
        gate = pre.relu()
        return self.l1 * (gate * norms.detach()).sum(-1).mean() + error(gate)


def _near(pre: Tensor, threshold: Tensor, width: float) -> Tensor:
    return ((pre - threshold).abs() < width / 2).to(pre)


class _Jump(torch.autograd.Function):
    """pre [pre > theta], with the estimated derivative in theta."""

    @staticmethod
    def forward(ctx: Any, pre: Tensor, threshold: Tensor, width: float) -> Tensor:
        ctx.save_for_backward(pre, threshold)
        ctx.width = width
        return pre * (pre > threshold)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        pre, threshold = ctx.saved_tensors
        jump = -threshold / ctx.width * _near(pre, threshold, ctx.width) * grad
        return grad * (pre > threshold), jump.sum_to_size(threshold.shape), None


class _Step(torch.autograd.Function):
    """[pre > theta], with the estimated derivative in theta and none in pre."""

    @staticmethod
    def forward(ctx: Any, pre: Tensor, threshold: Tensor, width: float) -> Tensor:
        ctx.save_for_backward(pre, threshold)
        ctx.width = width
        return (pre > threshold).to(pre)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor, None]:
        pre, threshold = ctx.saved_tensors
        jump = -_near(pre, threshold, ctx.width) / ctx.width * grad
        return None, jump.sum_to_size(threshold.shape), None
