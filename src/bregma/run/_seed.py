"""Random generators that follow from one seed and from names, the same on every machine."""

from __future__ import annotations

import hashlib
import json
import operator
from typing import TYPE_CHECKING, SupportsIndex

import numpy as np

from bregma.errors import InvalidArgument

if TYPE_CHECKING:
    import torch


def derive(seed: SupportsIndex, *names: str | SupportsIndex) -> int:
    """One whole number that follows from a seed and names.

    Parameters
    ----------
    seed : int
        The seed that the user gave, 0 or more.
    *names : str or int
        What the number is for, such as ``"batches", 3``. Other names give unrelated numbers.

    Returns
    -------
    int
        Between 0 and 2**63 - 1, the same on every machine and in every version.

    Raises
    ------
    InvalidArgument
        If the seed is negative.

    Examples
    --------
    >>> derive(0, "weights")
    5681230749671811970
    """
    plain = [n if isinstance(n, str) else operator.index(n) for n in (seed, *names)]
    if operator.index(seed) < 0:
        raise InvalidArgument(f"seed must be 0 or more, not {seed}")
    digest = hashlib.sha256(json.dumps(plain).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def spawn(seed: SupportsIndex, *names: str | SupportsIndex) -> np.random.Generator:
    """NumPy generator that follows from a seed and names.

    Two parts of a program that spawn under different names get independent streams, and adding
    a third part changes neither: unlike with one generator that is handed around.

    Parameters
    ----------
    seed : int
        The seed that the user gave, 0 or more.
    *names : str or int
        What the generator is for.

    Returns
    -------
    numpy.random.Generator
        A new generator at its beginning.

    Examples
    --------
    >>> spawn(0, "noise").integers(10, size=3)
    array([7, 7, 8])
    """
    return np.random.default_rng(derive(seed, *names))


def spawn_torch(
    seed: SupportsIndex, *names: str | SupportsIndex, device: str | torch.device = "cpu"
) -> torch.Generator:
    """PyTorch generator that follows from a seed and names.

    Parameters
    ----------
    seed : int
        The seed that the user gave, 0 or more.
    *names : str or int
        What the generator is for.
    device : str or torch.device
        Where the generator lives; the same seed gives other numbers on another kind of device.

    Returns
    -------
    torch.Generator
        A new generator at its beginning; the global one is not touched.
    """
    import torch

    return torch.Generator(device=device).manual_seed(derive(seed, *names))
