"""How a code is made sparse: parts that are handed to `SparseAutoencoder`."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bregma.errors import InvalidArgument

Pre = Float[Tensor, "*sample feature"]
Norms = Float[Tensor, " feature"]


class SparseCode(nn.Module, ABC):
    """From what drives the features to a code in which few of them are above 0.

    Attributes
    ----------
    selects_itself : bool
        Whether `forward` gets the centred input and the dictionary in place of a linear encoder's
        output.
    """

    selects_itself: ClassVar[bool] = False

    def __init__(self) -> None:  # nn.Module's own takes anything
        super().__init__()

    @abstractmethod
    def forward(self, pre: Pre) -> Pre:
        """Make the code.

        Parameters
        ----------
        pre : Tensor (..., feature)
            What the linear encoder gives.

        Returns
        -------
        Tensor (..., feature)
            0 or more.
        """

    def cost(
        self,
        pre: Float[Tensor, "sample feature"],
        code: Float[Tensor, "sample feature"],
        norms: Norms,
        error: Callable[[Tensor], Tensor],
    ) -> Float[Tensor, ""]:
        """What is added to the squared error; nothing by default.

        Parameters
        ----------
        pre, code : Tensor (sample, feature)
            What `forward` got and gave.
        norms : Tensor (feature,)
            Lengths of the features in the dictionary.
        error : callable
            Squared error of another code under the present dictionary, which it does not train.

        Returns
        -------
        Tensor
            One number, a mean over samples.
        """
        return pre.new_zeros(())


class ReLUCode(SparseCode):
    """z = ReLU(pre), at the cost of l1 times the sum of z_i |d_i|.

    The lengths |d_i| in the cost keep the code from shrinking while the dictionary grows.

    Parameters
    ----------
    l1 : float
        Weight of the cost.

    References
    ----------
    Bricken et al. (2023), Towards monosemanticity: decomposing language models with dictionary
    learning.
    """

    def __init__(self, l1: float = 1.0) -> None:
        super().__init__()
        if not 0 <= l1 < math.inf:
            raise InvalidArgument(f"l1 must be 0 or more, not {l1}")
        self.l1 = float(l1)

    def forward(self, pre: Pre) -> Pre:
        return pre.relu()

    def cost(
        self,
        pre: Float[Tensor, "sample feature"],
        code: Float[Tensor, "sample feature"],
        norms: Norms,
        error: Callable[[Tensor], Tensor],
    ) -> Float[Tensor, ""]:
        return self.l1 * (code * norms).sum(-1).mean()


class TopKCode(SparseCode):
    """The k largest of the pre-activations, as far as they are above 0.

    Parameters
    ----------
    k : int
        Features per sample.

    References
    ----------
    Gao et al. (2024), Scaling and evaluating sparse autoencoders.
    """

    def __init__(self, k: int) -> None:
        super().__init__()
        self.k = at_least_one(k, "k")

    def forward(self, pre: Pre) -> Pre:
        value, index = pre.topk(enough(pre, self.k), dim=-1, sorted=False)
        return torch.zeros_like(pre).scatter(-1, index, value.relu())


class BatchTopKCode(TopKCode):
    """The k n largest pre-activations of a batch of n samples: k per sample on average.

    In evaluation mode a sample must not depend on the others: there it is every feature above a
    threshold, the running mean of the smallest value that was kept in training.

    Parameters
    ----------
    k : int
        Features per sample, on average.

    References
    ----------
    Bussmann, Leask and Nanda (2024), BatchTopK sparse autoencoders.
    """

    MEMORY: ClassVar[float] = 0.99  # of the running mean, per batch
    threshold: Tensor

    def __init__(self, k: int) -> None:
        super().__init__(k)
        self.register_buffer("threshold", torch.tensor(-1.0))  # below 0: never trained

    def forward(self, pre: Pre) -> Pre:
        active = pre.relu()
        if not self.training:
            if self.threshold < 0:
                raise InvalidArgument(
                    "this BatchTopKCode was never trained, so that it has no threshold; train "
                    "it, or use it in training mode"
                )
            return active * (pre > self.threshold)
        n = pre.numel() // pre.shape[-1] * enough(pre, self.k)
        value, index = active.flatten().topk(n, sorted=False)
        kept = value.detach()[value > 0]
        if len(kept):
            with torch.no_grad():
                memory = 0.0 if self.threshold < 0 else self.MEMORY
                self.threshold.mul_(memory).add_(kept.min(), alpha=1 - memory)
        return torch.zeros_like(active).flatten().scatter(0, index, value).view_as(pre)


def enough(pre: Tensor, k: int) -> int:
    """Refuse to choose more features than there are.

    Parameters
    ----------
    pre : Tensor (..., feature)
        What to choose from.
    k : int
        How many.

    Returns
    -------
    int
        k.
    """
    if k > pre.shape[-1]:
        raise InvalidArgument(f"k={k} of only {pre.shape[-1]} features; lower k")
    return k


def at_least_one(number: int, name: str) -> int:
    """Refuse counts below 1.

    Parameters
    ----------
    number : int
        The count.
    name : str
        What it is, for the message.

    Returns
    -------
    int
        The same.
    """
    if number < 1:
        raise InvalidArgument(f"{name} must be 1 or more, not {number}")
    return int(number)
