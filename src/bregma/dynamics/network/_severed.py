"""Synapses that are cut or scaled: between which units, and by how much."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bregma.dynamics.network._hold import chosen_units


@dataclass(frozen=True, eq=False)
class Severed:
    """Synapses from some units to some units, cut, or with a parameter that is scaled.

    Parameters
    ----------
    pre, post : array of int, optional
        Units on both sides; all by default.
    name : str
        The parameter or variable that is multiplied at the beginning; "" where they are cut.
    factor : float
        By how much.
    """

    pre: Any = None
    post: Any = None
    name: str = ""
    factor: float = 0.0

    def among(self, sources: np.ndarray, targets: np.ndarray, sizes: tuple[int, int]) -> np.ndarray:
        """Which synapses it means."""
        found = np.ones(len(targets), bool)
        for units, ends, size in ((self.pre, sources, sizes[0]), (self.post, targets, sizes[1])):
            chosen = np.zeros(size, bool)
            chosen[chosen_units(units, size, "the projection")] = True
            found &= chosen[ends]
        return found
