"""Distances between response patterns: pure functions below, one small object for each above."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Integer, Num

from bregma.errors import InvalidArgument

from ._crossnobis import Precision, crossnobis_distance, whitening
from ._noise import (
    NoiseMethod,
    as_floating,
    precision_matrix,
    repeat_residuals,
    residual_covariance,
    stimulus_means,
)
from ._pairs import pairs_of_gram

# Functions of patterns, (stimulus, unit) or (time, stimulus, unit) -> (pair,) or (time, pair), with
# pairs in the order of numpy.triu_indices(n, 1). Single precision stays single.


def euclidean_distance(
    patterns: Num[np.ndarray, "*time stimulus unit"],
) -> Float[np.ndarray, "*time pair"]:
    """Squared Euclidean distance, divided by the number of units.

    Parameters
    ----------
    patterns : array of shape (stimulus, unit) or (time, stimulus, unit)
        Responses.

    Returns
    -------
    array of shape (pair,) or (time, pair)
        Mean squared difference between patterns.
    """
    x = as_floating(patterns)
    # The mean pattern drops out of every difference; taken out first, it costs no digits.
    x = x - x.mean(axis=-2, keepdims=True)
    distances = pairs_of_gram(x @ x.swapaxes(-1, -2), x.shape[-1])
    return np.maximum(distances, 0, out=distances)  # rounding only


def cosine_distance(
    patterns: Num[np.ndarray, "*time stimulus unit"],
) -> Float[np.ndarray, "*time pair"]:
    """One minus the cosine between patterns.

    Parameters
    ----------
    patterns : array of shape (stimulus, unit) or (time, stimulus, unit)
        Responses.

    Returns
    -------
    array of shape (pair,) or (time, pair)
        Distances between 0 and 2.

    Raises
    ------
    InvalidArgument
        A pattern that is zero everywhere has no direction.
    """
    return _one_minus_cosine(as_floating(patterns).copy(), "is zero in every unit")


def correlation_distance(
    patterns: Num[np.ndarray, "*time stimulus unit"],
) -> Float[np.ndarray, "*time pair"]:
    """One minus Pearson's correlation between patterns over units.

    Parameters
    ----------
    patterns : array of shape (stimulus, unit) or (time, stimulus, unit)
        Responses.

    Returns
    -------
    array of shape (pair,) or (time, pair)
        Distances between 0 and 2.

    Raises
    ------
    InvalidArgument
        A pattern that is the same in every unit has no correlation.
    """
    x = as_floating(patterns)
    mean = x.mean(axis=-1, keepdims=True)
    return _one_minus_cosine(x - mean, "is the same in every unit", mean[..., 0])


def _one_minus_cosine(x: Any, what: str, offset: Any = 0.0) -> Any:
    """Of rows that had an offset (overwritten); a constant row's rounding is no direction."""
    norms = np.sqrt(np.einsum("...u,...u->...", x, x))
    rounding = 8 * np.finfo(x.dtype).eps * np.sqrt(x.shape[-1]) * np.abs(offset)
    if (norms <= rounding).any():
        flat = norms <= rounding
        *time, stimulus = np.argwhere(flat)[0].tolist()
        at = f" at time number {time[0]}" if time else ""
        raise InvalidArgument(
            f"{int(flat.sum())} patterns have no direction (first: stimulus number {stimulus}{at} "
            f"{what}); leave those stimuli or times out, average over a longer window, or use "
            "EuclideanDistance()"
        )
    x *= (1 / norms)[..., None]
    distances = pairs_of_gram(x @ x.swapaxes(-1, -2), 2)  # |x - y|^2 / 2 of unit vectors
    return np.clip(distances, 0, 2, out=distances)  # rounding only


def mahalanobis_distance(
    patterns: Num[np.ndarray, "*time stimulus unit"], precision: Precision
) -> Float[np.ndarray, "*time pair"]:
    """Squared Mahalanobis distance, divided by the number of units.

    Parameters
    ----------
    patterns : array of shape (stimulus, unit) or (time, stimulus, unit)
        Responses.
    precision : array of shape (unit, unit)
        Inverse noise covariance, such as `noise_precision` gives.

    Returns
    -------
    array of shape (pair,) or (time, pair)
        Distances.

    Raises
    ------
    InvalidArgument
        The precision does not fit or is not positive definite.
    """
    x = as_floating(patterns)
    return euclidean_distance(x @ whitening(precision, x.shape[-1]).astype(x.dtype))


