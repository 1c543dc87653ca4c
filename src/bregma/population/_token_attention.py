"""Attention of tokens to themselves or to others, whose keys and values can be kept."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

KeysValues = tuple[Tensor, Tensor]


class AttentionBlock(nn.Module):
    """Attention and then a perceptron, each added to the tokens; norms come first.

    Keys and values are made apart from the queries: once for what stays the same, and token by
    token where tokens are added.

    Parameters
    ----------
    width : int
        Features of a token.
    heads : int
        How many heads share them.
    dropout : float
        Share of what the block adds that is left out in training.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm, self.norm_keys = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key_value = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.write, self.dropout = nn.Linear(width, width), nn.Dropout(dropout)
        self.norm_wide = nn.LayerNorm(width)
        self.widen, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def keys_values(self, tokens: Float[Tensor, "batch key width"]) -> KeysValues:
        """What can be attended to.

        Parameters
        ----------
        tokens : Float[Tensor, "batch key width"]
            Any tokens.

        Returns
        -------
        tuple of Tensor
            Keys and values, each (batch, head, key, feature).
        """
        parts = self.key_value(self.norm_keys(tokens)).unflatten(-1, (2, self.heads, -1))
        keys, values = parts.permute(2, 0, 3, 1, 4)
        return keys, values

    def forward(
        self,
        x: Float[Tensor, "batch query width"],
        keys_values: KeysValues,
        visible: Bool[Tensor, "*batch query key"],
    ) -> Float[Tensor, "batch query width"]:
        """Tokens with what they read from others.

        Parameters
        ----------
        x : Float[Tensor, "batch query width"]
            Tokens.
        keys_values : tuple of Tensor
            From `keys_values`.
        visible : Bool[Tensor, "*batch query key"]
            Who may look at what.

        Returns
        -------
        Float[Tensor, "batch query width"]
            As many tokens.
        """
        mask = visible if visible.ndim == 2 else visible[:, None]
        read = scaled_dot_product_attention(self._queries(x), *keys_values, attn_mask=mask)
        x = x + self.dropout(self.write(read.transpose(1, 2).flatten(2)))
        return x + self.dropout(self.narrow(gelu(self.widen(self.norm_wide(x)))))

    def weights(
        self,
        x: Float[Tensor, "batch query width"],
        keys_values: KeysValues,
        visible: Bool[Tensor, "batch query key"],
    ) -> Float[Tensor, "batch head query key"]:
        """How much each token looks at each key.

        Parameters
        ----------
        x, keys_values, visible
            As in `forward`.

        Returns
        -------
        Float[Tensor, "batch head query key"]
            Sums to 1 over keys.
        """
        q, k = self._queries(x), keys_values[0]
        scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
        return scores.masked_fill(~visible[:, None], -torch.inf).softmax(-1)

    def _queries(self, x: Tensor) -> Tensor:
        return self.query(self.norm(x)).unflatten(-1, (self.heads, -1)).transpose(1, 2)
