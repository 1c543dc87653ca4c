"""A finite-state machine whose states are written as digits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.special import entr
from torch import Tensor

from bregma.datasets._task import Task
from bregma.errors import InvalidArgument
from bregma.run import spawn_torch

BASE, DIGITS = 10, 2  # a state is two digits


@dataclass(frozen=True)
class TokenMachine:
    """A machine, walks through it as digits, and what comes after each digit.

    Parameters
    ----------
    successors : Tensor (state, state)
        True where the second state may follow on the first; all of these are equally likely.
    digits : Tensor (state, 2)
        How a state is written.
    states : Tensor (walk, step)
        The states of the walks.
    task : Task
        Inputs (walk, 2 step) of digits; the target is the next digit (-1 at the end). Its chance
        is the most common digit, its best the accuracy of the machine itself.
    loss : float
        Cross-entropy of the machine itself, in nats: no answer can be better.
    """

    successors: Bool[Tensor, "state state"]
    digits: Int[Tensor, "state 2"]
    states: Int[Tensor, "walk step"]
    task: Task
    loss: float

    def valid(
        self,
        states: Int[Tensor, " walk"],
        first: Float[Tensor, "walk digit"],
        second: Float[Tensor, "walk digit digit"],
    ) -> Float[Tensor, " walk"]:
        """Probability that the next state of a model may follow on a given one.

        Parameters
        ----------
        states : Tensor (walk,)
            The present states.
        first : Tensor (walk, digit)
            Scores of the next digit, before the softmax.
        second : Tensor (walk, digit, digit)
            Scores of the digit after it, for each next digit.

        Returns
        -------
        Tensor (walk,)
            0 to 1; a model that knows nothing has successors / 100.
        """
        both = first.softmax(-1)[..., None] * second.softmax(-1)  # (walk, digit, digit)
        of_state = both[:, self.digits[:, 0], self.digits[:, 1]]
        return (of_state * self.successors[states]).sum(-1)


def token_machine(
    n: int,
    *,
    states: int = 50,
    successors: int = 5,
    steps: int = 8,
    machine_seed: int = 0,
    seed: int,
) -> TokenMachine:
    """Random walks through a machine of random transitions, each state written as two digits.

    One digit says little: the state is known after two, so that a network has to put them together
    and to remember which states may follow. Walks start anywhere, each successor is equally likely,
    and each state follows on equally many, so that all are visited equally often.

    Parameters
    ----------
    n : int
        How many walks.
    states : int
        Up to 100; each one is written as two digits of its own.
    successors : int
        States that may follow on a state.
    steps : int
        States in a walk.
    machine_seed : int
        Draws transitions and digits: the same machine for training and test.
    seed : int
        Draws the walks.

    Returns
    -------
    TokenMachine
        Walks with their truth.

    Raises
    ------
    InvalidArgument
        If a number is out of range.

    References
    ----------
    Tamkin, Taufeeque and Goodman (2023), Codebook features: sparse and discrete interpretability
    for neural networks.

    Examples
    --------
    >>> machine = token_machine(3, seed=0)
    >>> machine.task.inputs.shape, machine.states.shape, machine.task.best < 1
    (torch.Size([3, 16]), torch.Size([3, 8]), True)
    """
    if n < 1 or steps < 2 or not 1 <= successors <= states <= BASE**DIGITS:
        raise InvalidArgument(
            f"n must be 1 or more, steps 2 or more, successors 1 to states and states up to "
            f"{BASE**DIGITS}, not {n}, {steps}, {successors} and {states}"
        )
    rng = spawn_torch(machine_seed, "token machine")
    # Every state follows on equally many: shifts of all states, in another order on each side.
    shifts = torch.randperm(states, generator=rng)[:successors]
    order, target = (torch.randperm(states, generator=rng) for _ in range(2))
    follows = target[(order[:, None] + shifts) % states]
    allowed = torch.zeros(states, states, dtype=torch.bool).scatter_(1, follows, True)
    written = torch.randperm(BASE**DIGITS, generator=rng)[:states]
    digits = torch.stack([written // BASE, written % BASE], 1)

    rng = spawn_torch(seed, "walks")
    now, walk = torch.randint(states, (n,), generator=rng), []
    for _ in range(steps):
        walk.append(now)
        now = follows[now, torch.randint(successors, (n,), generator=rng)]
    through = torch.stack(walk, 1)
    tokens = digits[through].flatten(1)
    after = torch.cat([tokens[:, 1:], torch.full((n, 1), -1)], 1)
    chance, best, loss = _levels(allowed.double().numpy(), digits.numpy(), steps)
    return TokenMachine(allowed, digits, through, Task(tokens, after, BASE, chance, best), loss)


def _levels(
    allowed: Float[np.ndarray, "state state"], digits: Int[np.ndarray, "state 2"], steps: int
) -> tuple[float, float, float]:
    """Chance, Bayes accuracy and cross-entropy over the places of a walk that have a next digit."""
    n, asked = len(allowed), 2 * steps - 1

    def table(p: Float[np.ndarray, "row state"]) -> Float[np.ndarray, "row digit digit"]:
        joint = np.zeros((len(p), BASE, BASE))
        joint[:, digits[:, 0], digits[:, 1]] = p
        return joint

    start = table(np.full((1, n), 1 / n))
    later = table(allowed / allowed.sum(1, keepdims=True))  # one row for each state before
    first, second = start.sum((0, 2)), start.sum((0, 1))  # all states are equally common
    chance = ((steps - 1) * first + steps * second).max()
    best = _right(start) + (steps - 1) * (later.sum(2).max(1).mean() + _right(later))
    loss = _entropy(start) - _entropy(start.sum(2)) + (steps - 1) * _entropy(later)
    return float(chance / asked), float(best / asked), float(loss / asked)


def _right(joint: Float[np.ndarray, "row digit digit"]) -> float:
    """How often the second digit is guessed right, knowing the first."""
    return float(joint.max(2).sum(1).mean())


def _entropy(p: Float[np.ndarray, "row ..."]) -> float:
    """In nats, a mean over rows."""
    return float(entr(p).sum() / len(p))
