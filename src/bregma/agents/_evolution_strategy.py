"""Evolution strategies: ascent on rewards of perturbed parameters, without any derivative."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from bregma.errors import InvalidArgument
from bregma.run import spawn


class Evolved(NamedTuple):
    """Outcome of an evolution strategy.

    Parameters
    ----------
    parameters : ndarray (parameter,)
        Where it ended.
    rewards : ndarray (generation + 1,)
        Reward of the mean parameters before every generation, and at the end.
    evaluations : ndarray (generation + 1,)
        Evaluations of perturbed parameters until then.
    """

    parameters: Float[np.ndarray, " parameter"]
    rewards: Float[np.ndarray, " generation"]
    evaluations: Float[np.ndarray, " generation"]


def evolution_strategy(
    evaluate: Callable[[Float[np.ndarray, "one parameter"]], Float[np.ndarray, " one"]],
    start: Float[np.ndarray, " parameter"],
    *,
    generations: int,
    population: int = 64,
    sigma: float = 0.1,
    rate: float = 0.1,
    seed: int,
) -> Evolved:
    r"""Climb the reward of a policy.

    theta <- theta + rate / (n sigma) sum_i F_i eps_i over mirrored pairs of normal eps, with the
    ranks of rewards, from -0.5 to 0.5, as F: only their order counts.

    Parameters
    ----------
    evaluate : callable
        From parameters (one, parameter) to their rewards (one,), all at once.
    start : ndarray (parameter,)
        Where to begin.
    generations : int
        How many steps.
    population : int
        Evaluations per step, an even number.
    sigma : float
        Standard deviation of the perturbations.
    rate : float
        Learning rate: what the estimated gradient is multiplied by.
    seed : int
        Draws the perturbations.

    Returns
    -------
    Evolved
        Parameters and the course of the reward.

    Raises
    ------
    InvalidArgument
        If the population is odd or below 2, a setting is not above 0, or a reward is not finite.

    References
    ----------
    Salimans, Ho, Chen, Sidor and Sutskever (2017), Evolution strategies as a scalable alternative
    to reinforcement learning.

    Examples
    --------
    >>> found = evolution_strategy(
    ...     lambda x: -((x - 1) ** 2).sum(1), np.zeros(3), generations=60, seed=0
    ... )
    >>> bool(np.abs(found.parameters - 1).max() < 0.1)
    True
    """
    if population < 2 or population % 2 or generations < 1 or not min(sigma, rate) > 0:
        raise InvalidArgument(
            "the population must be even, generations 1 or more, sigma and rate positive, not "
            f"{population}, {generations}, {sigma}, {rate}"
        )
    rng = spawn(seed, "evolution")
    mean = np.array(start, dtype=float)
    rewards = []
    for generation in range(generations + 1):
        half = rng.standard_normal((population // 2, len(mean)))
        eps = np.concatenate([half, -half])
        # the mean is evaluated along with the others, to see where it stands
        found = evaluate(np.concatenate([mean[None], mean + sigma * eps]))
        if not np.isfinite(found).all():
            raise InvalidArgument("the reward of a policy is NaN or infinite")
        rewards.append(found[0])
        if generation < generations:
            ranks = found[1:].argsort().argsort() / (population - 1) - 0.5
            mean = mean + rate * (ranks @ eps) / population / sigma
    steps = np.arange(generations + 1, dtype=float)
    return Evolved(mean, np.array(rewards), steps * population)
