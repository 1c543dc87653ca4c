"""The best rotation, scale and shift from one representation to another, learned from pairs."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from bregma.errors import NotIdentifiable

TINY = 1e-10  # of the largest singular value: nothing is known about that direction


class ProcrustesMap(MultiOutputMixin, RegressorMixin, BaseEstimator):
    """Scikit-learn regressor that rotates, scales and shifts responses of one system to another's.

    The map is s (x - mean) R + shift. R is the rotation or reflection with the largest <X R, Y>
    (between spaces of different dimensions: of the narrower into the wider, or onto it), and s
    the scale with the smallest squared error. Into as many or more dimensions no other rotation
    and scale has a smaller one; into fewer, another may. Directions that the pairs say nothing
    about become 0. `Procrustes` scores how well it can do.

    Attributes
    ----------
    rotation_ : array of shape (unit_x, unit_y)
        R.
    scale_ : float
        s.
    mean_x_, mean_y_ : array of shape (unit,)
        Means of both sides of the pairs.

    Raises
    ------
    NotIdentifiable
        Pairs in which one side does not vary.

    References
    ----------
    Schönemann (1966), A generalized solution of the orthogonal Procrustes problem.

    Examples
    --------
    >>> x = np.random.default_rng(0).standard_normal((20, 3))
    >>> turned = 2 * x[:, [1, 2, 0]] + 5
    >>> bool(np.allclose(ProcrustesMap().fit(x, turned).predict(x), turned))
    True
    """

    def fit(self, X: Any, y: Any) -> ProcrustesMap:
        """Learn the map from pairs.

        Parameters
        ----------
        X : array of shape (pair, unit_x)
            Responses of the system to map from.
        y : array of shape (pair, unit_y)
            Responses of the system to map to, to the same stimuli.

        Returns
        -------
        ProcrustesMap
            Itself.
        """
        X, y = validate_data(
            self, X, y, dtype=np.float64, multi_output=True, y_numeric=True, ensure_min_samples=2
        )
        self._flat = y.ndim == 1
        y = y.reshape(len(y), -1).astype(float)
        self.mean_x_, self.mean_y_ = X.mean(axis=0), y.mean(axis=0)
        X, y = X - self.mean_x_, y - self.mean_y_
        left, size, right = np.linalg.svd(X.T @ y, full_matrices=False)
        if not size[0] > 0:
            raise NotIdentifiable(
                f"the {len(X)} pairs share no variation, so that no rotation is better than "
                "another; give more of them, or check that both sides vary"
            )
        known = size > TINY * size[0]
        self.rotation_ = left[:, known] @ right[known]
        # The least squares scale of what is rotated: X R has the length of X in known directions.
        self.scale_ = float(size.sum() / np.square(X @ self.rotation_).sum())
        return self

    def predict(self, X: Any) -> Float[np.ndarray, "sample ..."]:
        """Map responses.

        Parameters
        ----------
        X : array of shape (sample, unit_x)
            Responses of the system to map from.

        Returns
        -------
        array of shape (sample, unit_y)
            What the other system would give.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        mapped = self.scale_ * (X - self.mean_x_) @ self.rotation_ + self.mean_y_
        return mapped[:, 0] if self._flat else mapped
