"""Noise covariance of units from repeats, shrunk, and its inverse."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Float, Integer, Num
from scipy.linalg import lapack

from bregma.errors import InvalidArgument, NotIdentifiable
from bregma.recording import Recording

NoiseMethod = Literal["ledoit_wolf", "shrinkage_diagonal", "diagonal", "full"]


def as_floating(values: Num[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Single and double precision stay as they are; everything else becomes double."""
    return values if values.dtype in (np.float32, np.float64) else values.astype(float)


def stimulus_means(
    values: Num[np.ndarray, "*time presentation unit"],
    stimulus: Integer[np.ndarray, " presentation"],
) -> Float[np.ndarray, "*time stimulus unit"]:
    """Mean over the presentations of each stimulus; stimuli are numbered from 0."""
    values = as_floating(values)
    if np.array_equal(stimulus, np.arange(len(stimulus))):
        return values
    order = np.argsort(stimulus, kind="stable")
    counts = np.bincount(stimulus)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    sums = np.add.reduceat(values[..., order, :], starts, axis=-2)
    return sums / counts[:, None].astype(values.dtype)


def repeat_residuals(
    values: Num[np.ndarray, "presentation unit"],
    stimulus: Integer[np.ndarray, " presentation"],
) -> tuple[Float[np.ndarray, "presentation unit"], int]:
    """Presentations minus the mean of their stimulus, and their degrees of freedom.

    Every stimulus costs one degree of freedom for its mean: with S stimuli of R repeats there are
    S * (R - 1) of them, not (S - 1) * R.
    """
    values = as_floating(values)
    means = stimulus_means(values, stimulus)
    return values - means[stimulus], len(stimulus) - len(means)


def residual_covariance(
    residuals: Num[np.ndarray, "residual unit"],
    *,
    method: NoiseMethod = "ledoit_wolf",
    dof: int | None = None,
) -> Float[np.ndarray, "unit unit"]:
    """Covariance of units over residuals, shrunk towards something well conditioned.

    Memory is that of one (unit, unit) matrix: the fourth moments that set the amount of
    shrinkage are sums over rows.

    Parameters
    ----------
    residuals : array of shape (residual, unit)
        What is left after the signal was taken out; column means are taken out, too.
    method : {"ledoit_wolf", "shrinkage_diagonal", "diagonal", "full"}
        Shrunk to a multiple of the identity (Ledoit and Wolf) or to the diagonal (Schäfer and
        Strimmer), only the variances, or the sample covariance as it is.
    dof : int, optional
        Degrees of freedom of the residuals, where they are fewer than rows - 1: the covariance is
        scaled by them, and the amount of shrinkage is that of dof + 1 independent rows.

    Returns
    -------
    array of shape (unit, unit)
        The covariance.

    Raises
    ------
    InvalidArgument
        Unknown method, or units that never vary where their variance is divided by.
    NotIdentifiable
        No degrees of freedom.

    References
    ----------
    Ledoit and Wolf (2004), A well-conditioned estimator for large-dimensional covariance matrices.
    Schäfer and Strimmer (2005), A shrinkage approach to large-scale covariance matrix estimation.
    """
    if method not in get_args(NoiseMethod):
        raise InvalidArgument(f"method={method!r} is not one of {get_args(NoiseMethod)}")
    x = as_floating(residuals)
    x = x - x.mean(axis=0)
    rows = len(x)
    dof = rows - 1 if dof is None else dof
    if dof < 1:
        raise NotIdentifiable(
            f"{rows} residuals with {dof} degrees of freedom say nothing about the noise: "
            "every stimulus needs at least two presentations, or give the noise yourself"
        )
    if method in ("diagonal", "shrinkage_diagonal"):
        variance = np.einsum("ru,ru->u", x, x) / dof
        if dead := np.flatnonzero(variance == 0).tolist():
            raise InvalidArgument(
                f"{len(dead)} units never vary between repeats (first: number {dead[0]}), so their "
                "noise cannot be divided by; leave them out or use method='ledoit_wolf'"
            )
    if method == "diagonal":
        return np.diag(variance)
    covariance = x.T @ x  # one SYRK
    if method == "full":
        covariance /= dof
    elif method == "ledoit_wolf":
        _shrink_to_identity(covariance, x, dof)
    else:
        _shrink_to_diagonal(covariance, x, dof, variance)
    return covariance


