"""A high quantile of a long stream of numbers, kept in little memory."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

from bregma.run import spawn


class UpperQuantile:
    """Quantile of each unit over all stimuli and places, of which only the tail is kept.

    It equals ``np.quantile`` over everything where there are no more than `most` numbers of a
    unit, and over that many drawn at random (the same for each batch size) where there are more.

    Parameters
    ----------
    n_stimuli, n_places : int
        How many numbers of a unit there will be.
    level : float
        Between 0 and 1.
    most : int
        Numbers of a unit that are looked at.
    seed : int
        Draws which ones.
    """

    def __init__(self, n_stimuli: int, n_places: int, level: float, *, most: int, seed: int):
        total = n_stimuli * n_places
        self.n_places, self.chosen = n_places, None
        if total > most:
            rng = spawn(seed, "quantile", total)
            self.chosen = np.sort(rng.choice(total, most, replace=False, shuffle=False))
        n = min(total, most)
        self.at = (n - 1) * level
        self.length = n - math.floor(self.at)
        self.tail: np.ndarray | None = None

    def add(self, start: int, values: Float[np.ndarray, "stimulus unit place"]) -> None:
        """Take in a batch; `start` is the number of its first stimulus."""
        flat = values.transpose(1, 0, 2).reshape(values.shape[1], -1)
        if self.chosen is not None:
            first = start * self.n_places
            ends = np.searchsorted(self.chosen, [first, first + flat.shape[1]])
            flat = flat[:, self.chosen[slice(*ends)] - first]
        both = flat if self.tail is None else np.concatenate([self.tail, flat], axis=1)
        if both.shape[1] > self.length:
            both = np.partition(both, -self.length, axis=1)[:, -self.length :]
        self.tail = both.copy() if both is flat else both

    @property
    def value(self) -> Float[np.ndarray, " unit"]:
        """The quantile of each unit."""
        assert self.tail is not None
        tail = np.sort(self.tail, axis=1).astype(np.float64)
        share = self.at - math.floor(self.at)
        above = tail[:, min(1, self.length - 1)]
        return tail[:, 0] + share * (above - tail[:, 0])
