"""How good a dictionary is: density, unexplained variance, dead features, and known truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment

from bregma.errors import InvalidArgument, NotIdentifiable
from bregma.mechanism.dictionaries._activity import X, Y, as_source, made
from bregma.mechanism.dictionaries._arrays import finite_array
from bregma.run._evaluating import evaluating


@dataclass(frozen=True)
class DictionaryScores:
    """Scores of a dictionary on activity.

    Parameters
    ----------
    l0 : float
        Mean number of features that are on in a sample.
    fvu : float
        Fraction of variance unexplained: squared error over the squared distance from the mean.
    dead : float
        Share of features that were never on.
    density : array (feature,)
        In which share of the samples each feature is on.
    n_samples : int
        Of how many samples.
    """

    l0: float
    fvu: float
    dead: float
    density: Float[np.ndarray, " feature"]
    n_samples: int


@torch.no_grad()
def score_dictionary(dictionary: Any, activity: Any, *, batch_size: int = 4096) -> DictionaryScores:
    """Score a dictionary on activity it was not trained on, in bounded memory.

    Parameters
    ----------
    dictionary : SparseAutoencoder
        Has ``encode`` and ``decode``. It is used in evaluation mode.
    activity : array, Tensor, pair, Recording, ActivityStream or callable
        As for `fit_dictionary`; a pair for transcoders.
    batch_size : int
        Samples at a time.

    Returns
    -------
    DictionaryScores
        Density, unexplained variance and dead share.

    Raises
    ------
    NotIdentifiable
        If the activity does not vary.
    InvalidArgument
        If the activity does not fit.

    Examples
    --------
    >>> from bregma.mechanism import SparseAutoencoder, TopKCode, score_dictionary
    >>> sae = SparseAutoencoder(8, 16, TopKCode(3), seed=0)
    >>> score_dictionary(sae, torch.randn(50, 8)).l0 <= 3
    True
    """
    parameter = next(dictionary.parameters())
    n, error, on = 0, 0.0, torch.zeros(dictionary.n_features, dtype=torch.float64)
    mean = spread = np.zeros(())
    with evaluating(dictionary):
        for piece in made(as_source(activity)(torch.Generator().manual_seed(0)), 0):
            if not set(piece) <= {X, Y} and len(piece) > 1:
                raise InvalidArgument(
                    f"there are several activities, {list(piece)}: give one, or a pair (x, y)"
                )
            x, y = next(iter(piece.values())), piece.get(Y, next(iter(piece.values())))
            for first in range(0, len(x), batch_size):
                rows = slice(first, first + batch_size)
                code = dictionary.encode(torch.from_numpy(x[rows]).to(parameter))
                output = dictionary.decode(code).cpu().numpy()
                error += float(np.square(output - y[rows], dtype=np.float64).sum())
                on += (code > 0).sum(0).cpu()
            # Mean and spread of pieces are joined as in Chan et al.: no difference of large sums.
            here, m = y.mean(0, dtype=np.float64), len(y)
            spread = spread + np.square(y - here).sum(0) + (here - mean) ** 2 * n * m / (n + m)
            mean, n = mean + (here - mean) * m / (n + m), n + m
    variance = float(spread.sum())
    if not variance > 0:
        raise NotIdentifiable(f"the {n} samples are all alike: there is no variance to explain")
    density = (on / n).numpy()
    return DictionaryScores(
        float(density.sum()), error / variance, float((density == 0).mean()), density, n
    )


@dataclass(frozen=True)
class MatchedFeatures:
    """Pairs of features of two dictionaries that belong together.

    Parameters
    ----------
    index : array (true feature,)
        Which feature was matched to each true one; -1 where there are too few.
    cosine : array (true feature,)
        Their cosine; 0 where there is none.
    """

    index: Int[np.ndarray, " feature"]
    cosine: Float[np.ndarray, " feature"]

    @property
    def mean(self) -> float:
        """Mean cosine over the true features."""
        return float(self.cosine.mean())

    def share(self, above: float = 0.9) -> float:
        """Share of true features that were found.

        Parameters
        ----------
        above : float
            Cosine above which one counts as found.

        Returns
        -------
        float
            0 to 1.
        """
        return float((self.cosine > above).mean())


def match_features(found: Any, true: Any, *, signed: bool = True) -> MatchedFeatures:
    """Match the features of a dictionary one to one to those of another (known) one.

    The pairs are those with the largest sum of cosines (the Hungarian method), so that a feature
    cannot be found twice. Compare with a random dictionary: the best of many cosines is not small.

    Parameters
    ----------
    found : array or Tensor (feature, number)
        The dictionary, one feature per row.
    true : array or Tensor (true feature, number)
        The other one.
    signed : bool
        False where a feature may point either way: absolute cosines count.

    Returns
    -------
    MatchedFeatures
        The partner of each true feature, and their cosine.

    Raises
    ------
    InvalidArgument
        If shapes do not fit, or a true feature is zero.

    Examples
    --------
    >>> from bregma.mechanism import match_features
    >>> match_features(torch.eye(3)[[2, 0, 1]], torch.eye(3)).index
    array([1, 2, 0])
    """
    a, b = (finite_array(x, "a dictionary") for x in (found, true))
    if a.shape[1] != b.shape[1]:
        raise InvalidArgument(f"features of length {a.shape[1]} and {b.shape[1]} do not fit")
    lengths = np.linalg.norm(b, axis=1)
    if not (lengths > 0).all():
        raise InvalidArgument("a true feature is zero everywhere, so that it has no direction")
    cosine = b / lengths[:, None] @ (a / np.linalg.norm(a, axis=1, keepdims=True).clip(1e-12)).T
    cosine = cosine if signed else np.abs(cosine)
    rows, columns = linear_sum_assignment(cosine, maximize=True)
    index, best = np.full(len(b), -1), np.zeros(len(b))
    index[rows], best[rows] = columns, cosine[rows, columns]
    return MatchedFeatures(index, best)