def _shrink_to_identity(scatter: Any, x: Any, dof: int) -> None:
    """In place: scatter of the rows of x -> Ledoit-Wolf covariance."""
    rows, units = x.shape
    scatter /= rows
    squared = float(np.vdot(scatter, scatter))
    mean_variance = float(np.trace(scatter)) / units
    spread = squared - units * mean_variance**2  # |S - m I|^2
    fourth = float(np.mean(np.einsum("ru,ru->r", x, x, dtype=float) ** 2))  # mean |x x'|^2
    noise = max((fourth - squared) / (dof + 1), 0.0)
    weight = 1.0 if spread <= 0 else min(noise / spread, 1.0)
    scatter *= (1 - weight) * rows / dof
    scatter[np.diag_indices(units)] += weight * mean_variance * rows / dof


def _shrink_to_diagonal(scatter: Any, x: Any, dof: int, variance: Any) -> None:
    """In place: scatter of the rows of x -> covariance whose correlations are shrunk to 0."""
    rows, units = x.shape
    scatter /= dof
    inverse = 1 / variance
    correlations = float(inverse @ (scatter * scatter) @ inverse) - units  # squared, off-diagonal
    square = x * x
    power = square @ inverse
    np.multiply(square, square, out=square)
    # sum over rows of the squared products of two different standardised units
    products = float(power @ power - (square @ inverse**2).sum())
    products *= rows / (dof + 1) / dof
    noise = (dof + 1) / dof**2 * (products - correlations)
    weight = min(max(noise / correlations, 0.0), 1.0) if correlations > 0 else 0.0
    diagonal = np.diag(scatter).copy()
    scatter *= 1 - weight
    scatter[np.diag_indices(units)] = diagonal


def precision_matrix(
    covariance: Float[np.ndarray, "unit unit"],
) -> Float[np.ndarray, "unit unit"]:
    """Inverse of a covariance by its Cholesky factor.

    Parameters
    ----------
    covariance : array of shape (unit, unit)
        Symmetric and positive definite.

    Returns
    -------
    array of shape (unit, unit)
        The inverse, exactly symmetric.

    Raises
    ------
    NotIdentifiable
        The covariance is singular.
    """
    potrf, potri = lapack.get_lapack_funcs(("potrf", "potri"), (covariance,))
    factor, failed = potrf(covariance.T, lower=True, clean=True)  # .T: the order LAPACK reads
    diagonal = np.diag(factor)
    tiny = np.finfo(covariance.dtype).eps * len(covariance)
    if failed or (diagonal.min() / diagonal.max()) ** 2 < tiny:
        raise NotIdentifiable(
            f"the noise covariance of {len(covariance)} units is singular: too few residuals for "
            "so many units, or units that copy each other; use method='ledoit_wolf'"
        )
    inverse, _ = potri(factor, lower=True, overwrite_c=True)
    inverse[np.diag_indices(len(inverse))] /= 2  # the other triangle is zero
    return inverse + inverse.T


def noise_covariance(
    recording: Recording, *, method: NoiseMethod = "ledoit_wolf"
) -> Float[np.ndarray, "unit unit"]:
    """Noise covariance of units: how presentations vary around the mean of their stimulus.

    Degrees of freedom are presentations - stimuli, so that the planted variance comes back with
    two repeats as with twenty, equal numbers of repeats or not.

    Parameters
    ----------
    recording : Recording
        Without time, with repeats.
    method : {"ledoit_wolf", "shrinkage_diagonal", "diagonal", "full"}
        As in `residual_covariance`.

    Returns
    -------
    array of shape (unit, unit)
        The covariance of one presentation.

    Raises
    ------
    InvalidArgument
        The recording has time.
    NotIdentifiable
        No stimulus was shown twice.

    Examples
    --------
    >>> import numpy as np
    >>> from bregma import Recording
    >>> noise = np.random.default_rng(0).standard_normal((400, 3))
    >>> shown = {"stimulus": np.arange(400) // 2}
    >>> np.diag(noise_covariance(Recording.from_array(noise, presentation=shown))).round(1)
    array([1., 1., 1.])
    """
    if recording.has_time:
        raise InvalidArgument("noise over time: take .mean_time(...) or .select(time=...) first")
    stimulus = np.unique(recording.stimuli, return_inverse=True)[1]
    residuals, dof = repeat_residuals(recording.values, stimulus)
    return residual_covariance(residuals, method=method, dof=dof)


def noise_precision(
    recording: Recording, *, method: NoiseMethod = "ledoit_wolf"
) -> Float[np.ndarray, "unit unit"]:
    """Inverse of `noise_covariance`, as Mahalanobis and crossnobis distances take it.

    Parameters
    ----------
    recording : Recording
        Without time, with repeats.
    method : {"ledoit_wolf", "shrinkage_diagonal", "diagonal", "full"}
        As in `residual_covariance`.

    Returns
    -------
    array of shape (unit, unit)
        The precision.

    Raises
    ------
    NotIdentifiable
        No stimulus was shown twice, or too few repeats for the ``"full"`` covariance.
    """
    return precision_matrix(noise_covariance(recording, method=method))
