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
        Length of an example.
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
    wanted = n_train + n_test
    if n_bits < 1 or min(n_train, n_test) < 1 or wanted > 2**n_bits:
        raise InvalidArgument(
            f"{n_bits} bits have {2 ** max(n_bits, 0)} different examples: {n_train} to train and "
            f"{n_test} to test cannot be drawn (1 or more of each are needed)"
        )
    bits = _different(n_bits, wanted, spawn_torch(seed, "parity"))
    targets = bits.cumsum(1) % 2

    def part(rows: slice) -> Task:
        return Task(bits[rows], targets[rows], 2, chance=0.5)

    return part(slice(n_train)), part(slice(n_train, None))


def _different(n_bits: int, wanted: int, rng: torch.Generator) -> Int[torch.Tensor, "row bit"]:
    """Rows of bits, all different, in random order."""
    if n_bits <= 20:
        numbers = torch.randperm(2**n_bits, generator=rng)[:wanted]
        return numbers[:, None] >> torch.arange(n_bits) & 1
    rows = torch.empty(0, n_bits, dtype=torch.int64)  # too many to shuffle: draw until it is enough
    while len(rows) < wanted:
        drawn = torch.randint(2, (wanted, n_bits), generator=rng)
        rows = torch.cat([rows, drawn]).unique(dim=0)
    return rows[torch.randperm(len(rows), generator=rng)[:wanted]]
