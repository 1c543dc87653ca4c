"""Handwritten digits, which come with scikit-learn."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int

from bregma.datasets._task import Task
from bregma.errors import InvalidArgument
from bregma.run import spawn

PIXELS = 8  # rows and columns


def digits(*, n_test: int = 597, seed: int) -> tuple[Task, Task]:
    """1,797 handwritten digits of 8 x 8 pixels in a training and a test half.

    Parameters
    ----------
    n_test : int
        How many of them are for testing.
    seed : int
        Draws which ones.

    Returns
    -------
    train, test : Task
        Inputs (example, 64) from 0 to 1; ten classes.

    Raises
    ------
    InvalidArgument
        If either half would be empty.

    References
    ----------
    Alpaydin and Kaynak (1998), Optical recognition of handwritten digits. UCI repository.

    Examples
    --------
    >>> train, test = digits(seed=0)
    >>> len(train), len(test), train.inputs.shape[1]
    (1200, 597, 64)
    """
    images, labels = read_digits()
    if not 0 < n_test < len(images):
        raise InvalidArgument(f"n_test must be from 1 to {len(images) - 1}, not {n_test}")
    order = spawn(seed, "digits").permutation(len(images))

    def part(rows: np.ndarray) -> Task:
        inputs = torch.as_tensor(images[rows], dtype=torch.float32)
        targets = torch.as_tensor(labels[rows], dtype=torch.int64)
        return Task(inputs, targets, 10, chance=float(np.bincount(labels[rows]).max() / len(rows)))

    return part(order[n_test:]), part(order[:n_test])


def read_digits() -> tuple[Float[np.ndarray, "digit pixel"], Int[np.ndarray, " digit"]]:
    """All of them, grey values from 0 to 1, and which digit each one is."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    return images / 16, labels
