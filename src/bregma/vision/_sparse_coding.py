"""Sparse coding: a dictionary learned together with its codes, as a scikit-learn transformer."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from bregma.errors import InvalidArgument
from bregma.run import spawn_torch
from bregma.vision._penalties import HardPenalty, Penalty, SoftPenalty
from bregma.vision._sparse_code import sparse_code


class SparseCoding(TransformerMixin, BaseEstimator):
    r"""Dictionary of atoms of unit length, by turns of coding a batch and a step of gradient.

    D <- D + eta (Y - A D^T)^T A / n, then every atom is scaled to length 1. Codes of other
    penalties than `SoftPenalty` start from a soft one, as in `warm_code`: non-convex ones need it.

    Parameters
    ----------
    n_atoms : int
        Atoms; more than there are pixels makes the code overcomplete.
    penalty : Penalty, optional
        ``HardPenalty(0.1)`` by default.
    epochs : int
        How often to go through the signals.
    batch_size : int
        Signals per step of the dictionary.
    rate : float
        eta, relative to the mean square of the most active coefficient.
    steps : int
        Steps of proximal descent for each code.
    seed : int
        Draws the first dictionary (normal numbers) and the batches.
    device : str
        Where to compute.

    Attributes
    ----------
    dictionary_ : ndarray (atom, pixel)
        The atoms.

    References
    ----------
    Olshausen and Field (1996), Emergence of simple-cell receptive field properties by learning a
    sparse code for natural images.

    Examples
    --------
    >>> patches = np.random.default_rng(0).standard_normal((200, 16))
    >>> SparseCoding(32, epochs=1).fit(patches).transform(patches).shape
    (200, 32)
    """

    def __init__(
        self,
        n_atoms: int = 128,
        penalty: Penalty | None = None,
        *,
        epochs: int = 10,
        batch_size: int = 100,
        rate: float = 0.5,
        steps: int = 50,
        seed: int = 0,
        device: str = "cpu",
    ) -> None:
        self.n_atoms, self.penalty = n_atoms, penalty
        self.epochs, self.batch_size, self.rate, self.steps = epochs, batch_size, rate, steps
        self.seed, self.device = seed, device

    def fit(self, X: Float[np.ndarray, "signal pixel"], y: None = None) -> SparseCoding:
        """Learn the dictionary.

        Parameters
        ----------
        X : ndarray (signal, pixel)
            Signals, such as whitened patches of images.
        y : None
            Not used.

        Returns
        -------
        SparseCoding
            Itself.

        Raises
        ------
        InvalidArgument
            If a setting is out of range.
        """
        if min(self.n_atoms, self.epochs, self.batch_size, self.steps) < 1 or not self.rate > 0:
            raise InvalidArgument("atoms, epochs, batch_size, steps and rate must be above 0")
        signals = self._checked(X, reset=True)
        generator = spawn_torch(self.seed, "sparse coding")
        atoms = torch.randn(signals.shape[1], self.n_atoms, generator=generator).to(signals)
        atoms /= atoms.norm(dim=0)
        for _ in range(self.epochs):
            for rows in torch.randperm(len(signals), generator=generator).split(self.batch_size):
                batch = signals[rows.to(signals.device)]
                code = self._code(batch, atoms)
                power = code.square().mean(0).max().clamp_min(1e-12)
                error = batch - code @ atoms.T
                atoms = atoms + self.rate * error.T @ code / (len(batch) * power)
                atoms /= atoms.norm(dim=0)
        self.dictionary_ = atoms.T.cpu().numpy()
        return self

    def transform(self, X: Float[np.ndarray, "signal pixel"]) -> Float[np.ndarray, "signal atom"]:
        """Code signals.

        Parameters
        ----------
        X : ndarray (signal, pixel)
            Signals.

        Returns
        -------
        ndarray (signal, atom)
            Their codes.
        """
        check_is_fitted(self)
        signals = self._checked(X, reset=False)
        atoms = torch.as_tensor(self.dictionary_.T).to(signals)
        return self._code(signals, atoms).cpu().numpy()

    def inverse_transform(
        self, X: Float[np.ndarray, "signal atom"]
    ) -> Float[np.ndarray, "signal pixel"]:
        """Signals that codes stand for.

        Parameters
        ----------
        X : ndarray (signal, atom)
            Codes.

        Returns
        -------
        ndarray (signal, pixel)
            Reconstructions.
        """
        check_is_fitted(self)
        return np.asarray(X) @ self.dictionary_

    def _code(self, signals: Tensor, atoms: Tensor) -> Tensor:
        penalty = HardPenalty(0.1) if self.penalty is None else self.penalty
        if isinstance(penalty, SoftPenalty):
            return sparse_code(signals, atoms, penalty, steps=self.steps)
        return warm_code(signals, atoms, lambda _: penalty, penalty.strength, steps=self.steps)

    def _checked(self, X: Float[np.ndarray, "signal pixel"], *, reset: bool) -> Tensor:
        X = validate_data(self, X, dtype=np.float64, reset=reset)
        return torch.as_tensor(X, dtype=torch.float32, device=self.device)


def warm_code(
    signals: Tensor,
    dictionary: Tensor,
    penalty: Callable[[float], Penalty],
    strength: float,
    *,
    steps: int = 200,
) -> Tensor:
    """A code that starts from a soft one of half the hard threshold: sqrt(2 lambda) / 2.

    Parameters
    ----------
    signals : Tensor (signal, pixel)
        y.
    dictionary : Tensor (pixel, atom)
        D, with atoms of length 1.
    penalty : callable
        Makes the penalty of a strength, such as the class `HardPenalty`.
    strength : float
        lambda.
    steps : int
        Steps of each descent at most.

    Returns
    -------
    Tensor (signal, atom)
        The code.
    """
    soft = SoftPenalty(0.5 * (2 * strength) ** 0.5)
    start = sparse_code(signals, dictionary, soft, steps=steps)
    return sparse_code(signals, dictionary, penalty(strength), start=start, steps=steps)
