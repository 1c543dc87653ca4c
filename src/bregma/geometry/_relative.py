"""Relative representations: every response as its cosines with the responses to shared anchors."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor, nn
from torch.nn.functional import normalize

from bregma.errors import InvalidArgument
from bregma.run import spawn


def relative(
    x: Float[Tensor, "*sample unit"], anchors: Float[Tensor, "anchor unit"], *, center: bool = False
) -> Float[Tensor, "*sample anchor"]:
    """Cosines with anchors: r_k(x) = <x, a_k> / (|x| |a_k|).

    A rotation, a reflection or a scaling of the whole space changes none of them; centred, a
    translation neither. Derivatives flow into both arguments, so that an encoder can be trained
    through it, as in ``relative(encoder(images), encoder(anchor_images))``. A vector of zeros has
    no direction: its cosines are 0.

    Parameters
    ----------
    x : Tensor of shape (..., unit)
        Responses.
    anchors : Tensor of shape (anchor, unit)
        Responses of the same system to the anchors.
    center : bool
        Whether to subtract the mean of the anchors from both first.

    Returns
    -------
    Tensor of shape (..., anchor)
        Cosines, on the device and in the precision of `x`.

    Raises
    ------
    InvalidArgument
        Shapes that do not fit, or no anchors.

    References
    ----------
    Moschella et al. (2023), Relative representations enable zero-shot latent space communication.

    Examples
    --------
    >>> x, anchors = torch.tensor([[3.0, 4.0]]), torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    >>> relative(x, anchors)
    tensor([[0.6000, 0.8000]])
    """
    if anchors.ndim != 2 or not len(anchors) or not x.ndim or x.shape[-1] != anchors.shape[1]:
        raise InvalidArgument(
            f"x of shape {tuple(x.shape)} and anchors of shape {tuple(anchors.shape)} must be "
            "(..., unit) and (anchor, unit), with the same units and at least one anchor"
        )
    if center:
        middle = anchors.mean(dim=0)
        x, anchors = x - middle, anchors - middle
    return normalize(x, dim=-1) @ normalize(anchors, dim=-1).T


class RelativeLayer(nn.Module):
    """A layer without parameters that gives cosines with fixed anchors, see `relative`.

    Put a ``nn.LayerNorm`` behind it before a head: cosines of one sample differ little.

    Parameters
    ----------
    anchors : Tensor of shape (anchor, unit)
        Responses of the frozen encoder before it to the anchors.
    center : bool
        Whether to subtract the mean of the anchors first.

    Raises
    ------
    InvalidArgument
        Anchors that are no finite (anchor, unit) matrix.

    References
    ----------
    Moschella et al. (2023), Relative representations enable zero-shot latent space communication.

    Examples
    --------
    >>> anchors = torch.eye(3)
    >>> head = nn.Sequential(RelativeLayer(anchors), nn.LayerNorm(3), nn.Linear(3, 10))
    >>> head(torch.ones(5, 3)).shape
    torch.Size([5, 10])
    """

    anchors: Tensor

    def __init__(self, anchors: Tensor, *, center: bool = False) -> None:
        super().__init__()
        if anchors.ndim != 2 or not anchors.numel() or not anchors.isfinite().all():
            raise InvalidArgument(
                "anchors must be a finite (anchor, unit) matrix, not one of shape "
                f"{tuple(anchors.shape)} with {int((~anchors.isfinite()).sum())} that are not"
            )
        self.center = center
        self.register_buffer("anchors", anchors.detach().clone())

    def forward(self, x: Float[Tensor, "*sample unit"]) -> Float[Tensor, "*sample anchor"]:
        """Cosines of responses with the anchors.

        Parameters
        ----------
        x : Tensor of shape (..., unit)
            Responses.

        Returns
        -------
        Tensor of shape (..., anchor)
            Cosines.
        """
        return relative(x, self.anchors, center=self.center)

    def extra_repr(self) -> str:
        """What the module shows of itself.

        Returns
        -------
        str
            Anchors and units.
        """
        return f"{len(self.anchors)} anchors, {self.anchors.shape[1]} units, center={self.center}"


class RelativeRepresentation(TransformerMixin, BaseEstimator):
    """Scikit-learn transformer to cosines with anchors, see `relative`.

    Fit one to each system, on its responses to the same stimuli in the same order: what a decoder
    learns from the transformed responses of one then applies to those of the others.

    Parameters
    ----------
    n_anchors : int, optional
        How many of the rows that it is fitted to are anchors, drawn without replacement; all of
        them where it is not given. With the same seed and number of rows they are the same rows.
    center : bool
        Whether to subtract the mean of the anchors first; needed where responses have offsets
        that systems do not share, such as spike counts.
    seed : int
        Draws the anchors.

    Attributes
    ----------
    anchors_ : array of shape (anchor, unit)
        Responses to the anchors.
    rows_ : array of shape (anchor,)
        Which rows they were.

    Raises
    ------
    InvalidArgument
        More anchors than rows, or responses of zero, which have no direction.

    References
    ----------
    Moschella et al. (2023), Relative representations enable zero-shot latent space communication.

    Examples
    --------
    >>> x = np.random.default_rng(0).standard_normal((50, 4))
    >>> turned = 3 * x[:, [2, 0, 3, 1]]
    >>> one, other = (RelativeRepresentation(10).fit_transform(part) for part in (x, turned))
    >>> one.shape, bool(np.allclose(one, other))
    ((50, 10), True)
    """

    def __init__(
        self, n_anchors: int | None = None, *, center: bool = False, seed: int = 0
    ) -> None:
        self.n_anchors = n_anchors
        self.center = center
        self.seed = seed

    def fit(self, X: Any, y: Any = None) -> RelativeRepresentation:
        """Draw the anchors.

        Parameters
        ----------
        X : array of shape (sample, unit)
            Responses, rows paired across systems.
        y : None
            Not used.

        Returns
        -------
        RelativeRepresentation
            Itself.
        """
        X = validate_data(self, X, dtype=[np.float64, np.float32])
        n = len(X) if self.n_anchors is None else self.n_anchors
        if not 1 <= n <= len(X):
            raise InvalidArgument(f"n_anchors must be from 1 to the {len(X)} rows, not {n}")
        if self.n_anchors is None:
            self.rows_ = np.arange(n)
        else:
            self.rows_ = spawn(self.seed, "anchors").choice(len(X), n, replace=False)
        self.anchors_ = X[self.rows_]
        self._directed(self.anchors_, "anchor")
        return self

    def transform(self, X: Any) -> Float[np.ndarray, "sample anchor"]:
        """Cosines with the anchors.

        Parameters
        ----------
        X : array of shape (sample, unit)
            Responses.

        Returns
        -------
        array of shape (sample, anchor)
            Between -1 and 1.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        self._directed(X, "row")
        anchors = torch.as_tensor(self.anchors_.astype(X.dtype))
        return relative(torch.tensor(X), anchors, center=self.center).numpy()

    def get_feature_names_out(self, input_features: Any = None) -> Any:
        """Names of the columns: the rows that are their anchors.

        Parameters
        ----------
        input_features : None
            Not used.

        Returns
        -------
        array of str
            Such as ``"anchor17"``.
        """
        check_is_fitted(self)
        return np.array([f"anchor{row}" for row in self.rows_], dtype=object)

    def _directed(self, x: Any, what: str) -> None:
        middle = self.anchors_.mean(axis=0) if self.center else 0.0
        size = np.linalg.norm(x - middle, axis=1)
        if not size.all():
            raise InvalidArgument(
                f"{what} {int(np.argmin(size))} is 0 in every unit"
                f"{' after the mean anchor was subtracted' if self.center else ''}: it has no "
                "direction; leave it out"
            )
