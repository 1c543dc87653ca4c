"""Tokens at places as vectors."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from bregma.errors import InvalidArgument
from bregma.run import spawn_torch


class TokenEmbedding(nn.Module):
    """A learned vector for every token plus one for every place.

    Parameters
    ----------
    n_tokens : int
        How many different tokens.
    n_places : int
        Length of the longest input.
    width : int
        Length of the vectors.
    seed : int
        Of the first vectors: standard normal.

    Raises
    ------
    InvalidArgument
        A number below 1.

    Examples
    --------
    >>> TokenEmbedding(2, 8, 16)(torch.zeros(3, 5, dtype=torch.int64)).shape
    torch.Size([3, 5, 16])
    """

    def __init__(self, n_tokens: int, n_places: int, width: int, *, seed: int = 0) -> None:
        super().__init__()
        if min(n_tokens, n_places, width) < 1:
            raise InvalidArgument(
                f"n_tokens, n_places and width must be 1 or more, "
                f"not {n_tokens}, {n_places}, {width}"
            )
        rng = spawn_torch(seed, "TokenEmbedding")
        self.token = nn.Parameter(torch.randn(n_tokens, width, generator=rng))
        self.place = nn.Parameter(torch.randn(n_places, width, generator=rng))

    def forward(self, tokens: Int[Tensor, "batch place"]) -> Float[Tensor, "batch place width"]:
        """Look the vectors up.

        Parameters
        ----------
        tokens : Int[Tensor, "batch place"]
            Whole numbers below `n_tokens`.

        Returns
        -------
        Float[Tensor, "batch place width"]
            Sums of the vectors of token and place.

        Raises
        ------
        InvalidArgument
            Inputs longer than `n_places`, empty ones, or numbers that are no tokens.
        """
        if 0 in tokens.shape:
            raise InvalidArgument(f"tokens of the shape {tuple(tokens.shape)} are none")
        if tokens.shape[1] > len(self.place):
            raise InvalidArgument(
                f"there are vectors for {len(self.place)} places, not {tokens.shape[1]}"
            )
        check_tokens(tokens, len(self.token))
        return nn.functional.embedding(tokens, self.token) + self.place[: tokens.shape[1]]


def check_tokens(tokens: Tensor, n_tokens: int) -> None:
    """Refuse numbers that are no tokens."""
    low, high = int(tokens.min()), int(tokens.max())
    if low < 0 or high >= n_tokens:
        raise InvalidArgument(f"tokens must be from 0 to {n_tokens - 1}: {low} to {high}")
