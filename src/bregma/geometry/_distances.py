"""Distances between response patterns, as objects: a name, sources, and what they need of data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Integer, Num

from bregma.errors import InvalidArgument

from ._crossnobis import Precision, crossnobis_distance
from ._distance_functions import (
    correlation_distance,
    cosine_distance,
    euclidean_distance,
    mahalanobis_distance,
    poisson_kl_distance,
)
from ._noise import (
    NoiseMethod,
    precision_matrix,
    repeat_residuals,
    residual_covariance,
    stimulus_means,
)


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
        values : array of shape (presentation, unit) or (time, presentation, unit)
            Responses.
        stimulus : array of int, shape (presentation,)
            Which stimulus was shown, numbered from 0 without gaps.
        fold : array of int, shape (presentation,), optional
            Its fold, numbered likewise; only a distance that has a `fold` looks at it.

        Returns
        -------
        array of shape (pair,) or (time, pair)
            Distances, in the order of ``numpy.triu_indices(n, 1)``.
        """


class _OfMeans(Distance, ABC):
    """Distances that need the mean response to each stimulus only."""

    fold: ClassVar[None] = None
    uses_repeats: ClassVar[bool] = False

    def pairs(
        self,
        values: Num[np.ndarray, "*time presentation unit"],
        stimulus: Integer[np.ndarray, " presentation"],
        fold: Integer[np.ndarray, " presentation"] | None = None,
    ) -> Float[np.ndarray, "*time pair"]:
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
class MahalanobisDistance(Distance):
    """Squared Mahalanobis distance, divided by the number of units.

    Noise makes it larger: use `CrossnobisDistance` where distances must be unbiased. Noise that is
    estimated from repeats is estimated at each time by itself.

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
        return isinstance(self.noise, str)

    def pairs(
        self,
        values: Num[np.ndarray, "*time presentation unit"],
        stimulus: Integer[np.ndarray, " presentation"],
        fold: Integer[np.ndarray, " presentation"] | None = None,
    ) -> Float[np.ndarray, "*time pair"]:
        if not isinstance(self.noise, str):
            return mahalanobis_distance(stimulus_means(values, stimulus), self.noise)
        if values.ndim == 3:
            return np.stack([self.pairs(part, stimulus) for part in values])
        residuals, dof = repeat_residuals(values, stimulus)
        covariance = residual_covariance(residuals, method=self.noise, dof=dof)
        return mahalanobis_distance(stimulus_means(values, stimulus), precision_matrix(covariance))


@dataclass(frozen=True, eq=False)
class CrossnobisDistance(Distance):
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
        if fold is None:
            raise InvalidArgument("crossnobis needs the fold of each presentation")
        return crossnobis_distance(values, stimulus, fold, self.noise)
