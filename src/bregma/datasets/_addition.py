"""Addition of decimal numbers, digit by digit."""

from __future__ import annotations

import torch
from jaxtyping import Int

from bregma.datasets._task import Task
from bregma.errors import InvalidArgument
from bregma.run import spawn_torch

PLUS, EQUALS, BLANK = 10, 11, 12  # tokens beside the digits


def addition(*, n_digits: int = 3, n_examples: int = 1024, seed: int) -> Task:
    """Two numbers as tokens, and the digits of their sum at the blanks behind them.

    An example reads ``0 4 7 + 0 0 5 = _ _ _ _``; its answer is ``0 0 5 2``.

    Parameters
    ----------
    n_digits : int
        Digits of each number, from 1 to 17.
    n_examples : int
        How many examples.
    seed : int
        Draws them.

    Returns
    -------
    Task
        Inputs (example, 3 n + 3) of 13 tokens: the digits, plus (10), equals (11), blank (12);
        targets of the same shape, -1 outside the blanks.

    Raises
    ------
    InvalidArgument
        If a number is out of range.

    Examples
    --------
    >>> task = addition(n_digits=1, n_examples=1, seed=0)
    >>> a, plus, b, equals, *blanks = task.inputs[0].tolist()
    >>> tens, ones = task.targets[0, -2:].tolist()
    >>> a + b == 10 * tens + ones
    True
    """
    if not 1 <= n_digits <= 17 or n_examples < 1:
        raise InvalidArgument(f"{n_examples} sums of {n_digits} digits (1 to 17) are not possible")
    rng = spawn_torch(seed, "addition")
    a, b = torch.randint(10**n_digits, (2, n_examples), generator=rng)
    sign = a.new_tensor([PLUS, EQUALS]).expand(n_examples, 2)
    question = torch.cat(
        (_digits(a, n_digits), sign[:, :1], _digits(b, n_digits), sign[:, 1:]), dim=1
    )
    answer = _digits(a + b, n_digits + 1)
    # The first digit is 0 where there is no carry, the others are any digit alike.
    chance = ((1 + 10.0**-n_digits) / 2 + n_digits / 10) / (n_digits + 1)
    return Task(
        torch.cat((question, torch.full_like(answer, BLANK)), dim=1),
        torch.cat((torch.full_like(question, -1), answer), dim=1),
        10,
        chance=chance,
    )


def _digits(numbers: Int[torch.Tensor, " n"], n_digits: int) -> Int[torch.Tensor, "n digit"]:
    """Decimal digits, the highest first."""
    return numbers[:, None] // 10 ** torch.arange(n_digits - 1, -1, -1) % 10
