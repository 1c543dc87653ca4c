"""Lines from distances to dissimilarities, with a slope of 0 or more, and pairs held out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Float

from bregma.run import spawn

Pairs = Float[np.ndarray, " pair"]
Weights = Float[np.ndarray, "draw pair"]


def errors(
    distance: Float[np.ndarray, "reference pair"], y: Pairs, weight: Weights
) -> Float[np.ndarray, "reference draw"]:
    """Weighted squared error of the best line with a slope of 0 or more."""
    slope, level = _lines(distance, y, weight)
    # Of the best line, and of a level one where the slope would be negative.
    return weight @ y**2 - level * (weight @ y) - slope * ((distance * y) @ weight.T)


def _lines(
    distance: Float[np.ndarray, "reference pair"], y: Pairs, weight: Weights
) -> tuple[Any, Any]:
    """Slope and level of the best line, each (reference, draw)."""
    w = weight.sum(1)
    total = distance @ weight.T
    variance = distance**2 @ weight.T - total**2 / w
    covariance = (distance * y) @ weight.T - total * (weight @ y) / w
    slope = np.maximum(covariance, 0) / np.maximum(variance, 1e-12 * (1 + distance.max() ** 2))
    return slope, (weight @ y - slope * total) / w


def held_out(
    distance: Float[np.ndarray, "reference pair"], y: Pairs, parts: list[tuple[Any, Any]]
) -> tuple[float, Float[np.ndarray, " reference"]]:
    """R2 with the reference chosen among the pairs to learn from, and R2 of each one."""
    chosen, each, baseline = 0.0, np.zeros(len(distance)), 0.0
    for train, test in parts:
        weight = train[None].astype(float)
        slope, level = _lines(distance, y, weight)
        left = ((y[test] - level - slope * distance[:, test]) ** 2).sum(1)
        chosen += left[errors(distance, y, weight)[:, 0].argmin()]
        each += left
        baseline += ((y[test] - y[train].mean()) ** 2).sum()
    return float(1 - chosen / baseline), 1 - each / baseline


def splits(n: int, folds: int, seed: int) -> Iterator[tuple[Any, Any]]:
    """Pairs to learn from and to be tested on."""
    fold = np.empty(n, dtype=int)
    fold[spawn(seed, "magnitude", "folds").permutation(n)] = np.arange(n) % folds
    i, j = np.triu_indices(n, 1)
    for f in range(folds):
        out = (fold[i] == f) | (fold[j] == f)
        yield ~out, out