def poisson_kl_distance(
    rates: Num[np.ndarray, "*time stimulus unit"],
    *,
    prior_rate: float = 1.0,
    prior_weight: float = 0.1,
) -> Float[np.ndarray, "*time pair"]:
    """Symmetrised Kullback-Leibler divergence of Poisson rates, divided by the number of units.

    Parameters
    ----------
    rates : array of shape (stimulus, unit) or (time, stimulus, unit)
        Mean counts.
    prior_rate, prior_weight : float
        Rates are pulled towards `prior_rate` as by `prior_weight` observations, so that silent
        units have a logarithm.

    Returns
    -------
    array of shape (pair,) or (time, pair)
        Distances.

    Raises
    ------
    InvalidArgument
        Negative rates, or a prior that is not positive.
    """
    x = as_floating(rates)
    if prior_rate <= 0 or prior_weight <= 0:
        raise InvalidArgument(
            f"the prior must be positive, not {prior_rate} with weight {prior_weight}"
        )
    if (x < 0).any():
        raise InvalidArgument("Poisson rates cannot be negative: use counts, not z-scores")
    x = (x + prior_rate * prior_weight) / (1 + prior_weight)
    gram = x @ np.log(x).swapaxes(-1, -2)
    distances = pairs_of_gram((gram + gram.swapaxes(-1, -2)) / 2, x.shape[-1])
    return np.maximum(distances, 0, out=distances)  # rounding only


@runtime_checkable
class Distance(Protocol):
    """What every distance offers: its name, its sources, and distances of presentations."""

    @property
    def name(self) -> str:
        """Name of the measure, kept by the Dissimilarity."""

    @property
    def citations(self) -> tuple[str, ...]:
        """Keys of its sources."""

    @property
    def fold(self) -> str | None:
        """Presentation coordinate to cross-validate over, where the distance does."""

    @property
    def uses_repeats(self) -> bool:
        """Whether it needs single presentations, and not only their means."""

    def pairs(
        self,
        values: Num[np.ndarray, "*time presentation unit"],
        stimulus: Integer[np.ndarray, " presentation"],
        fold: Integer[np.ndarray, " presentation"] | None = None,
    ) -> Float[np.ndarray, "*time pair"]:
        """Distances of each pair of stimuli.

        Parameters
        ----------
        values : array of shape (..., presentation, unit)
            Responses.
        stimulus, fold : array of int, shape (presentation,)
            Stimulus and fold of each presentation, numbered from 0 without gaps.

        Returns
        -------
        array of shape (..., pair)
            Distances, in the order of ``numpy.triu_indices(n, 1)``.
        """


class _OfMeans(ABC):
    """Distances that need the mean response to each stimulus only."""

    fold: ClassVar[None] = None
    uses_repeats: ClassVar[bool] = False

    def pairs(
        self,
        values: Num[np.ndarray, "*time presentation unit"],
        stimulus: Integer[np.ndarray, " presentation"],
        fold: Integer[np.ndarray, " presentation"] | None = None,
    ) -> Float[np.ndarray, "*time pair"]:
        """Distances of each pair of stimuli, repeats averaged.

        Parameters
        ----------
        values : array of shape (presentation, unit) or (time, presentation, unit)
            Responses.
        stimulus : array of int, shape (presentation,)
            Which stimulus was shown, numbered from 0 without gaps.
        fold : array of int, optional
            Not used.

        Returns
        -------
        array of shape (pair,) or (time, pair)
            Distances.
        """
        return self._of_means(stimulus_means(values, stimulus))

    @abstractmethod
    def _of_means(self, patterns: Any) -> Any: ...


@dataclass(frozen=True)
class EuclideanDistance(_OfMeans):
    """Squared Euclidean distance, divided by the number of units."""

    name: ClassVar[str] = "squared euclidean"
    citations: ClassVar[tuple[str, ...]] = ("kriegeskorte2008rsa",)

    def _of_means(self, patterns: Any) -> Any:
        return euclidean_distance(patterns)


@dataclass(frozen=True)
class CorrelationDistance(_OfMeans):
    """One minus Pearson's correlation between patterns over units."""

    name: ClassVar[str] = "correlation"
    citations: ClassVar[tuple[str, ...]] = ("kriegeskorte2008rsa",)

    def _of_means(self, patterns: Any) -> Any:
        return correlation_distance(patterns)


@dataclass(frozen=True)
class CosineDistance(_OfMeans):
    """One minus the cosine between patterns."""

    name: ClassVar[str] = "cosine"
    citations: ClassVar[tuple[str, ...]] = ("kriegeskorte2008rsa",)

    def _of_means(self, patterns: Any) -> Any:
        return cosine_distance(patterns)


