"""Signals made of a few atoms of a known dictionary."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from bregma.errors import InvalidArgument
from bregma.run import spawn_torch


@dataclass(frozen=True)
class PlantedCodes:
    """Signals, and the sparse codes they were made of.

    Parameters
    ----------
    signals : Tensor (signal, pixel)
        Sums of atoms, with noise.
    dictionary : Tensor (pixel, atom)
        Atoms of length 1.
    codes : Tensor (signal, atom)
        The truth.
    noise : float
        Standard deviation of the noise of a pixel: the error of the true codes.
    """

    signals: Float[Tensor, "signal pixel"]
    dictionary: Float[Tensor, "pixel atom"]
    codes: Float[Tensor, "signal atom"]
    noise: float

    def f1(self, codes: Float[Tensor, "signal atom"]) -> float:
        """How well the active atoms were found.

        Parameters
        ----------
        codes : Tensor (signal, atom)
            Codes whose non-zero entries are the answer.

        Returns
        -------
        float
            Harmonic mean of precision and recall over all signals.
        """
        found, true = codes != 0, self.codes != 0
        return float(2 * (found & true).sum() / (found.sum() + true.sum()))


def planted_codes(
    n: int,
    *,
    pixels: int = 64,
    atoms: int = 128,
    active: int = 5,
    noise: float = 0.05,
    signed: bool = True,
    seed: int,
) -> PlantedCodes:
    """Signals of a few atoms each, with amplitudes of 1 to 2 and random signs.

    Parameters
    ----------
    n : int
        How many signals.
    pixels, atoms : int
        Size of the dictionary; its atoms are random directions.
    active : int
        Atoms in every signal.
    noise : float
        Standard deviation of the noise of a pixel.
    signed : bool
        False makes all amplitudes positive, as codes of a ReLU are.
    seed : int
        Draws everything.

    Returns
    -------
    PlantedCodes
        Signals with their truth.

    Raises
    ------
    InvalidArgument
        If a number is out of range.

    Examples
    --------
    >>> data = planted_codes(10, seed=0)
    >>> data.signals.shape, data.f1(data.codes)
    (torch.Size([10, 64]), 1.0)
    """
    if min(n, pixels) < 1 or not 1 <= active <= atoms or not noise >= 0:
        raise InvalidArgument(
            f"n and pixels must be 1 or more, active 1 to {atoms}, noise 0 or more"
        )
    generator = spawn_torch(seed, "planted codes")
    dictionary = torch.randn(pixels, atoms, generator=generator)
    dictionary /= dictionary.norm(dim=0)
    order = torch.rand(n, atoms, generator=generator).argsort(1)[:, :active]
    size = 1 + torch.rand(n, active, generator=generator)
    sign = torch.randint(0, 2, (n, active), generator=generator) * 2.0 - 1
    size = size * sign if signed else size
    codes = torch.zeros(n, atoms).scatter_(1, order, size)
    errors = noise * torch.randn(n, pixels, generator=generator)
    return PlantedCodes(codes @ dictionary.T + errors, dictionary, codes, noise)
