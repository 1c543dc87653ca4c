"""Sums of two or three numbers around a clock: one step, or two of them."""

from __future__ import annotations

import torch

from bregma.datasets._prompt_pairs import PromptPairs
from bregma.errors import InvalidArgument
from bregma.run import spawn_torch


def modular_sums(n: int = 256, *, terms: int = 2, modulus: int = 7, seed: int) -> PromptPairs:
    """Sums modulo a number: ``3 6 . =`` asks for 2 and ``3 6 4 =`` for 6, of seven.

    Prompts of two and of three terms are as long as each other. In the corrupt prompt one of the
    terms is another one, so that the answer is.

    Parameters
    ----------
    n : int
        How many pairs.
    terms : int
        2 (one step) or 3 (two steps).
    modulus : int
        How many numbers there are, 3 or more.
    seed : int
        Draws them.

    Returns
    -------
    PromptPairs
        Tokens are the numbers, ``.`` in the place of a missing third term, and ``=``.

    Raises
    ------
    InvalidArgument
        A number out of range.

    Examples
    --------
    >>> print(modular_sums(1, terms=3, seed=0).text(0))
    clean:   0 0 4 = -> 4, not 5
    corrupt: 0 0 5 =
    """
    if n < 1 or terms not in (2, 3) or modulus < 3:
        raise InvalidArgument(
            f"n must be 1 or more, terms 2 or 3 and modulus 3 or more, not {n}, {terms}, {modulus}"
        )
    draw = spawn_torch(seed, "modular_sums")
    clean = torch.randint(modulus, (n, terms), generator=draw)
    where = torch.randint(terms, (n, 1), generator=draw)
    shift = torch.randint(1, modulus, (n, 1), generator=draw)
    corrupt = clean.scatter(1, where, (clean.gather(1, where) + shift) % modulus)

    def prompts(numbers: torch.Tensor) -> torch.Tensor:
        missing = torch.full((n, 3 - terms), modulus)
        return torch.cat([numbers, missing, torch.full((n, 1), modulus + 1)], 1)

    return PromptPairs(
        clean=prompts(clean),
        corrupt=prompts(corrupt),
        right=clean.sum(1) % modulus,
        wrong=corrupt.sum(1) % modulus,
        words=(*map(str, range(modulus)), ".", "="),
        name=f"sums of {terms} modulo {modulus}",
    )
