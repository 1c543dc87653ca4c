"""Geo-topological transforms of RDMs: what saturates below one distance and above another."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from scipy.sparse.csgraph import csgraph_from_dense, shortest_path

from bregma.errors import InvalidArgument
from bregma.recording import Dissimilarity

from ._rdm_comparison import RDMs


@runtime_checkable
class RDMTransform(Protocol):
    """What changes RDMs before they are compared: a name, and a function of RDMs."""

    @property
    def name(self) -> str:
        """What is done, in words."""

    def __call__(self, rdms: Dissimilarity) -> Dissimilarity:
        """Change every RDM by itself."""


@dataclass(frozen=True)
class _BetweenQuantiles(RDMTransform, ABC):
    """What both transforms share: two thresholds, given as quantiles of each RDM."""

    lower: float = 0.0
    upper: float = 1.0
    word: ClassVar[str]
    citations: ClassVar[tuple[str, ...]] = ("lin2024topology",)

    def __post_init__(self) -> None:
        if not 0 <= self.lower <= self.upper <= 1:
            raise InvalidArgument(
                "the thresholds are quantiles with 0 <= lower <= upper <= 1, not "
                f"lower={self.lower}, upper={self.upper}"
            )
        if self.lower == 1:
            raise InvalidArgument(
                "no distance lies above the quantile 1, so all would become 0; choose lower < 1"
            )

    @property
    def name(self) -> str:
        return f"{self.word} [{self.lower:g}, {self.upper:g}]"

    def __call__(self, rdms: Dissimilarity) -> Dissimilarity:
        return Dissimilarity(
            self._of(rdms.values, rdms.n_stimuli),
            stimuli=rdms.stimuli,
            rdms=rdms.rdms,
            measure=f"{self.name} of {rdms.measure}",
            name=rdms.name,
        )

    @abstractmethod
    def _of(self, distances: RDMs, n_stimuli: int) -> RDMs: ...


@dataclass(frozen=True)
class GeoTopological(_BetweenQuantiles):
    """Linear between two quantiles of an RDM, 0 below and 1 above (RGTM).

    With l and u the `lower` and `upper` quantile of the distances of one RDM, f(d) is 0 where
    d <= l, 1 where d >= u (and d > l) and (d - l) / (u - l) between. From 0 to 1 it is the RDM
    itself, scaled to [0, 1]: geometry. With lower = upper it is the graph of which stimuli are
    neighbours (0) and which are not (1): topology, which no monotone change of distances alters.

    Parameters
    ----------
    lower, upper : float
        Thresholds as quantiles of the distances of each RDM, so that units and scales cancel.

    Raises
    ------
    InvalidArgument
        Quantiles outside 0 <= lower <= upper <= 1, or a lower one of 1.

    References
    ----------
    Lin and Kriegeskorte (2024), The topology and geometry of neural representations.

    Examples
    --------
    >>> from bregma import Dissimilarity
    >>> rdm = Dissimilarity([1.0, 2.0, 3.0, 4.0, 5.0, 9.0])
    >>> GeoTopological(0.2, 0.8)(rdm).values.round(2)
    array([[0.  , 0.  , 0.33, 0.67, 1.  , 1.  ]])
    """

    word: ClassVar[str] = "geo-topological"

    def _of(self, distances: RDMs, n_stimuli: int) -> RDMs:
        return _saturated(distances, self.lower, self.upper)


@dataclass(frozen=True)
class Geodesic(_BetweenQuantiles):
    """Lengths of the shortest paths over pairs that are near (RGDM).

    Pairs are joined by an edge where `GeoTopological` gives less than 1, and that is its length. A
    pair that no path joins gets the length of the longest path of its RDM, and at least 1.

    Parameters
    ----------
    lower, upper : float
        Thresholds as quantiles of the distances of each RDM; pairs at or above the upper one are
        not neighbours.

    Raises
    ------
    InvalidArgument
        Quantiles outside 0 <= lower <= upper <= 1, or a lower one of 1.

    References
    ----------
    Lin and Kriegeskorte (2024), The topology and geometry of neural representations.
    Tenenbaum, de Silva and Langford (2000), A global geometric framework for nonlinear
    dimensionality reduction.

    Examples
    --------
    Of four stimuli the first and the last are no neighbours: the way leads over the others.

    >>> from bregma import Dissimilarity
    >>> rdm = Dissimilarity([2.0, 5.0, 9.0, 3.0, 8.0, 1.0])
    >>> Geodesic(0.0, 0.6)(rdm).values.round(2)
    array([[0.25, 0.75, 0.75, 0.5 , 0.5 , 0.  ]])
    """

    word: ClassVar[str] = "geodesic"

    def _of(self, distances: RDMs, n_stimuli: int) -> RDMs:
        weights = _saturated(distances, self.lower, self.upper)
        first, second = np.triu_indices(n_stimuli, 1)
        return np.stack([_path_lengths(row, first, second, n_stimuli) for row in weights])


def _saturated(distances: RDMs, lower: float, upper: float) -> RDMs:
    """0 up to the lower quantile of each row, 1 from the upper one on, linear between."""
    low, high = np.quantile(distances, (lower, upper), axis=1)[..., None]
    ramp = (distances - low) / np.where(high > low, high - low, 1)
    return np.where(distances <= low, 0.0, np.where(distances >= high, 1.0, ramp))


def _path_lengths(
    weights: Float[np.ndarray, " pair"], first: Any, second: Any, n_stimuli: int
) -> Float[np.ndarray, " pair"]:
    # Infinity, not 0, stands for no edge: stimuli at distance 0 are the nearest neighbours.
    graph = np.full((n_stimuli, n_stimuli), np.inf)
    graph[first, second] = graph[second, first] = np.where(weights < 1, weights, np.inf)
    lengths = shortest_path(csgraph_from_dense(graph, null_value=np.inf), directed=False)
    lengths = lengths[first, second]
    joined = np.isfinite(lengths)
    return np.where(joined, lengths, max(1.0, lengths[joined].max(initial=0)))
