"""Features of features: patterns of neurons factored again, level by level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from bregma.errors import InvalidArgument
from bregma.mechanism.dictionaries._arrays import finite_array
from bregma.mechanism.dictionaries._semi_nmf import SemiNMF
from bregma.run import derive


@dataclass(frozen=True)
class FeatureHierarchy:
    """Features at several levels, the finest first.

    Parameters
    ----------
    levels : tuple of array (feature, unit)
        Patterns of each level.
    amounts : tuple of array (child, parent)
        How much of each parent is in each feature of the level below: 0 or more.
    """

    levels: tuple[Float[np.ndarray, "_ unit"], ...]
    amounts: tuple[Float[np.ndarray, "_ _"], ...]

    def parents(self, level: int = 1) -> Int[np.ndarray, " feature"]:
        """To which feature of a level each of the finest belongs.

        Parameters
        ----------
        level : int
            From 1 to the coarsest.

        Returns
        -------
        array (feature,)
            The parent, of the parent, ... of which most is in it; -1 for none.

        Raises
        ------
        InvalidArgument
            If there is no such level.
        """
        if not 1 <= level <= len(self.amounts):
            raise InvalidArgument(f"level={level} must be from 1 to {len(self.amounts)}")
        found = np.arange(len(self.levels[0]))
        for amounts in self.amounts[:level]:
            above = np.where(amounts.max(1) > 0, amounts.argmax(1), -1)
            found = np.where(found < 0, -1, above[found])
        return found


def feature_hierarchy(
    patterns: Any, sizes: Sequence[int], *, kept: float = 1.0, seed: int
) -> FeatureHierarchy:
    """Factor patterns again and again, each time into fewer: what features have in common.

    The patterns of a level, Z (feature, unit), are the samples of the next: Z ~ Y Z' with Y of 0
    or more and fewer patterns Z'.

    Parameters
    ----------
    patterns : array or Tensor (feature, unit)
        The finest features, such as ``SemiNMF.components_``.
    sizes : sequence of int
        How many features each further level has, such as ``[200, 100, 50]``.
    kept : float
        Share of a pattern's entries that stay at the further levels, as in `SemiNMF`.
    seed : int
        Draws the starts.

    Returns
    -------
    FeatureHierarchy
        All levels and how they are joined.

    Raises
    ------
    InvalidArgument
        If sizes do not fall, or patterns are not finite.

    References
    ----------
    Shafran, Geiger and Geva (2025), Decomposing MLP activations into interpretable features via
    semi-nonnegative matrix factorization.

    Examples
    --------
    >>> rows = np.repeat(np.eye(4)[:2], 3, axis=0) + 0.1 * np.eye(4)[[2, 3, 2, 3, 2, 3]]
    >>> parents = feature_hierarchy(rows, [2], seed=0).parents()
    >>> len(set(parents[:3])), len(set(parents[3:])), bool(parents[0] != parents[3])
    (1, 1, True)
    """
    levels = [finite_array(patterns, "patterns")]
    counts = [len(levels[0]), *sizes]
    if not sizes or min(counts) < 1 or any(b >= a for a, b in pairwise(counts)):
        raise InvalidArgument(f"each level needs fewer features than the one before, not {counts}")
    amounts = []
    for number, size in enumerate(sizes):
        model = SemiNMF(size, kept=kept, seed=derive(seed, "hierarchy", number)).fit(levels[-1])
        amounts.append(model.transform(levels[-1]))
        levels.append(model.components_)
    return FeatureHierarchy(tuple(levels), tuple(amounts))


def shared_core(
    patterns: Float[np.ndarray, "feature unit"], *, share: float = 1.0
) -> Bool[np.ndarray, " unit"]:
    """Neurons that are in most patterns of a group, with the same sign.

    Parameters
    ----------
    patterns : array (feature, unit)
        Patterns of the group in which only winners are not 0 (``SemiNMF(kept=...)``).
    share : float
        Of the patterns that a neuron has to be in, above 0.5.

    Returns
    -------
    array (unit,)
        True for the core.

    Raises
    ------
    InvalidArgument
        If there are no patterns or `share` is out of range.

    Examples
    --------
    >>> shared_core(np.array([[1.0, 2.0, 0.0], [0.5, -1.0, 1.0]])).tolist()
    [True, False, False]
    """
    if patterns.ndim != 2 or not len(patterns) or not 0.5 < share <= 1:
        raise InvalidArgument(
            f"share={share} must be above 0.5 and 1 at most, patterns (feature, unit) and not empty"
        )
    sign = np.sign(patterns)
    return np.maximum((sign > 0).mean(0), (sign < 0).mean(0)) >= share
