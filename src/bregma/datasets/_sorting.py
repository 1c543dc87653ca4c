"""Sorting: in which order do these numbers come?"""

from __future__ import annotations

import torch

from bregma.datasets._task import Task
from bregma.errors import InvalidArgument
from bregma.run import spawn_torch


def sorting(*, length: int = 10, n_examples: int = 1024, seed: int) -> Task:
    """Normal numbers, and the places at which the smallest, the second smallest ... stand.

    Parameters
    ----------
    length : int
        Numbers of an example.
    n_examples : int
        How many examples.
    seed : int
        Draws them.

    Returns
    -------
    Task
        Inputs (example, place), targets (example, rank) of places; every place is as likely.

    Raises
    ------
    InvalidArgument
        If there is nothing to sort.

    References
    ----------
    Graves (2016), Adaptive computation time for recurrent neural networks. arXiv:1603.08983.

    Examples
    --------
    >>> task = sorting(length=3, n_examples=1, seed=0)
    >>> bool((task.inputs[0][task.targets[0]].diff() > 0).all())
    True
    """
    if length < 1 or n_examples < 1:
        raise InvalidArgument(f"{n_examples} examples of {length} numbers: nothing to sort")
    numbers = torch.randn(n_examples, length, generator=spawn_torch(seed, "sorting"))
    return Task(numbers, numbers.argsort(1), length, chance=1 / length)