@dataclass(frozen=True)
class PoissonKLDistance(_OfMeans):
    """Symmetrised Kullback-Leibler divergence of Poisson rates, divided by the number of units.

    Parameters
    ----------
    prior_rate, prior_weight : float
        Rates are pulled towards `prior_rate` as by `prior_weight` observations.
    """

    prior_rate: float = 1.0
    prior_weight: float = 0.1
    name: ClassVar[str] = "poisson kl"
    citations: ClassVar[tuple[str, ...]] = ("schutt2023inference",)

    def _of_means(self, patterns: Any) -> Any:
        return poisson_kl_distance(
            patterns, prior_rate=self.prior_rate, prior_weight=self.prior_weight
        )


@dataclass(frozen=True, eq=False)
class MahalanobisDistance:
    """Squared Mahalanobis distance, divided by the number of units.

    Noise makes it larger: use `CrossnobisDistance` where distances must be unbiased.

    Parameters
    ----------
    noise : str or array of shape (unit, unit)
        Estimator of the noise covariance from repeats (see `residual_covariance`), or the noise
        precision (inverse covariance).
    """

    noise: NoiseMethod | Precision = "ledoit_wolf"
    name: ClassVar[str] = "squared mahalanobis"
    citations: ClassVar[tuple[str, ...]] = ("walther2016reliability",)
    fold: ClassVar[None] = None

    @property
    def uses_repeats(self) -> bool:
        """Whether the noise is estimated from repeats."""
        return isinstance(self.noise, str)

    def pairs(
        self,
        values: Num[np.ndarray, "*time presentation unit"],
        stimulus: Integer[np.ndarray, " presentation"],
        fold: Integer[np.ndarray, " presentation"] | None = None,
    ) -> Float[np.ndarray, "*time pair"]:
        """Distances of each pair of stimuli, noise estimated at each time by itself.

        Parameters
        ----------
        values : array of shape (presentation, unit) or (time, presentation, unit)
            Responses.
        stimulus : array of int, shape (presentation,)
            Which stimulus was shown, numbered from 0 without gaps.
        fold : array of int, optional
            Not used.

        Returns
        -------
        array of shape (pair,) or (time, pair)
            Distances.
        """
        if not isinstance(self.noise, str):
            return mahalanobis_distance(stimulus_means(values, stimulus), self.noise)
        if values.ndim == 3:
            return np.stack([self.pairs(part, stimulus) for part in values])
        residuals, dof = repeat_residuals(values, stimulus)
        covariance = residual_covariance(residuals, method=self.noise, dof=dof)
        return mahalanobis_distance(stimulus_means(values, stimulus), precision_matrix(covariance))


@dataclass(frozen=True, eq=False)
class CrossnobisDistance:
    """Cross-validated squared Mahalanobis distance, divided by the number of units.

    Unbiased: where two stimuli evoke the same response its mean is 0, and it may be negative.

    Parameters
    ----------
    noise : None, str, array of shape (unit, unit) or sequence of arrays
        None: no whitening. The name of an estimator (see `residual_covariance`): precision from
        the repeats of the other folds. Or the noise precision, one for all folds or one for each.
    fold : str
        Presentation coordinate whose labels are the folds. ``"repeat"``, where a recording has no
        such coordinate, is the first, second ... presentation of each stimulus.
    """

    noise: NoiseMethod | Precision | Sequence[Precision] | None = None
    fold: str = "repeat"
    name: ClassVar[str] = "crossnobis"
    citations: ClassVar[tuple[str, ...]] = ("walther2016reliability",)
    uses_repeats: ClassVar[bool] = True

    def pairs(
        self,
        values: Num[np.ndarray, "*time presentation unit"],
        stimulus: Integer[np.ndarray, " presentation"],
        fold: Integer[np.ndarray, " presentation"] | None = None,
    ) -> Float[np.ndarray, "*time pair"]:
        """Distances of each pair of stimuli.

        Parameters
        ----------
        values : array of shape (presentation, unit) or (time, presentation, unit)
            Responses.
        stimulus, fold : array of int, shape (presentation,)
            Stimulus and fold of each presentation, numbered from 0 without gaps.

        Returns
        -------
        array of shape (pair,) or (time, pair)
            Distances.
        """
        if fold is None:
            raise InvalidArgument("crossnobis needs the fold of each presentation")
        return crossnobis_distance(values, stimulus, fold, self.noise)
