"""A readout in which each cortical area asks for what it needs: cross-attention to patch tokens."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from bregma.encoding._positions import sine_positions
from bregma.encoding._unit_readout import UnitReadout, normal_
from bregma.errors import InvalidArgument
from bregma.run import spawn_torch


class AttentionReadout(nn.Module):
    """Responses of units from the tokens of an image, routed by one query for each area.

    With tokens x_t at the places t, codes p_t of the places, and the query q_r of an area::

        A_rt = softmax_t(q_r . (W_k x_t + W_p p_t) / sqrt(width))
        o_r  = sum_t A_rt (W_v x_t + b)
        y_v  = w_v . o_r(v) + b_v

    so an area may look for content (wherever it is), at a place (whatever is there), or both: a
    receptive field that moves with the image. Give every unit an area of its own for one query per
    unit. Keys of place have weights of their own; the same weights as for content (W_p = W_k) are
    a special case, which fails where the content fills all directions of the tokens.

    Parameters
    ----------
    width : int
        Features of a token; a multiple of `heads`.
    areas : sequence of hashable
        The area of every unit.
    grid : tuple of int, optional
        Rows and columns of the tokens. None for tokens without a place (words, or as a control).
    heads : int
        Number of attention heads, each with a part of the query and of the features.
    hidden : int
        Units of a feed-forward layer behind the attention, with a residual connection; 0 for none.
        With it an area can ignore what it found where nothing fits its query.
    seed : int
        Of the first weights.

    Raises
    ------
    InvalidArgument
        If a number is out of range or there is no unit.

    References
    ----------
    Adeli, Sun and Kriegeskorte (2025), Transformer brain encoders explain human high-level visual
    responses. arXiv:2505.17329.
    Carion et al. (2020), End-to-end object detection with transformers.

    Examples
    --------
    >>> readout = AttentionReadout(8, areas=["V1", "V1", "FFA"], grid=(3, 4), seed=0)
    >>> tokens = torch.zeros(5, 12, 8)
    >>> readout(tokens).shape, readout.attention(tokens).shape
    (torch.Size([5, 3]), torch.Size([5, 2, 12]))
    """

    place: Tensor | None

    def __init__(
        self,
        width: int,
        areas: Sequence[Hashable],
        *,
        grid: tuple[int, int] | None,
        heads: int = 1,
        hidden: int = 0,
        seed: int,
    ) -> None:
        super().__init__()
        if min(width, heads) < 1 or width % heads:
            raise InvalidArgument(f"width {width} must be a multiple of {heads} heads")
        self.width, self.heads, self.grid = width, heads, grid
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width)
        self.register_buffer("place", sine_positions(*grid, width) if grid else None)
        self.place_key = nn.Linear(width, width, bias=False) if grid else None
        generator = spawn_torch(seed, "attention readout")
        normal_(self, generator)
        self.units = UnitReadout(width, areas, hidden, generator)
        self.query = nn.Parameter(torch.empty(len(self.units.names), width))
        nn.init.normal_(self.query, generator=generator)

    @property
    def areas(self) -> tuple[Hashable, ...]:
        """The areas, in the order of their queries and attention maps."""
        return self.units.names

    def forward(self, tokens: Float[Tensor, "scene token width"]) -> Float[Tensor, "scene unit"]:
        """Predict responses.

        Parameters
        ----------
        tokens : Float[Tensor, "scene token width"]
            Tokens of images, row by row, each feature of about unit variance.

        Returns
        -------
        Float[Tensor, "scene unit"]
            Responses.

        Raises
        ------
        InvalidArgument
            If the tokens have another width or do not fill the grid.
        """
        query, key = self._queries_and_keys(tokens)
        gathered = F.scaled_dot_product_attention(query, key, self._split(self.value(tokens)))
        return self.units(gathered.transpose(1, 2).flatten(2))

    def attention(
        self, tokens: Float[Tensor, "scene token width"]
    ) -> Float[Tensor, "scene area token"]:
        """Where the areas look.

        Parameters
        ----------
        tokens : Float[Tensor, "scene token width"]
            Tokens of images.

        Returns
        -------
        Float[Tensor, "scene area token"]
            Attention, averaged over heads; it sums to 1 over the tokens.

        Raises
        ------
        InvalidArgument
            If the tokens have another width or do not fill the grid.
        """
        query, key = self._queries_and_keys(tokens)
        logits = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
        return logits.softmax(dim=-1).mean(dim=1)

    def _queries_and_keys(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """(scene, head, area, feature) and (scene, head, token, feature)."""
        n_tokens = None if self.grid is None else self.grid[0] * self.grid[1]
        if tokens.ndim != 3 or tokens.shape[2] != self.width or 0 in tokens.shape:
            raise InvalidArgument(
                f"tokens must be (scene, token, {self.width}), not {tuple(tokens.shape)}"
            )
        if n_tokens is not None and tokens.shape[1] != n_tokens:
            raise InvalidArgument(
                f"{tokens.shape[1]} tokens do not fill the grid {self.grid}; leave out class and "
                "register tokens (see patch_tokens)"
            )
        key = self.key(tokens)
        if self.place_key is not None:
            key = key + self.place_key(self.place)
        query = self.query.expand(len(tokens), -1, -1)
        return self._split(query), self._split(key)

    def _split(self, x: Tensor) -> Tensor:
        """(scene, n, width) -> (scene, head, n, feature)."""
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)
