"""Crossnobis: squared Mahalanobis distance, cross-validated over folds so that noise adds nothing.

For stimuli i and j, with x_i^k the mean of stimulus i in fold k and N the noise precision::

    d_ij = mean over folds k != l that showed both of (x_i^k - x_j^k)' N (x_i^l - x_j^l) / units

With every stimulus in every fold this is leave-one-fold-out, and needs no pairs of folds: with S
the sum over folds, the sum over k != l of x^k N x^l' is S N S' - sum_k x^k N x^k'.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Integer, Num

from bregma.errors import InvalidArgument, NotIdentifiable

from ._noise import (
    NoiseMethod,
    as_floating,
    precision_matrix,
    repeat_residuals,
    residual_covariance,
    stimulus_means,
)
from ._pairs import pairs_of_gram

Precision = Num[np.ndarray, "row column"]  # (unit, unit): checked where it is used


def crossnobis_distance(
    values: Num[np.ndarray, "*time presentation unit"],
    stimulus: Integer[np.ndarray, " presentation"],
    fold: Integer[np.ndarray, " presentation"],
    noise: Precision | Sequence[Precision] | NoiseMethod | None = None,
) -> Float[np.ndarray, "*time pair"]:
    """Crossnobis distance of each pair of stimuli, divided by the number of units.

    Parameters
    ----------
    values : array of shape (presentation, unit) or (time, presentation, unit)
        Responses.
    stimulus : array of int, shape (presentation,)
        Which stimulus was shown, numbered from 0 without gaps.
    fold : array of int, shape (presentation,)
        Which presentations belong together (run, session, repeat), numbered from 0 without gaps.
        The noise of different folds must be independent. A pair of stimuli uses the folds that
        showed both; within a fold presentations are averaged.
    noise : array, sequence of arrays, str or None
        Noise precision (inverse covariance) of the units, one for all folds, or one for each fold
        (two folds then use the inverse of their mean covariance). None: the identity. The name of
        an estimator (see `residual_covariance`): the precision of each fold is estimated from the
        repeats in the *other* folds, because one that had seen the fold would bring back a bias.

    Returns
    -------
    array of shape (pair,) or (time, pair)
        Distances; negative ones are right, where the true distance is small.

    Raises
    ------
    NotIdentifiable
        Fewer than two folds, a pair that no two folds share, no repeats to estimate noise from.
    InvalidArgument
        A precision that does not fit.

    References
    ----------
    Walther et al. (2016), Reliability of dissimilarity measures for multi-voxel pattern analysis.
    """
    values = as_floating(values)
    units, folds = values.shape[-1], int(fold.max()) + 1
    if folds < 2:
        raise NotIdentifiable(
            "crossnobis needs at least two folds of independent noise; there is one. "
            "Use a coordinate with several values as fold, or a distance without cross-validation"
        )
    if isinstance(noise, str):
        if values.ndim == 2:
            return _estimated(values, stimulus, fold, noise)
        return np.stack([_estimated(part, stimulus, fold, noise) for part in values])
    means, shown = fold_means(values, stimulus, fold)
    _check_shared(shown)
    if noise is None or isinstance(noise, np.ndarray):
        if noise is not None:
            whitener = whitening(noise, units).astype(values.dtype)
            means = [part @ whitener for part in means]
        if shown.all():
            return _every_stimulus_in_every_fold(means) / units
        pairs = ((means[k], means[m], k, m) for k in range(folds) for m in range(k))
        return _masked_mean(pairs, shown) / units
    if len(noise) != folds:
        raise InvalidArgument(f"{len(noise)} noise precisions for {folds} folds")
    covariances = [precision_matrix(_checked(part, units)) for part in noise]
    pairs = (
        (means[k] @ precision_matrix((covariances[k] + covariances[m]) / 2), means[m], k, m)
        for k in range(folds)
        for m in range(k)
    )
    return _masked_mean(pairs, shown) / units


def fold_means(
    values: Float[np.ndarray, "*time presentation unit"],
    stimulus: Integer[np.ndarray, " presentation"],
    fold: Integer[np.ndarray, " presentation"],
) -> tuple[list[Float[np.ndarray, "*time stimulus unit"]], Bool[np.ndarray, "fold stimulus"]]:
    """For each fold the mean of each stimulus, 0 where it was not shown; and where it was shown."""
    folds, stimuli = int(fold.max()) + 1, int(stimulus.max()) + 1
    means, shown = [], np.zeros((folds, stimuli), bool)
    for k in range(folds):
        rows = np.flatnonzero(fold == k)
        present, rank = np.unique(stimulus[rows], return_inverse=True)
        shown[k, present] = True
        if len(rows) == stimuli == len(present):  # each once: reordering is enough
            means.append(values[..., _as_slice(rows[np.argsort(rank)]), :])
        else:
            part = np.zeros((*values.shape[:-2], stimuli, values.shape[-1]), values.dtype)
            part[..., present, :] = stimulus_means(values[..., rows, :], rank)
            means.append(part)
    return means, shown


def _as_slice(rows: Integer[np.ndarray, " row"]) -> slice | Integer[np.ndarray, " row"]:
    """Evenly spaced rows as a slice, which needs no copy."""
    step = int(rows[1] - rows[0]) if len(rows) > 1 else 1
    if step < 1 or (np.diff(rows) != step).any():
        return rows
    return slice(int(rows[0]), int(rows[-1]) + 1, step)


def _every_stimulus_in_every_fold(
    means: list[Float[np.ndarray, "*time stimulus unit"]],
) -> Float[np.ndarray, "*time pair"]:
    total = np.zeros(means[0].shape, means[0].dtype)
    within = np.zeros((*means[0].shape[:-1], means[0].shape[-2]), means[0].dtype)
    for part in means:
        total += part
        within += part @ part.swapaxes(-1, -2)  # NumPy sees X @ X.T and does half the work
    between = total @ total.swapaxes(-1, -2) - within
    between /= len(means) * (len(means) - 1)
    return pairs_of_gram(between)


def _masked_mean(
    pairs: Iterable[tuple[np.ndarray, np.ndarray, int, int]],
    shown: Bool[np.ndarray, "fold stimulus"],
) -> Float[np.ndarray, "*time pair"]:
    """Mean over pairs of folds (left, right, their numbers) that showed both stimuli."""
    total: Any = 0.0
    count: Any = 0
    i, j = np.triu_indices(shown.shape[1], 1)
    for left, right, k, m in pairs:
        both = shown[k] & shown[m]
        use = both[i] & both[j]
        gram = left @ right.swapaxes(-1, -2)
        gram = (gram + gram.swapaxes(-1, -2)) / 2
        total = total + pairs_of_gram(gram) * use
        count = count + use
    return total / count


def _estimated(
    values: Float[np.ndarray, "presentation unit"],
    stimulus: Integer[np.ndarray, " presentation"],
    fold: Integer[np.ndarray, " presentation"],
    method: NoiseMethod,
) -> Float[np.ndarray, " pair"]:
    """Leave one fold out, noise included."""
    means, shown = fold_means(values, stimulus, fold)
    _check_shared(shown)
    folds = len(means)
    total = sum(means[1:], start=means[0])

    def pairs() -> Iterator[tuple[np.ndarray, np.ndarray, int, int]]:
        for k in range(folds):
            others = fold != k
            rank = np.unique(stimulus[others], return_inverse=True)[1]
            residuals, dof = repeat_residuals(values[others], rank)
            if dof < 1:
                raise NotIdentifiable(
                    f"the noise outside fold {k} cannot be estimated: no stimulus was shown twice "
                    "there. Use more repeats, noise=None, or a precision from other data "
                    "(noise_precision(recording) of the same repeats biases crossnobis upwards)"
                )
            covariance = residual_covariance(residuals, method=method, dof=dof)
            left = means[k] @ precision_matrix(covariance)
            if shown.all():
                yield left, (total - means[k]) / (folds - 1), k, k
            else:
                yield from ((left, means[m], k, m) for m in range(folds) if m != k)

    return _masked_mean(pairs(), shown) / values.shape[-1]


def whitening(precision: Precision, units: int) -> Precision:
    """Lower factor L with L L' = precision, so that x L has white noise."""
    precision = _checked(precision, units)
    try:
        return np.linalg.cholesky(precision)
    except np.linalg.LinAlgError:
        raise InvalidArgument(
            "the noise precision is not positive definite; noise_precision(...) gives one that is"
        ) from None


def _checked(precision: Precision, units: int) -> Precision:
    if precision.shape != (units, units):
        raise InvalidArgument(
            f"the noise precision has the shape {precision.shape}, but there are {units} units; "
            "a given matrix fits one set of units only, an estimator such as 'ledoit_wolf' any"
        )
    if np.abs(precision - precision.T).max() > 1e-6 * np.abs(precision).max():
        raise InvalidArgument("the noise precision is not symmetric")
    return as_floating(precision)


def _check_shared(shown: Bool[np.ndarray, "fold stimulus"]) -> None:
    together = shown.T.astype(int) @ shown
    together[np.diag_indices(len(together))] = 2
    if (together < 2).any():
        i, j = np.argwhere(together < 2)[0]
        raise NotIdentifiable(
            f"{int((together < 2).sum()) // 2} pairs of stimuli were shown together in fewer than "
            f"two folds (first: stimuli number {i} and {j}); show them in more folds, or leave "
            "stimuli out"
        )
