"""Cumulative parity: is the number of ones up to here odd?"""

from __future__ import annotations

import torch
from jaxtyping import Int

from bregma.datasets._task import Task
from bregma.errors import InvalidArgument
from bregma.run import spawn_torch


def parity(
    *, n_bits: int = 8, n_train: int = 4096, n_test: int = 1024, seed: int
) -> tuple[Task, Task]:
    """Random bits, and at every place whether the number of ones so far is odd.

    Parameters
    ----------
    n_bits : int
        Length of an example, from 1 to 62.
    n_train, n_test : int
        How many examples; no one of them is there twice.
    seed : int
        Draws them.

    Returns
    -------
    train, test : Task
        Inputs (example, bit) and targets (example, bit) of 0 and 1. No constant answer is better
        than chance, and neither is knowing all but one of the bits that count.

    Raises
    ------
    InvalidArgument
        If there are not that many different examples, or none are asked for.

    References
    ----------
    Graves (2016), Adaptive computation time for recurrent neural networks. arXiv:1603.08983.

    Examples
    --------
    >>> train, test = parity(n_bits=5, n_train=20, n_test=12, seed=0)
    >>> train.inputs[0].tolist(), train.targets[0].tolist()
    ([1, 1, 0, 0, 1], [1, 0, 0, 0, 1])
    """
    if not 1 <= n_bits <= 62 or min(n_train, n_test) < 1 or n_train + n_test > 2**n_bits:
        raise InvalidArgument(
            f"{n_bits} bits have {2 ** min(n_bits, 62)} different examples (up to 62 bits are "
            f"possible): too few for {n_train} to train and {n_test} to test, or nothing is asked"
        )
    rng = spawn_torch(seed, "parity")
    numbers = _different(2**n_bits, n_train + n_test, rng)
    bits = numbers[:, None] >> torch.arange(n_bits) & 1
    targets = bits.cumsum(1) % 2

    def part(rows: slice) -> Task:
        return Task(bits[rows], targets[rows], 2, chance=0.5)

    return part(slice(n_train)), part(slice(n_train, None))


def _different(n: int, wanted: int, rng: torch.Generator) -> Int[torch.Tensor, " wanted"]:
    """Whole numbers below n, all different."""
    if n <= 2**20:
        return torch.randperm(n, generator=rng)[:wanted]
    seen: dict[int, None] = {}  # too many to shuffle; a dict keeps the order of drawing
    while len(seen) < wanted:
        seen |= dict.fromkeys(torch.randint(n, (wanted,), generator=rng).tolist())
    return torch.tensor(list(seen)[:wanted])
