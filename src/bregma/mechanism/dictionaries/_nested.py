"""Nested dictionaries: the first features have to do without the later ones."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor

from bregma.errors import InvalidArgument
from bregma.mechanism.dictionaries._autoencoder import DictionaryLoss, SparseAutoencoder
from bregma.mechanism.dictionaries._codes import SparseCode


class NestedAutoencoder(SparseAutoencoder):
    r"""A sparse autoencoder whose first features also have to reconstruct alone (Matryoshka).

    The squared error is the mean over prefixes m of |D_m^T z_m + b - x|^2, with the first m
    features only, so that general features come first and are not absorbed by special ones. In use
    it is a `SparseAutoencoder`.

    Parameters
    ----------
    n_inputs : int
        Length of x.
    prefixes : sequence of int
        How many features each of the nested dictionaries has, in rising order; the last number is
        that of all features.
    code : SparseCode
        As for `SparseAutoencoder`, with a linear encoder.
    seed : int
        Draws the features.

    Raises
    ------
    InvalidArgument
        If prefixes do not rise, or the code chooses features by what is left.

    References
    ----------
    Bussmann, Nabeshima, Karvonen and Nanda (2025), Learning multi-level features with Matryoshka
    sparse autoencoders.

    Examples
    --------
    >>> import torch
    >>> from bregma.mechanism import NestedAutoencoder, TopKCode
    >>> sae = NestedAutoencoder(16, [8, 64], TopKCode(4), seed=0)
    >>> sae(torch.randn(10, 16)).shape, sae.n_features
    (torch.Size([10, 16]), 64)
    """

    def __init__(
        self, n_inputs: int, prefixes: Sequence[int], code: SparseCode, *, seed: int
    ) -> None:
        if not prefixes or prefixes[0] < 1 or any(b <= a for a, b in pairwise(prefixes)):
            raise InvalidArgument(f"prefixes must rise, from 1 or more, not {list(prefixes)}")
        if code.selects_itself:
            raise InvalidArgument(
                f"{type(code).__name__} chooses features by what others left over, so that none "
                "can be left out afterwards; use a code with a linear encoder"
            )
        super().__init__(n_inputs, prefixes[-1], code, seed=seed)
        self.prefixes = tuple(prefixes)

    def loss(
        self, x: Float[Tensor, "sample input"], y: Float[Tensor, "sample output"] | None = None
    ) -> DictionaryLoss:
        whole = super().loss(x, y)
        y, code, n = x if y is None else y, whole.code, len(self.prefixes)
        errors = [
            (code[:, :m] @ self.decoder[:m] + self.bias - y).square().sum(-1).mean()
            for m in self.prefixes
        ]
        return DictionaryLoss(whole.total - errors[-1] + sum(errors) / n, code)
