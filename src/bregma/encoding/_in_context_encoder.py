"""A transformer that reads images with responses and writes the linear encoder of a new voxel."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from bregma.errors import InvalidArgument
from bregma.run import spawn_torch


class InContextEncoder(nn.Module):
    """Weights of a linear encoder from a context of embeddings and responses, without fitting.

    One task is one voxel, its context a set of pairs of the embedding x_i of an image and the
    response y_i to it. Every pair becomes a token; register tokens join them; blocks of attention
    mix them; the first register gives the weights::

        t_i = MLP([x_i; y_i]),    t = (r_1 .. r_k, t_1 .. t_n)
        t   = t + Attention(log(n + k) q, k, v)(LN t),    t = t + SwiGLU(LN t)
        (w, c) = MLP(LN t_r1),    predicted response to an image x: w . x + c

    There is no code of positions: the order of the context has no meaning. Queries grow with the
    logarithm of the number of tokens, which is meant to keep attention sharp in contexts longer
    than those of the training. Train it on many voxels of several subjects (`episodes`,
    `in_context_loss`); embeddings and responses should have about unit variance.

    Parameters
    ----------
    features : int
        Length of an embedding.
    width : int
        Length of a token; a multiple of `heads`.
    layers : int
        Number of blocks.
    heads : int
        Attention heads of a block.
    hidden : int
        Hidden units of the SwiGLU and of the two MLPs.
    registers : int
        Register tokens, 1 or more.
    length_scaling : bool
        Whether queries are scaled with the logarithm of the number of tokens.
    seed : int
        Of the first weights.

    Raises
    ------
    InvalidArgument
        If a number is below 1 or the width is no multiple of the heads.

    References
    ----------
    Yu et al. (2025), Meta-learning an in-context transformer model of human higher visual cortex.
    arXiv:2505.15813.
    Chiang and Cholak (2022), Overcoming a theoretical limitation of self-attention (scaling with
    the logarithm of the length).
    Darcet et al. (2024), Vision transformers need registers.

    Examples
    --------
    >>> encoder = InContextEncoder(8, width=16, layers=1, heads=2, hidden=16, seed=0)
    >>> x, y, new = torch.randn(5, 20, 8), torch.randn(5, 20), torch.randn(5, 3, 8)
    >>> encoder.weights(x, y).shape, encoder(x, y, new).shape
    (torch.Size([5, 9]), torch.Size([5, 3]))
    """

    def __init__(
        self,
        features: int,
        *,
        width: int = 64,
        layers: int = 3,
        heads: int = 4,
        hidden: int = 128,
        registers: int = 4,
        length_scaling: bool = True,
        seed: int,
    ) -> None:
        super().__init__()
        if min(features, width, layers, heads, hidden, registers) < 1 or width % heads:
            raise InvalidArgument(
                f"features, width, layers, heads, hidden and registers must be 1 or more, and the "
                f"width a multiple of the heads; not {features}, {width}, {layers}, {heads}, "
                f"{hidden} and {registers}"
            )
        self.features = features
        self.read = _ResidualMLP(features + 1, hidden, width)
        self.register = nn.Parameter(torch.empty(registers, width))
        self.blocks = nn.ModuleList(
            _Block(width, heads, hidden, length_scaling) for _ in range(layers)
        )
        self.write = nn.Sequential(nn.LayerNorm(width), _ResidualMLP(width, hidden, features + 1))
        generator = spawn_torch(seed, "in-context encoder")
        nn.init.normal_(self.register, std=width**-0.5, generator=generator)
        for part in self.modules():
            if isinstance(part, nn.Linear):  # as PyTorch does, with a generator of our own
                bound = part.in_features**-0.5
                nn.init.uniform_(part.weight, -bound, bound, generator=generator)
                nn.init.uniform_(part.bias, -bound, bound, generator=generator)

    def weights(
        self, x: Float[Tensor, "task context feature"], y: Float[Tensor, "task context"]
    ) -> Float[Tensor, "task feature_and_1"]:
        """Write the encoder of each task.

        Parameters
        ----------
        x : Float[Tensor, "task context feature"]
            Embeddings of the images that were seen.
        y : Float[Tensor, "task context"]
            Responses to them.

        Returns
        -------
        Float[Tensor, "task feature_and_1"]
            Weights of the features and, last, the constant.

        Raises
        ------
        InvalidArgument
            If shapes do not fit or the context is empty.
        """
        if x.ndim != 3 or x.shape[2] != self.features or x.shape[:2] != y.shape or 0 in x.shape:
            raise InvalidArgument(
                f"the context must be (task, image, {self.features}) and (task, image) with one "
                f"image or more, not {tuple(x.shape)} and {tuple(y.shape)}"
            )
        pairs = self.read(torch.cat([x, y[..., None]], dim=2))
        tokens = torch.cat([self.register.expand(len(x), -1, -1), pairs], dim=1)
        for block in self.blocks:
            tokens = block(tokens)
        return self.write(tokens[:, 0])

    def forward(
        self,
        x: Float[Tensor, "task context feature"],
        y: Float[Tensor, "task context"],
        new: Float[Tensor, "task query feature"],
    ) -> Float[Tensor, "task query"]:
        """Predict responses to new images.

        Parameters
        ----------
        x, y : Float[Tensor, "task context feature"], Float[Tensor, "task context"]
            The context.
        new : Float[Tensor, "task query feature"]
            Embeddings of other images.

        Returns
        -------
        Float[Tensor, "task query"]
            Responses.

        Raises
        ------
        InvalidArgument
            If shapes do not fit or the context is empty.
        """
        written = self.weights(x, y)
        if new.ndim != 3 or new.shape[::2] != (len(x), self.features):
            raise InvalidArgument(
                f"new images must be ({len(x)}, image, {self.features}), not {tuple(new.shape)}"
            )
        return torch.einsum("tqf,tf->tq", new, written[:, :-1]) + written[:, -1:]


def in_context_loss(
    encoder: InContextEncoder, episode: tuple[Tensor, Tensor, Tensor, Tensor]
) -> Float[Tensor, ""]:
    """Mean squared error of the predictions for new images, as `bregma.run.fit` wants it.

    Parameters
    ----------
    encoder : InContextEncoder
        The encoder.
    episode : tuple of Tensor
        Embeddings (task, context, feature) and responses (task, context) of the context, embeddings
        (task, query, feature) and responses (task, query) of the new images, such as `episodes`
        makes.

    Returns
    -------
    Float[Tensor, ""]
        The error.
    """
    where = encoder.register.device
    x, y, new, target = (part.to(where) for part in episode)
    return F.mse_loss(encoder(x, y, new), target)


class _ResidualMLP(nn.Module):
    def __init__(self, before: int, hidden: int, after: int) -> None:
        super().__init__()
        self.straight = nn.Linear(before, after)
        self.bent = nn.Sequential(
            nn.Linear(before, hidden), nn.LeakyReLU(0.1), nn.Linear(hidden, after)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.straight(x) + self.bent(x)


class _Block(nn.Module):
    """Attention and SwiGLU, each behind a layer normalisation and beside a straight path."""

    def __init__(self, width: int, heads: int, hidden: int, length_scaling: bool) -> None:
        super().__init__()
        self.heads, self.length_scaling = heads, length_scaling
        self.before_attention, self.before_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.mixed = nn.Linear(width, width)
        self.gate_up = nn.Linear(width, 2 * hidden)
        self.down = nn.Linear(hidden, width)

    def forward(self, t: Tensor) -> Tensor:
        t = t + self._attention(self.before_attention(t))
        gate, up = self.gate_up(self.before_mlp(t)).chunk(2, dim=-1)
        return t + self.down(F.silu(gate) * up)

    def _attention(self, t: Tensor) -> Tensor:
        task, token, width = t.shape
        qkv = self.qkv(t).view(task, token, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (task, head, token, feature)
        if self.length_scaling:
            q = q * math.log(token)
        seen = F.scaled_dot_product_attention(q, k, v)
        return self.mixed(seen.transpose(1, 2).reshape(task, token, width))
