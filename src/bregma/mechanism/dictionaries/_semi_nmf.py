"""Semi-nonnegative matrix factorisation: signed patterns, used in amounts of 0 or more."""

from __future__ import annotations

import math
from functools import partial
from typing import Any, no_type_check

import numpy as np
from jaxtyping import Float
from numba import njit
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.cluster import KMeans
from sklearn.utils.validation import check_is_fitted, validate_data

from bregma.errors import InvalidArgument
from bregma.run import derive
from bregma.run._threads import in_threads

ROWS = 256  # samples of one piece of work
START = 0.2  # added to the indicators of clusters, so that every amount can grow


class SemiNMF(TransformerMixin, BaseEstimator):
    r"""Scikit-learn transformer: X ~ Y Z with any sign in Z and in X, and Y of 0 or more.

    By turns, Z = (Y^T Y)^+ Y^T X, and Y from the least squares of each sample under Y >= 0
    (coordinate descent). Rows of Z have length 1, and the size is in Y. With `kept`, only the share
    `kept` of each row of Z that is largest stays (winner takes all); the others become 0. Y starts
    at clusters (k-means).

    For a layer of a network rows of X are tokens and columns are neurons; for recordings, rows are
    times and columns neurons, and Z are assemblies that may also suppress neurons.

    Parameters
    ----------
    n_components : int
        Patterns.
    kept : float
        Share of a pattern's entries that is not 0; 1 keeps all.
    max_iter : int
        Turns at most.
    tol : float
        Stop when the error of a turn falls by a smaller share.
    seed : int
        Draws the clusters.

    Attributes
    ----------
    components_ : ndarray (component, unit)
        Z.
    error_ : float
        |X - Y Z| / |X| at the end.
    n_iter_ : int
        Turns that were made.

    Raises
    ------
    InvalidArgument
        If a setting is out of range.

    References
    ----------
    Ding, Li and Jordan (2010), Convex and semi-nonnegative matrix factorizations.
    Shafran, Geiger and Geva (2025), Decomposing MLP activations into interpretable features via
    semi-nonnegative matrix factorization.

    Examples
    --------
    >>> X = np.random.default_rng(0).standard_normal((100, 12))
    >>> model = SemiNMF(4).fit(X)
    >>> bool((model.transform(X) >= 0).all()), model.components_.shape
    (True, (4, 12))
    """

    def __init__(
        self,
        n_components: int = 8,
        *,
        kept: float = 1.0,
        max_iter: int = 200,
        tol: float = 1e-5,
        seed: int = 0,
    ) -> None:
        self.n_components, self.kept = n_components, kept
        self.max_iter, self.tol, self.seed = max_iter, tol, seed

    def fit(self, X: Float[np.ndarray, "sample unit"], y: None = None) -> SemiNMF:
        """Learn the patterns.

        Parameters
        ----------
        X : ndarray (sample, unit)
            Activity, of any sign.
        y : None
            Not used.

        Returns
        -------
        SemiNMF
            Itself.
        """
        if min(self.n_components, self.max_iter) < 1 or not self.tol >= 0:
            raise InvalidArgument(
                f"n_components={self.n_components} and max_iter={self.max_iter} must be 1 or more, "
                f"tol={self.tol} 0 or more"
            )
        if not 0 < self.kept <= 1:
            raise InvalidArgument(f"kept={self.kept} must be above 0, and 1 at most")
        X = validate_data(self, X, dtype=(np.float64, np.float32), ensure_min_samples=2)
        amounts = self._clusters(X)
        size, before = float(np.square(X, dtype=np.float64).sum()), math.inf
        for self.n_iter_ in range(1, self.max_iter + 1):  # noqa: B020 - an attribute, not self
            gram = np.linalg.pinv(amounts.T @ amounts, hermitian=True)
            patterns = _winners(gram @ (amounts.T @ X), self.kept)
            length = np.linalg.norm(patterns, axis=1)
            used = length > 0
            patterns[used] /= length[used, None]
            amounts = _amounts(X, patterns, amounts * length, sweeps=SWEEPS)
            error = float(np.square(X - amounts @ patterns, dtype=np.float64).sum())
            if before - error <= self.tol * size:
                break
            before = error
        self.components_ = patterns
        self.error_ = math.sqrt(error / size) if size > 0 else 0.0
        return self

    def transform(
        self, X: Float[np.ndarray, "sample unit"]
    ) -> Float[np.ndarray, "sample component"]:
        """How much of each pattern is in samples: least squares with amounts of 0 or more.

        Parameters
        ----------
        X : ndarray (sample, unit)
            Activity.

        Returns
        -------
        ndarray (sample, component)
            0 or more.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=self.components_.dtype, reset=False)
        start = np.zeros((len(X), len(self.components_)), X.dtype)
        return _amounts(X, self.components_, start, sweeps=EXACT)

    def inverse_transform(
        self, X: Float[np.ndarray, "sample component"]
    ) -> Float[np.ndarray, "sample unit"]:
        """Activity that amounts stand for.

        Parameters
        ----------
        X : ndarray (sample, component)
            Amounts.

        Returns
        -------
        ndarray (sample, unit)
            Y Z.
        """
        check_is_fitted(self)
        return np.asarray(X) @ self.components_

    def _clusters(self, X: Any) -> Any:
        k = min(self.n_components, len(X))
        state = derive(self.seed, "k-means") % 2**32
        labels = KMeans(k, n_init=1, random_state=state).fit_predict(X)
        return (np.eye(self.n_components)[labels] + START).astype(X.dtype)


SWEEPS, EXACT = 3, 2000  # of coordinate descent: in a turn, and until nothing moves


def _winners(patterns: Any, kept: float) -> Any:
    n = max(1, round(kept * patterns.shape[1]))
    if n < patterns.shape[1]:
        order = np.argpartition(-np.abs(patterns), n - 1, axis=1)
        np.put_along_axis(patterns, order[:, n:], 0, axis=1)
    return patterns


def _amounts(X: Any, patterns: Any, start: Any, *, sweeps: int) -> Any:
    gram = np.ascontiguousarray(patterns @ patterns.T)
    along = np.ascontiguousarray(X @ patterns.T)
    amounts = np.ascontiguousarray(start)
    work = partial(_descend, gram, along, amounts, sweeps)
    in_threads(work, [(i, min(i + ROWS, len(X))) for i in range(0, len(X), ROWS)])
    return amounts


@no_type_check
@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _descend(gram, along, amounts, sweeps, first, last):
    """Lower |x - y Z|^2 in one amount after the other; each is 0 or where the slope is 0."""
    k = gram.shape[0]
    for row in range(first, last):
        y, wanted = amounts[row], along[row]
        for _ in range(sweeps):
            moved = top = 0.0
            for j in range(k):
                if gram[j, j] <= 0:
                    y[j] = 0
                    continue
                slope = -wanted[j]
                for i in range(k):
                    slope += gram[j, i] * y[i]
                new = max(y[j] - slope / gram[j, j], 0.0)
                moved = max(moved, abs(new - y[j]))
                top = max(top, new)
                y[j] = new
            if moved <= 1e-7 * top:
                break
