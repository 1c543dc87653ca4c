"""A transformer of attention alone, in which every intermediate step is a part with a name."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from bregma.errors import InvalidArgument
from bregma.run import derive, private_randomness, spawn_torch


class AttentionLayer(nn.Module):
    """Causal attention with rotary positions; its steps can be listened to and clamped.

    Parts without parameters hand on what they get: ``query``, ``key`` and ``value`` (batch, head,
    token, feature), ``score`` and ``pattern`` (batch, head, query, key), ``head`` (batch, head,
    token, feature): what each head reads, before it is written back.

    Parameters
    ----------
    width : int
        Features of the residual stream.
    heads : int
        How many heads; `width` is a multiple of twice of it.

    References
    ----------
    Vaswani et al. (2017), Attention is all you need. Su et al. (2021), RoFormer: enhanced
    transformer with rotary position embedding.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % (2 * heads):
            raise InvalidArgument(f"width {width} is no multiple of 2 x {heads} heads")
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.project = nn.Linear(width, 3 * width, bias=False)
        self.write = nn.Linear(width, width, bias=False)
        self.query, self.key, self.value = nn.Identity(), nn.Identity(), nn.Identity()
        self.score, self.pattern, self.head = nn.Identity(), nn.Identity(), nn.Identity()

    def forward(self, x: Float[Tensor, "batch token width"]) -> Float[Tensor, "batch token width"]:
        """What the heads write to the residual stream.

        Parameters
        ----------
        x : Tensor
            The residual stream.

        Returns
        -------
        Tensor
            To be added to it.
        """
        batch, token, width = x.shape
        split = self.project(self.norm(x)).reshape(batch, token, 3, self.heads, -1)
        q, k, v = split.permute(2, 0, 3, 1, 4)  # each (batch, head, token, feature)
        q, k, v = self.query(rotated(q)), self.key(rotated(k)), self.value(v)
        score = self.score(q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5)
        later = torch.ones(token, token, dtype=torch.bool, device=x.device).triu(1)
        pattern = self.pattern(score.masked_fill(later, float("-inf")).softmax(-1))
        return self.write(self.head(pattern @ v).transpose(1, 2).reshape(batch, token, width))


class AttentionOnlyTransformer(nn.Module):
    """Tokens to scores of answers at the last token: embedding, layers of attention, readout.

    Parameters
    ----------
    n_tokens : int
        How many different tokens.
    n_answers : int
        How many different answers.
    width : int
        Features of the residual stream.
    heads : int
        Heads of each layer.
    layers : int
        How many layers.
    seed : int
        Draws the weights.

    Raises
    ------
    InvalidArgument
        If the width is no multiple of twice the heads.

    References
    ----------
    Elhage et al. (2021), A mathematical framework for transformer circuits.

    Examples
    --------
    >>> net = AttentionOnlyTransformer(10, 5, width=16, heads=2, seed=0)
    >>> net(torch.zeros(3, 4, dtype=torch.int64)).shape
    torch.Size([3, 5])
    """

    def __init__(
        self,
        n_tokens: int,
        n_answers: int,
        *,
        width: int = 64,
        heads: int = 8,
        layers: int = 2,
        seed: int,
    ) -> None:
        super().__init__()
        # All weights are drawn below: nothing is taken from the global generator.
        with private_randomness(derive(seed, "AttentionOnlyTransformer")):
            self.embed = nn.Embedding(n_tokens, width)
            self.layers = nn.ModuleList(AttentionLayer(width, heads) for _ in range(layers))
            self.norm, self.read = nn.LayerNorm(width), nn.Linear(width, n_answers)
        rng = spawn_torch(seed, "AttentionOnlyTransformer")
        with torch.no_grad():
            self.embed.weight.normal_(generator=rng)
            self.read.bias.zero_()
            for name, weight in self.named_parameters():
                if weight.ndim == 2 and name != "embed.weight":
                    weight.normal_(std=weight.shape[1] ** -0.5, generator=rng)

    def forward(self, tokens: Int[Tensor, "batch token"]) -> Float[Tensor, "batch answer"]:
        """Scores of the answers.

        Parameters
        ----------
        tokens : Tensor
            A sequence per row.

        Returns
        -------
        Tensor
            Scores at the last token.
        """
        x = self.embed(tokens)
        for layer in self.layers:
            x = x + layer(x)
        return self.read(self.norm(x[:, -1]))


def rotated(
    x: Float[Tensor, "batch head token feature"],
) -> Float[Tensor, "batch head token feature"]:
    """Turn pairs of features by angles that grow with the position: products see distances."""
    token, feature = x.shape[-2:]
    place = torch.arange(token, device=x.device, dtype=x.dtype)
    slow = 10_000 ** -(torch.arange(0, feature, 2, device=x.device, dtype=x.dtype) / feature)
    angle = place[:, None] * slow
    even, odd = x[..., ::2], x[..., 1::2]
    turned = even * angle.cos() - odd * angle.sin(), even * angle.sin() + odd * angle.cos()
    return torch.stack(turned, -1).flatten(-2)
