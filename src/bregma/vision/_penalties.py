"""Penalties of sparse codes and their proximal operators: soft, hard, half and CEL0."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from bregma.errors import InvalidArgument

Code = Float[Tensor, "*any"]


@dataclass(frozen=True)
class Penalty(ABC):
    """What an active coefficient costs: lambda phi(a).

    Parameters
    ----------
    strength : float
        lambda, 0 or more.

    Raises
    ------
    InvalidArgument
        If it is negative.
    """

    strength: float

    def __post_init__(self) -> None:
        if not self.strength >= 0:
            raise InvalidArgument(f"the strength must be 0 or more, not {self.strength}")

    @abstractmethod
    def cost(self, code: Code) -> Code:
        """Cost of every coefficient.

        Parameters
        ----------
        code : Tensor
            Coefficients.

        Returns
        -------
        Tensor
            lambda phi(a), of the same shape.
        """

    @abstractmethod
    def prox(self, code: Code, step: float) -> Code:
        """Where a quadratic around every coefficient and the penalty are in balance.

        Parameters
        ----------
        code : Tensor
            Where a step of gradient descent has led.
        step : float
            Its length s.

        Returns
        -------
        Tensor
            argmin over z of (z - a)^2 / (2 s) + lambda phi(z).
        """


class SoftPenalty(Penalty):
    """The l1 norm: phi(a) = abs(a). Convex; shrinks everything that stays by the same amount.

    Parameters
    ----------
    strength : float
        lambda, 0 or more.

    References
    ----------
    Daubechies, Defrise and De Mol (2004), An iterative thresholding algorithm for linear inverse
    problems with a sparsity constraint.
    """

    def cost(self, code: Code) -> Code:
        return self.strength * code.abs()

    def prox(self, code: Code, step: float) -> Code:
        return code.sign() * (code.abs() - step * self.strength).clamp_min(0)


class HardPenalty(Penalty):
    """The number of active coefficients, l0: phi(a) = 1 unless a is 0. Shrinks nothing that stays.

    Parameters
    ----------
    strength : float
        lambda, 0 or more.

    References
    ----------
    Blumensath and Davies (2008), Iterative thresholding for sparse approximations.
    """

    def cost(self, code: Code) -> Code:
        return self.strength * (code != 0).to(code)

    def prox(self, code: Code, step: float) -> Code:
        return torch.where(code.abs() > math.sqrt(2 * step * self.strength), code, 0.0)


class HalfPenalty(Penalty):
    """The l1/2 quasi-norm: phi(a) = sqrt(abs(a)). Between both: shrinks the large ones less.

    Parameters
    ----------
    strength : float
        lambda, 0 or more.

    References
    ----------
    Xu et al. (2012), L1/2 regularization: a thresholding representation theory and a fast solver.
    """

    def cost(self, code: Code) -> Code:
        return self.strength * code.abs().sqrt()

    def prox(self, code: Code, step: float) -> Code:
        t = step * self.strength
        size = code.abs()
        threshold = 1.5 * t ** (2 / 3)
        stays = size > threshold
        # the root of z + t / (2 sqrt(z)) = |a|, a cubic in sqrt(z), by trigonometry
        safe = torch.where(stays, size, size.new_tensor(max(threshold, 1e-12)))
        angle = ((t / 4) * (safe / 3) ** -1.5).clamp(max=1).acos()
        root = (2 / 3) * safe * (1 + (2 * math.pi / 3 - 2 * angle / 3).cos())
        return torch.where(stays, code.sign() * root, 0.0)


@dataclass(frozen=True)
class CEL0Penalty(Penalty):
    """Continuous exact l0: the envelope of l0 with the same global minima and fewer local ones.

    With c the length of an atom: phi(a) = 1 - (c^2 / (2 lambda)) (abs(a) - sqrt(2 lambda) / c)^2
    up to abs(a) = sqrt(2 lambda) / c, and 1 beyond.

    Parameters
    ----------
    strength : float
        lambda, 0 or more.
    length : float
        c: length of the atoms of the dictionary.

    References
    ----------
    Soubies, Blanc-Feraud and Aubert (2015), A continuous exact l0 penalty (CEL0) for least squares
    regularized problem.
    """

    length: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.length > 0:
            raise InvalidArgument(f"atoms need a length above 0, not {self.length}")

    def cost(self, code: Code) -> Code:
        gap = (math.sqrt(2 * self.strength) / self.length - code.abs()).clamp_min(0)
        return self.strength - 0.5 * self.length**2 * gap**2

    def prox(self, code: Code, step: float) -> Code:
        curvature = step * self.length**2
        if curvature >= 1:
            return HardPenalty(self.strength).prox(code, step)
        size = code.abs()
        shrunk = (size - step * math.sqrt(2 * self.strength) * self.length).clamp_min(0)
        return code.sign() * torch.minimum(size, shrunk / (1 - curvature))
