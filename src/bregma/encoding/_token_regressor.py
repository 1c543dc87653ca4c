"""A readout of tokens with the face of a scikit-learn regressor."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from bregma.encoding._finite import finite
from bregma.errors import InvalidArgument
from bregma.run import derive, device, fit, minibatches, spawn

Tokens = Float[np.ndarray, "stimulus token width"]
Responses = Float[np.ndarray, "stimulus unit"]


class TokenRegressor(RegressorMixin, BaseEstimator):
    """Fit a readout of tokens to responses, and stop when held-out responses are predicted best.

    Features of tokens and responses of units are standardised. A part of the stimuli is held out;
    after each epoch the correlation of prediction and response is averaged over units there, and
    the weights of the best epoch are kept.

    Parameters
    ----------
    readout : torch.nn.Module
        Any module from (stimulus, token, width) to (stimulus, unit), such as `AttentionReadout`
        or `FactorisedReadout`; it stays as it is, a copy is trained.
    epochs : int
        At most so many.
    patience : int
        Stop after so many epochs without a better correlation.
    validation : float
        Share of the stimuli that are held out.
    lr, weight_decay : float
        Of AdamW.
    batch_size : int
        Stimuli at a time.
    seed : int
        Makes the split and the order of the batches.
    device : str, optional
        Where to compute; the fastest device that is there by default.

    Attributes
    ----------
    readout_ : torch.nn.Module
        The trained readout.
    validation_scores_ : array of shape (unit,)
        Correlations on the stimuli that were held out (a little too high: they chose the epoch).
    n_epochs_ : int
        The epoch that was best.

    References
    ----------
    Adeli, Sun and Kriegeskorte (2025), Transformer brain encoders explain human high-level visual
    responses. arXiv:2505.17329.

    Examples
    --------
    >>> from bregma.encoding import AttentionReadout
    >>> x = np.random.default_rng(0).standard_normal((60, 4, 3))
    >>> readout = AttentionReadout(3, areas=["V1", "V2"], grid=(2, 2), seed=0)
    >>> model = TokenRegressor(readout, epochs=2, seed=0).fit(x, x[:, 0, :2])
    >>> model.predict(x).shape
    (60, 2)
    """

    readout_: Any  # mypy takes attributes of a module for tensors

    def __init__(
        self,
        readout: nn.Module,
        *,
        epochs: int = 50,
        patience: int = 5,
        validation: float = 0.1,
        lr: float = 5e-4,
        weight_decay: float = 1e-4,
        batch_size: int = 16,
        seed: int = 0,
        device: str | None = None,
    ) -> None:
        self.readout = readout
        self.epochs = epochs
        self.patience = patience
        self.validation = validation
        self.lr = lr
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.seed = seed
        self.device = device

    def fit(self, X: Tokens, y: Responses) -> TokenRegressor:
        """Train the readout.

        Parameters
        ----------
        X : array of shape (stimulus, token, width)
            Tokens.
        y : array of shape (stimulus, unit)
            Responses.

        Returns
        -------
        TokenRegressor
            This object.

        Raises
        ------
        InvalidArgument
            If shapes do not fit, numbers are not finite, or too few stimuli are held out.
        """
        X, y = _tokens(X), finite(y, "responses", "stimulus", "unit")
        n_held = round(self.validation * len(X))
        if len(X) != len(y) or n_held < 3 or len(X) - n_held < 2:
            raise InvalidArgument(
                f"{len(X)} tokens and {len(y)} responses with {n_held} of them held out: they must "
                "be as many, with 3 or more held out and 2 or more left"
            )
        if min(self.epochs, self.patience) < 1:
            raise InvalidArgument("epochs and patience must be 1 or more")
        self._token_mean, self._token_scale = _moments(X, axis=(0, 1))
        self._mean, self._scale = _moments(y, axis=0)
        self.device_ = device(self.device)
        self.readout_ = copy.deepcopy(self.readout).to(self.device_)
        self.n_features_in_ = X.shape[2]
        order = torch.from_numpy(spawn(self.seed, "held out").permutation(len(X)))
        held, used = order[:n_held], order[n_held:]
        tokens = self.standardised(X)
        responses = torch.as_tensor((y - self._mean) / self._scale, dtype=torch.float32)
        if (shape := self._predicted(tokens[:1]).shape[1:]) != responses.shape[1:]:
            raise InvalidArgument(
                f"the readout predicts {tuple(shape)} units, and there are "
                f"{responses.shape[1]} in the responses"
            )
        self._train(tokens[used], responses[used], tokens[held], responses[held])
        return self

    def predict(self, X: Tokens) -> Responses:
        """Predict responses.

        Parameters
        ----------
        X : array of shape (stimulus, token, width)
            Tokens.

        Returns
        -------
        array of shape (stimulus, unit)
            Responses, in their own unit of measurement.

        Raises
        ------
        InvalidArgument
            If the tokens have another width or are not finite.
        """
        check_is_fitted(self)
        predicted = self._predicted(self.standardised(_tokens(X)))
        return predicted.double().numpy() * self._scale + self._mean

    def standardised(self, X: Tokens) -> Float[Tensor, "stimulus token width"]:
        """Tokens as `readout_` wants them, for its other methods such as ``attention``.

        Parameters
        ----------
        X : array of shape (stimulus, token, width)
            Tokens.

        Returns
        -------
        Float[Tensor, "stimulus token width"]
            With the mean and variance of the training tokens taken out.

        Raises
        ------
        InvalidArgument
            If the tokens have another width.
        """
        if X.shape[2] != len(self._token_mean):
            raise InvalidArgument(
                f"tokens have {X.shape[2]} features, fitted were {len(self._token_mean)}"
            )
        return torch.as_tensor((X - self._token_mean) / self._token_scale, dtype=torch.float32)

    def _train(self, x: Tensor, y: Tensor, x_held: Tensor, y_held: Tensor) -> None:
        module, best, since = self.readout_, -np.inf, 0
        parameters = [p for p in module.parameters() if p.requires_grad]
        adam = torch.optim.AdamW(parameters, lr=self.lr, weight_decay=self.weight_decay)

        def loss(module: nn.Module, batch: Any) -> Tensor:
            tokens, responses = (part.to(self.device_) for part in batch)
            return F.mse_loss(module(tokens), responses)

        batches = minibatches(x, y, size=self.batch_size)
        for epoch in range(self.epochs):
            seed = derive(self.seed, "epoch", epoch)
            fit(module, loss, batches, optimizer=adam, epochs=1, seed=seed)
            scores = _correlation(self._predicted(x_held), y_held)
            if scores.mean() > best:
                best, since = float(scores.mean()), 0
                kept = copy.deepcopy(module.state_dict())
                self.validation_scores_, self.n_epochs_ = scores, epoch + 1
            elif (since := since + 1) >= self.patience:
                break
        module.load_state_dict(kept)
        module.eval()

    @torch.no_grad()
    def _predicted(self, tokens: Tensor) -> Tensor:
        module = self.readout_.eval()
        parts = tokens.split(max(256, self.batch_size))
        return torch.cat([module(part.to(self.device_)).cpu() for part in parts])


def _tokens(x: Any) -> Any:
    return finite(x, "tokens", "stimulus", "token", "width")


def _moments(x: Any, axis: int | tuple[int, ...]) -> tuple[Any, Any]:
    """Mean and standard deviation; 1 where nothing varies."""
    scale = x.std(axis=axis)
    return x.mean(axis=axis), np.where(scale > 0, scale, 1.0)


def _correlation(predicted: Tensor, measured: Tensor) -> Float[np.ndarray, " unit"]:
    """Pearson correlation of each unit; 0 where nothing varies."""
    a = (predicted - predicted.mean(0)).double().numpy()
    b = (measured - measured.mean(0)).double().numpy()
    lengths = np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))
    return (a * b).sum(axis=0) / np.where(lengths > 0, lengths, 1.0)
