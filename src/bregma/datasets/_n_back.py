"""n-back: is this the symbol that was shown n steps ago?"""

from __future__ import annotations

import torch

from bregma.datasets._task import Task
from bregma.errors import InvalidArgument
from bregma.run import spawn_torch


def n_back(
    *, n: int = 2, length: int = 20, n_symbols: int = 8, n_examples: int = 1024, seed: int
) -> Task:
    """Sequences of symbols, and at every step whether the symbol is that of n steps before.

    Half of the steps are repetitions; at the others each other symbol is as likely, so that
    neither the symbols nor their frequencies tell anything.

    Parameters
    ----------
    n : int
        How far back.
    length : int
        Steps of a sequence, more than n.
    n_symbols : int
        Different symbols, 2 or more.
    n_examples : int
        How many sequences.
    seed : int
        Draws them.

    Returns
    -------
    Task
        Inputs (example, step) of symbols; targets (example, step) of 0 and 1, -1 in the first n.

    Raises
    ------
    InvalidArgument
        If a number is out of range.

    References
    ----------
    Kirchner (1958), Age differences in short-term retention of rapidly changing information.
    J Exp Psychol 55, 352-358.

    Examples
    --------
    >>> task = n_back(n=1, length=4, n_examples=1, seed=0)
    >>> bool(task.targets[0, 1] == (task.inputs[0, 1] == task.inputs[0, 0]))
    True
    """
    if n < 1 or length <= n or n_symbols < 2 or n_examples < 1:
        raise InvalidArgument(
            f"n-back needs n from 1, more than n steps, 2 symbols and 1 example, not n={n}, "
            f"length={length}, n_symbols={n_symbols}, n_examples={n_examples}"
        )
    rng = spawn_torch(seed, "n-back")
    symbols = torch.randint(n_symbols, (n_examples, length), generator=rng)
    targets = torch.randint(2, (n_examples, length), generator=rng)
    other = torch.randint(1, n_symbols, (n_examples, length), generator=rng)  # steps away
    for t in range(n, length):
        symbols[:, t] = (symbols[:, t - n] + (1 - targets[:, t]) * other[:, t]) % n_symbols
    targets[:, :n] = -1
    return Task(symbols, targets, 2, chance=0.5)
