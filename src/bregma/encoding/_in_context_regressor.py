"""Encoders of all voxels of a new subject, written by a transformer, as a linear regressor."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from bregma.encoding._finite import finite
from bregma.encoding._in_context_encoder import InContextEncoder
from bregma.errors import InvalidArgument
from bregma.run import device


class InContextRegressor(RegressorMixin, BaseEstimator):
    """A linear regression whose coefficients come from one forward pass of a trained encoder.

    Parameters
    ----------
    encoder : InContextEncoder
        Trained on other subjects; it stays as it is.
    batch_size : int
        Voxels at a time.
    device : str, optional
        Where to compute; the fastest device that is there by default.

    Attributes
    ----------
    coef_ : array of shape (voxel, feature)
        Weights.
    intercept_ : array of shape (voxel,)
        Constants.

    References
    ----------
    Yu et al. (2025), Meta-learning an in-context transformer model of human higher visual cortex.
    arXiv:2505.15813.

    Examples
    --------
    >>> x, y = np.random.default_rng(0).standard_normal((2, 20, 8))
    >>> encoder = InContextEncoder(8, width=16, heads=2, seed=0)  # untrained: for the shapes only
    >>> InContextRegressor(encoder).fit(x, y).coef_.shape
    (8, 8)
    """

    def __init__(
        self, encoder: InContextEncoder, *, batch_size: int = 64, device: str | None = None
    ) -> None:
        self.encoder = encoder
        self.batch_size = batch_size
        self.device = device

    @torch.no_grad()
    def fit(
        self, X: Float[np.ndarray, "image feature"], y: Float[np.ndarray, "image voxel"]
    ) -> InContextRegressor:
        """Write the encoders of all voxels; nothing is trained.

        Parameters
        ----------
        X : array of shape (image, feature)
            Embeddings of the images that the subject saw, scaled as those of the training subjects.
        y : array of shape (image, voxel)
            Responses, scaled as those of the training subjects.

        Returns
        -------
        InContextRegressor
            This object.

        Raises
        ------
        InvalidArgument
            If shapes do not fit, values are not finite, or batch_size is below 1.
        """
        X = finite(X, "embeddings", "image", "feature")
        y = finite(y, "responses", "image", "voxel")
        if len(X) != len(y) or X.shape[1] != self.encoder.features or self.batch_size < 1:
            raise InvalidArgument(
                f"the encoder reads ({self.encoder.features} features) and responses, as many of "
                f"both; given were {X.shape} and {y.shape}, {self.batch_size} voxels at a time"
            )
        where = device(self.device)
        kind = next(self.encoder.parameters())
        home = kind.device
        self.encoder.to(where)
        try:
            x = torch.as_tensor(X).to(where, kind.dtype)
            parts = torch.as_tensor(y.T.copy()).to(where, kind.dtype).split(self.batch_size)
            written = [self.encoder.weights(x.expand(len(p), -1, -1), p).cpu() for p in parts]
        finally:
            self.encoder.to(home)
        weights = torch.cat(written).double().numpy()
        self.coef_, self.intercept_ = weights[:, :-1], weights[:, -1]
        self.n_features_in_ = X.shape[1]
        return self

    def predict(self, X: Float[np.ndarray, "image feature"]) -> Float[np.ndarray, "image voxel"]:
        """Predict responses to images.

        Parameters
        ----------
        X : array of shape (image, feature)
            Embeddings.

        Returns
        -------
        array of shape (image, voxel)
            Responses.

        Raises
        ------
        InvalidArgument
            If the embeddings have another length or values are not finite.
        """
        check_is_fitted(self)
        X = finite(X, "embeddings", "image", "feature")
        if X.shape[1] != self.n_features_in_:
            raise InvalidArgument(f"{X.shape[1]} features, fitted were {self.n_features_in_}")
        return X @ self.coef_.T + self.intercept_
