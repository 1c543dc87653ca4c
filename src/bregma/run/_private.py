"""Seeding what listens to the global generators alone, and leaving those as they were."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from bregma.run._seed import derive


@contextmanager
def private_randomness(seed: int) -> Iterator[None]:
    """Seed the global generators for a moment, and put them back as they were.

    For code that draws from nothing else, such as the initialisation of layers.

    Parameters
    ----------
    seed : int
        The seed.

    Examples
    --------
    >>> with private_randomness(0):
    ...     layer = torch.nn.Linear(2, 2)  # the same weights each time
    """
    numpy_state = np.random.get_state()  # noqa: NPY002
    python_state = random.getstate()
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        try:
            reseed(seed)
            yield
        finally:
            np.random.set_state(numpy_state)  # noqa: NPY002
            random.setstate(python_state)


def reseed(seed: int, *names: int) -> None:
    """Seed the global generators, inside `private_randomness` only.

    Parameters
    ----------
    seed : int
        The seed.
    *names : int
        What for, such as the number of a batch.
    """
    number = derive(seed, "torch", *names)
    torch.default_generator.manual_seed(number)  # torch.manual_seed would look for accelerators
    for generator in torch.cuda.default_generators:
        generator.manual_seed(number)
    np.random.seed(derive(seed, "numpy", *names) % 2**32)  # noqa: NPY002 - modules may draw there
    random.seed(derive(seed, "python", *names))
