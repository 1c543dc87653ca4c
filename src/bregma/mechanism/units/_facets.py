"""Facets: the different kinds of stimuli that drive one unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, Num
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import silhouette_score

from bregma.errors import InvalidArgument, NotIdentifiable
from bregma.run import derive


@dataclass(frozen=True)
class Facets:
    """Groups of stimuli that drive a unit, and the most typical ones of each.

    Parameters
    ----------
    labels : array of int (stimulus,)
        The facet of each.
    order : sequence of array of int
        For each facet its stimuli, nearest to its centre first.
    space : array (stimulus, dimension)
        Where facets were found.
    silhouette : dict of int to float
        For each number of facets that was tried, how well they are apart.
    """

    labels: Int[np.ndarray, " stimulus"]
    order: Sequence[Int[np.ndarray, " _"]]
    space: Float[np.ndarray, "stimulus dimension"]
    silhouette: dict[int, float]

    def __len__(self) -> int:
        return len(self.order)

    def means(self, images: Any, *, n: int = 15) -> torch.Tensor:
        """The mean image of each facet: where ascent starts.

        Parameters
        ----------
        images : Tensor or array (stimulus, channel, row, column)
            Those that the facets were found in.
        n : int
            How many of the nearest to the centre are averaged.

        Returns
        -------
        Tensor (facet, channel, row, column)
            The means.

        Raises
        ------
        InvalidArgument
            If these are as many images as there are labels.
        """
        pictures = torch.as_tensor(images).float()
        if len(pictures) != len(self.labels) or n < 1:
            raise InvalidArgument(f"{len(pictures)} images, {len(self.labels)} labels, n={n}")
        return torch.stack([pictures[rows[:n].tolist()].mean(dim=0) for rows in self.order])


def facets(
    codes: Num[np.ndarray, "stimulus number"],
    *,
    k: int | Sequence[int] = tuple(range(2, 11)),
    components: int = 50,
    embedding: Any = None,
    seed: int,
) -> Facets:
    """Find the kinds of stimuli that drive a unit, in a deep code of its best stimuli.

    Codes go to their principal components, then where it is given through an embedding such as
    ``sklearn.manifold.TSNE()`` (the paper's), and are clustered by k-means. An embedding pulls
    neighbours together, so that k-means may cut one cloud into many; without it distances are
    those of the network.

    Parameters
    ----------
    codes : array (stimulus, number)
        Activity of a deep layer for the stimuli that drive the unit.
    k : int or sequence of int
        How many facets; of several numbers the one whose facets are best apart (silhouette).
    components : int
        Principal components at most.
    embedding : object with fit_transform, optional
        Applied to the components.
    seed : int
        Of k-means.

    Returns
    -------
    Facets
        Labels and typical stimuli.

    Raises
    ------
    InvalidArgument
        If codes are not finite, or a number of facets is below 1.
    NotIdentifiable
        If there are not more stimuli than facets.

    References
    ----------
    Nguyen, Yosinski and Clune (2016), Multifaceted feature visualization.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> codes = rng.standard_normal((60, 4)) + 9 * np.eye(3, 4)[np.arange(60) % 3]
    >>> len(facets(codes, seed=0))
    3
    """
    codes = np.asarray(codes, dtype=np.float64)
    if codes.ndim != 2 or not np.isfinite(codes).all():
        raise InvalidArgument(f"codes must be finite and (stimulus, number), not {codes.shape}")
    numbers = [k] if isinstance(k, int) else list(k)
    if not numbers or min(numbers) < 1 or components < 1:
        raise InvalidArgument(f"numbers of facets and components must be 1 or more: {k}")
    if len(codes) <= max(numbers):
        raise NotIdentifiable(f"{len(codes)} stimuli are too few for {max(numbers)} facets")
    space = PCA(min(components, *codes.shape), svd_solver="full").fit_transform(codes)
    if embedding is not None:
        space = np.asarray(embedding.fit_transform(space), dtype=np.float64)
    state = derive(seed, "facets") % 2**32
    fits = {one: KMeans(one, n_init=10, random_state=state).fit(space) for one in numbers}
    apart = {
        one: float(silhouette_score(space, fit.labels_)) if one > 1 else 0.0
        for one, fit in fits.items()
    }
    best = fits[max(apart, key=apart.__getitem__)]
    far = np.linalg.norm(space - best.cluster_centers_[best.labels_], axis=1)
    rows = np.argsort(far, kind="stable")
    order = [rows[best.labels_[rows] == facet] for facet in range(best.n_clusters)]
    return Facets(best.labels_.astype(int), order, space, apart)
