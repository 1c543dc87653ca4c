"""What couples units in each state, and the prior that the states share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from bregma.errors import InvalidArgument

LEAST_STRENGTH = 0.1  # where a coupling begins: a strength of 0 has no gradient


class Coupling(nn.Module):
    """Weights of a GLM in each state: a row is the unit that receives, a column the one that sends.

    In training mode, `weight` may be random (it takes a generator); in evaluation mode it is not.
    """

    def __init__(self) -> None:
        super().__init__()

    def weight(self, generator: torch.Generator | None = None) -> Float[Tensor, "state unit unit"]:
        """Weights of each state.

        Parameters
        ----------
        generator : torch.Generator, optional
            Of what is random in training mode.

        Returns
        -------
        Float[Tensor, "state unit unit"]
            From the column to the row.
        """
        raise NotImplementedError

    def log_prior(self) -> Float[Tensor, ""]:
        """How probable the states are, given what they share.

        Returns
        -------
        Float[Tensor, ""]
            In nats, up to a constant.
        """
        raise NotImplementedError


@runtime_checkable
class CouplingPrior(Protocol):
    """Makes the coupling that a switching GLM learns."""

    def coupling(self, start: Float[Tensor, "state unit unit"]) -> Coupling:
        """Begin near some weights.

        Parameters
        ----------
        start : Float[Tensor, "state unit unit"]
            Weights of a fit without a prior.

        Returns
        -------
        Coupling
            A module with its own parameters.
        """
        ...


@dataclass(frozen=True)
class FlatPrior(CouplingPrior):
    """Weights of each state for themselves: the plain HMM-GLM.

    References
    ----------
    Escola, Fontanini, Katz and Paninski (2011), Hidden Markov models for the stimulus-response
    relationships of multistate neural systems. doi:10.1162/NECO_a_00118.
    """

    def coupling(self, start: Float[Tensor, "state unit unit"]) -> Coupling:
        return _Flat(start)


@dataclass(frozen=True)
class GaussianPrior(CouplingPrior):
    """Weights of the states scatter around common ones, which are learned.

    Parameters
    ----------
    scale : float
        Standard deviation of a weight over states.

    Raises
    ------
    InvalidArgument
        If the scale is not positive.

    References
    ----------
    Li, Kim, Rodgers, Choi and Wu (2024), One-hot generalized linear model for switching brain state
    discovery. arXiv:2310.15263.
    """

    scale: float = 0.3

    def __post_init__(self) -> None:
        if not self.scale > 0:
            raise InvalidArgument(f"scale must be above 0, not {self.scale}")

    def coupling(self, start: Float[Tensor, "state unit unit"]) -> Coupling:
        return _Gaussian(start, self.scale)


@dataclass(frozen=True)
class OneHotPrior(CouplingPrior):
    """Signs of couplings come from one wiring, which is learned; their strengths are free.

    In state s the weight from unit m to unit n is ``(exc - inh) * strength``, where (inh, none,
    exc) is a one-hot choice, drawn from the wiring's distribution over the three for that pair;
    how common each of the three is over all pairs is learned as well, so that a sparse circuit is
    found to be sparse. Training draws Gumbel-softmax samples of the choices, evaluation takes the
    most probable ones.

    Parameters
    ----------
    temperature : float
        Of the Gumbel-softmax samples: the lower, the closer to one-hot.
    shared : bool
        Whether the states share one wiring. Otherwise each has its own: the control that tells what
        sharing is good for.

    Raises
    ------
    InvalidArgument
        If the temperature is not positive.

    References
    ----------
    Li, Kim, Rodgers, Choi and Wu (2024), One-hot generalized linear model for switching brain state
    discovery. arXiv:2310.15263.
    Jang, Gu and Poole (2017), Categorical reparameterization with Gumbel-softmax. arXiv:1611.01144.
    """

    temperature: float = 1.0
    shared: bool = True

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise InvalidArgument(f"temperature must be above 0, not {self.temperature}")

    def coupling(self, start: Float[Tensor, "state unit unit"]) -> OneHotCoupling:
        return OneHotCoupling(start, self.temperature, shared=self.shared)


class _Flat(Coupling):
    def __init__(self, start: Tensor) -> None:
        super().__init__()
        self.values = nn.Parameter(start.clone())

    def weight(self, generator: torch.Generator | None = None) -> Tensor:
        return self.values

    def log_prior(self) -> Tensor:
        return self.values.new_zeros(())


class _Gaussian(_Flat):
    def __init__(self, start: Tensor, scale: float) -> None:
        super().__init__(start)
        self.scale = scale
        self.shared = nn.Parameter(start.mean(0))

    def log_prior(self) -> Tensor:
        return -((self.values - self.shared) / self.scale).square().sum() / 2


class OneHotCoupling(Coupling):
    """What `OneHotPrior` makes: a choice of inhibition, nothing or excitation, and a strength.

    Parameters
    ----------
    start : Float[Tensor, "state unit unit"]
        Weights of a fit without a prior; only how large they are is taken from it.
    temperature : float
        Of the Gumbel-softmax samples.
    shared : bool
        Whether the states share one wiring.
    """

    def __init__(
        self, start: Float[Tensor, "state unit unit"], temperature: float, *, shared: bool = True
    ) -> None:
        super().__init__()
        self.temperature = temperature
        self.choice = nn.Parameter(start.new_zeros(*start.shape, 3))  # logits: undecided
        # Strong, so that a wrong choice is costly and made before its strength has faded.
        strength = start.abs().quantile(0.95).clamp_min(LEAST_STRENGTH)
        self.raw_strength = nn.Parameter(strength.expm1().log().expand(start.shape).clone())
        self.wiring = nn.Parameter(
            start.new_zeros(1 if shared else len(start), *start.shape[1:], 3)
        )

    def train(self, mode: bool = True) -> OneHotCoupling:
        """Choices are learned in training mode and final in evaluation mode.

        Parameters
        ----------
        mode : bool
            Whether to train.

        Returns
        -------
        OneHotCoupling
            This one.
        """
        self.choice.requires_grad_(mode)
        self.wiring.requires_grad_(mode)
        return super().train(mode)

    @property
    def strength(self) -> Float[Tensor, "state unit unit"]:
        """Size of each coupling, if there is one."""
        return F.softplus(self.raw_strength)

    def weight(self, generator: torch.Generator | None = None) -> Tensor:
        if self.training:
            gumbel = -torch.empty_like(self.choice).exponential_(generator=generator).log()
            chosen = F.softmax((self.choice.log_softmax(-1) + gumbel) / self.temperature, -1)
        else:
            chosen = F.one_hot(self.choice.argmax(-1), 3).to(self.choice)
        return (chosen[..., 2] - chosen[..., 0]) * self.strength

    def log_prior(self) -> Tensor:
        """log p(choices | wiring) + log p(wiring | how common each kind is), no unit on itself."""
        pairs = ~torch.eye(self.choice.shape[1], dtype=torch.bool, device=self.choice.device)
        choice = self.choice[:, pairs].softmax(-1)  # (state, pair, kind)
        log_wiring = self.wiring[:, pairs].log_softmax(-1)
        wiring = log_wiring.exp()
        return (choice * log_wiring).sum() + (wiring * wiring.mean((0, 1)).log()).sum()

    def adjacency(self) -> Int[Tensor, "state unit unit"]:
        """The choices of each state.

        Returns
        -------
        Int[Tensor, "state unit unit"]
            -1 inhibition, 0 nothing, 1 excitation; from the column to the row. On the diagonal 0.
        """
        n = self.choice.shape[1]
        others = 1 - torch.eye(n, dtype=torch.int64, device=self.choice.device)
        return (self.choice.argmax(-1) - 1) * others

    def wiring_probability(self) -> Float[Tensor, "wiring unit unit kind"]:
        """The wiring that the choices are drawn from.

        Returns
        -------
        Float[Tensor, "wiring unit unit kind"]
            Probability of inhibition, nothing and excitation; one wiring for all states, or one
            for each. The diagonal means nothing.
        """
        return self.wiring.detach().softmax(-1)
