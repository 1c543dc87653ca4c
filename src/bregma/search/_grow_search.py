"""Architecture search by growing: children inherit the function of their parent."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from bregma.errors import InvalidArgument
from bregma.run import derive, spawn_torch
from bregma.search._grow import deeper, wider
from bregma.search._growth_policy import Decision, GrowthPolicy, Policy
from bregma.search._outline import Outline, outline

MOST = 0.999  # accuracy above which the reward does not rise, for tan(pi / 2) is infinite
PATIENCE = 0.95  # of the moving average that rewards are compared with
CURIOSITY = 1e-5  # weight of the policy's entropy


@dataclass(frozen=True)
class Grown:
    """A network that a search tried.

    Parameters
    ----------
    net : torch.nn.Sequential
        It, after its training.
    accuracy : float
        Of its training and validation.
    episode : int
        When it was tried.
    moves : tuple of tuple
        How it grew: ``("wider", layer, width)`` and ``("deeper", layer, kernel)``, in order.
    """

    net: nn.Sequential
    accuracy: float
    episode: int
    moves: tuple[tuple[str, int, int], ...]


@dataclass(frozen=True)
class GrowthSpace:
    """Which networks can be reached, and how far in one episode.

    Parameters
    ----------
    levels : sequence of int
        Widths that a layer can be given, rising.
    kernels : sequence of int
        Sides of the kernels of new convolutions, odd.
    wider, deeper : int
        Number of decisions of each kind about a child: first the former, then the latter.
    wider_noise, deeper_noise : float
        Noise on new weights (see `wider` and `deeper`); without it copies stay copies.

    Raises
    ------
    InvalidArgument
        If a number of decisions is negative, or there are none.
    """

    levels: Sequence[int]
    kernels: Sequence[int] = (1, 3, 5)
    wider: int = 4
    deeper: int = 5
    wider_noise: float = 1e-2
    deeper_noise: float = 1e-3

    def __post_init__(self) -> None:
        if min(self.wider, self.deeper) < 0 or not self.wider + self.deeper:
            raise InvalidArgument(
                f"{self.wider} wider and {self.deeper} deeper decisions make no child"
            )


def grow_search(
    start: nn.Sequential,
    train: Callable[[nn.Sequential, int], float],
    policy: Policy,
    space: GrowthSpace,
    *,
    episodes: int,
    children: int = 10,
    examples: Tensor | None = None,
    rate: float = 2e-3,
    seed: int,
) -> list[Grown]:
    """Grow children of a trained network, train them a little, and learn what to grow.

    Each child starts as `start` does, function and all, so that a short training tells how good
    its architecture is. A policy that can learn is trained by REINFORCE on tan(accuracy pi / 2),
    less a moving average. For a second stage, search again from the best network of the first.

    Parameters
    ----------
    start : torch.nn.Sequential
        A trained chain of layers, as `wider` takes it; it stays as it is.
    train : callable
        ``train(net, seed)`` trains a child in place and gives its accuracy, 0 to 1, on data that
        neither trained it nor will judge the search.
    policy : GrowthPolicy or RandomPolicy
        Decides how children grow; a `GrowthPolicy` is trained in place.
    space : GrowthSpace
        Widths, kernels and number of decisions.
    episodes : int
        How often the policy is updated.
    children : int
        Networks in each episode.
    examples : Tensor, optional
        Inputs for the statistics of new batch normalisations (see `deeper`).
    rate : float
        Learning rate of the policy (Adam).
    seed : int
        Of decisions, moves and trainings.

    Returns
    -------
    list of Grown
        Every network that was tried, in order.

    Raises
    ------
    InvalidArgument
        If there is no episode or child, or an accuracy is not from 0 to 1.

    References
    ----------
    Cai et al. (2018), Efficient architecture search by network transformation.
    """
    if min(episodes, children) < 1:
        raise InvalidArgument(
            f"episodes and children must be 1 or more, not {episodes} and {children}"
        )
    optimizer = None
    if isinstance(policy, GrowthPolicy):
        optimizer = torch.optim.Adam(policy.parameters(), lr=rate)
    tried: list[Grown] = []
    baseline: float | None = None
    for episode in range(episodes):
        rewards, decisions = [], list[list[Decision]]()
        for number in range(children):
            key = derive(seed, "child", episode, number)
            child = _Child(copy.deepcopy(start), space, examples, key)
            decisions.append(child.grow(policy))
            accuracy = train(child.net, derive(key, "training"))
            if not 0 <= accuracy <= 1:
                raise InvalidArgument(f"train must give an accuracy from 0 to 1, not {accuracy}")
            tried.append(Grown(child.net, accuracy, episode, tuple(child.moves)))
            rewards.append(growth_reward(accuracy))
        mean = sum(rewards) / children
        baseline = mean if baseline is None else PATIENCE * baseline + (1 - PATIENCE) * mean
        if optimizer is not None:
            optimizer.zero_grad()
            _reinforce(decisions, [r - baseline for r in rewards]).backward()
            optimizer.step()
    return tried


def growth_reward(accuracy: float) -> float:
    """tan(accuracy pi / 2): from 0.95 to 0.96 is worth more than from 0.75 to 0.76.

    Parameters
    ----------
    accuracy : float
        0 to 1; all above 0.999 is as good.

    Returns
    -------
    float
        The reward.
    """
    return math.tan(min(accuracy, MOST) * math.pi / 2)


def _reinforce(decisions: list[list[Decision]], advantages: list[float]) -> Tensor:
    """Loss whose gradient is that of minus the expected reward, and a little entropy."""
    likely = [torch.stack([d.log_prob for d in made]).sum() for made in decisions]
    gain = sum(a * p for a, p in zip(advantages, likely, strict=True)) / len(decisions)
    spread = torch.stack([d.entropy for made in decisions for d in made]).mean()
    return -gain - CURIOSITY * spread


@dataclass
class _Child:
    net: nn.Sequential
    space: GrowthSpace
    examples: Tensor | None
    key: int
    moves: list[tuple[str, int, int]] = field(default_factory=list)

    def grow(self, policy: Policy) -> list[Decision]:
        generator = spawn_torch(self.key, "decisions")
        made = []
        for _ in range(self.space.wider):
            seen = self._outline()
            made.append(policy.wider(seen, generator))
            self._widen(seen, made[-1].choice)
        for _ in range(self.space.deeper):
            seen = self._outline()
            made.append(policy.deeper(seen, generator))
            self._deepen(seen, *made[-1].choice)
        return made

    def _outline(self) -> Outline:
        return outline(self.net, self.space.levels, self.space.kernels)

    def _widen(self, seen: Outline, tokens: Sequence[int]) -> None:
        for token in tokens:
            layer = seen.layers[token]
            now = len(self.net[layer].weight)  # type: ignore[arg-type]
            width = next(n for n in self.space.levels if n > now)
            seed = derive(self.key, len(self.moves))
            self.net = wider(self.net, layer, width, noise=self.space.wider_noise, seed=seed)
            self.moves.append(("wider", layer, width))

    def _deepen(self, seen: Outline, block: int, number: int, kernel: int) -> None:
        layer, side = seen.layers[seen.blocks[block][number]], self.space.kernels[kernel]
        self.net = deeper(
            self.net,
            layer,
            kernel=side,
            examples=self.examples,
            noise=self.space.deeper_noise,
            seed=derive(self.key, len(self.moves)),
        )
        self.moves.append(("deeper", layer, side))
