"""A transformer as one stream of vectors that heads and perceptrons read from and write to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

Vectors = Float[Tensor, "batch token width"]
Heads = Float[Tensor, "batch head token feature"]
Queries = Float[Tensor, "batch head query feature"]
Keys = Float[Tensor, "batch group token feature"]
Values = Float[Tensor, "batch group token value"]
Map = Callable[[Tensor], Tensor]
# Cosines and sines of the angles by which features are turned, (token, turned feature).
Angles = Callable[[Tensor], tuple[Tensor, Tensor]]


def same(x: Tensor) -> Tensor:
    """What it is given."""
    return x


@dataclass(frozen=True)
class Projection:
    """Vectors to features of each head: the weights of a model's own layer, not a copy of them.

    Parameters
    ----------
    weight : Tensor (width, group, feature)
        A group is one head, or several that share keys or values.
    bias : Tensor (group, feature), optional
        Added.
    norm : callable
        Applied to the features of each head.
    """

    weight: Float[Tensor, "width group feature"]
    bias: Float[Tensor, "group feature"] | None = None
    norm: Map = same

    def __call__(self, x: Vectors) -> Heads:
        """All heads read the same vectors."""
        _, group, feature = self.weight.shape
        y = (x @ self.weight.flatten(1)).unflatten(-1, (group, feature))
        return self._done(y).transpose(1, 2)

    def apart(
        self, x: Float[Tensor, "batch head token width"]
    ) -> Float[Tensor, "batch head token feature"]:
        """Each head reads vectors of its own."""
        n = x.shape[1] // self.weight.shape[1]
        weight = self.weight if n == 1 else self.weight.repeat_interleave(n, 1)
        y = torch.einsum("bhtd,dhe->bthe", x, weight)
        return self._done(y, n).transpose(1, 2)

    def _done(self, y: Tensor, n: int = 1) -> Tensor:
        return self.norm(y if self.bias is None else y + self.bias.repeat_interleave(n, 0))


@dataclass(frozen=True)
class Attention:
    """The heads of one layer.

    Parameters
    ----------
    norm : callable
        What the vectors go through before they are read.
    query, key, value : Projection
        What heads read.
    out : Tensor (head, feature, width)
        What heads write.
    bias : Tensor (width), optional
        Written whatever the heads do.
    scale : float
        Of products of queries and keys.
    causal : bool
        Whether tokens see those before them alone.
    angles : callable, optional
        Of rotary positions; None where positions are not turned.
    """

    norm: Map
    query: Projection
    key: Projection
    value: Projection
    out: Float[Tensor, "head feature width"]
    bias: Float[Tensor, " width"] | None
    scale: float
    causal: bool
    angles: Angles | None = None

    @property
    def n_heads(self) -> int:
        """How many heads."""
        return self.out.shape[0]

    def read(self, x: Vectors, at: int | None = None) -> Float[Tensor, "batch head query value"]:
        """What each head gathers; at one token alone where that is asked."""
        x = self.norm(x)
        seen = x if at is None else x[:, at, None]
        return self.attend(self.query(seen), self.key(x), self.value(x), x, at)

    def read_apart(
        self,
        query: Float[Tensor, "batch head token width"],
        key: Float[Tensor, "batch head token width"],
        value: Float[Tensor, "batch head token width"],
    ) -> Heads:
        """What each head gathers where queries, keys and values see vectors of their own."""
        q, k, v = (
            part.apart(self.norm(x))
            for part, x in ((self.query, query), (self.key, key), (self.value, value))
        )
        return self.attend(q, k, v, query[:, 0], None)

    def pattern(self, x: Vectors) -> Float[Tensor, "batch head query key"]:
        """Where each head looks: weights that sum to 1 over keys."""
        x = self.norm(x)
        q, k = self._turned(self.query(x), self.key(x), x, None)
        k = k.repeat_interleave(self.n_heads // k.shape[1], 1)
        score = q @ k.transpose(-1, -2) * self.scale
        if self.causal:
            n = score.shape[-1]
            later = torch.ones(n, n, dtype=torch.bool, device=score.device).triu(1)
            score = score.masked_fill(later, float("-inf"))
        return score.softmax(-1)

    def write(self, z: Heads) -> Vectors:
        """What all heads write together."""
        y = z.transpose(1, 2).flatten(2) @ self.out.flatten(0, 1)
        return y if self.bias is None else y + self.bias

    def write_apart(self, z: Heads) -> Float[Tensor, "batch head token width"]:
        """What each head writes, without what is written whatever they do."""
        return torch.einsum("bhtf,hfw->bhtw", z, self.out)  # weights are not copied for each input

    def attend(
        self, q: Queries, k: Keys, v: Values, x: Vectors, at: int | None
    ) -> Float[Tensor, "batch head query value"]:
        """What each head gathers with these queries, keys and values; x says where tokens are."""
        q, k = self._turned(q, k, x, at)
        k, v = (y.repeat_interleave(self.n_heads // y.shape[1], 1) for y in (k, v))
        causal = self.causal and at is None  # the last token sees all of them
        return scaled_dot_product_attention(q, k, v, is_causal=causal, scale=self.scale)

    def _turned(self, q: Queries, k: Keys, x: Vectors, at: int | None) -> tuple[Queries, Keys]:
        if self.angles is None:
            return q, k
        cos, sin = self.angles(x)
        here = slice(None) if at is None else [at]
        return turned(q, cos[here], sin[here]), turned(k, cos, sin)


def turned(x: Heads, cos: Tensor, sin: Tensor) -> Heads:
    """Turn pairs of features, half of the turned ones apart, by the angles of their tokens."""
    n = cos.shape[-1]
    part, rest = x[..., :n], x[..., n:]
    swapped = torch.cat([-part[..., n // 2 :], part[..., : n // 2]], -1)
    return torch.cat([part * cos + swapped * sin, rest], -1)


@dataclass(frozen=True)
class Layer:
    """Heads, and a perceptron that reads what they wrote, or the same as they (`parallel`)."""

    attention: Attention
    norm: Map
    mlp: Map | None
    parallel: bool = False

    def advance(self, x: Vectors, at: int | None = None) -> Float[Tensor, "batch place width"]:
        """The stream after this layer; at one token alone where that is asked."""
        return self.after_heads(x, self.attention.write(self.attention.read(x, at)), at)

    def after_heads(
        self, x: Vectors, written: Float[Tensor, "batch place width"], at: int | None = None
    ) -> Float[Tensor, "batch place width"]:
        """The stream after this layer, whose heads wrote this."""
        x = x if at is None else x[:, at, None]
        mid = x + written
        if self.mlp is None:
            return mid
        return mid + self.mlp(self.norm(x if self.parallel else mid))


@dataclass(frozen=True)
class Readout:
    """Vectors at the token where the answer is read, or at all, to answers.

    Parameters
    ----------
    norm : callable
        What the vectors go through first.
    unembed : callable
        From there to the answers.
    """

    norm: Map
    unembed: Map

    def __call__(self, x: Vectors) -> Float[Tensor, "batch answer"]:
        """The answers."""
        return self.unembed(self.norm(x))


@dataclass(frozen=True)
class Stream:
    """A transformer.

    Parameters
    ----------
    layers : sequence of Layer
        In their order.
    embed : callable
        Inputs to the first vectors.
    answer : Readout
        Vectors at `place` (batch, 1, width), or all where that is None, to answers (batch, answer).
    place : int or None
        The token at which the answer is read: the last (-1) of a causal one, the first (0) of
        those that have a class token, None where all count.
    """

    layers: Sequence[Layer]
    embed: Map
    answer: Readout
    place: int | None

    @property
    def n_heads(self) -> int:
        """Heads of the layer that has most."""
        return max(layer.attention.n_heads for layer in self.layers)

    def read_out(self, x: Vectors) -> Float[Tensor, "batch answer"]:
        """The answers, from the stream after all layers."""
        if self.place is not None and x.shape[1] > 1:
            x = x[:, self.place, None]
        return self.answer(x)

    def answer_each(self, x: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch answer"]:
        """The answers of single vectors, each as if it stood where the answer is read."""
        return self.answer(x.flatten(0, -2)[:, None]).unflatten(0, x.shape[:-1])

    def run(self, x: Vectors, first: int = 0) -> Float[Tensor, "batch answer"]:
        """The answers, from the stream before a layer: nothing is computed that does not count."""
        for i, layer in enumerate(self.layers[first:], first):
            last = i == len(self.layers) - 1
            x = layer.advance(x, self.place if last else None)
        return self.read_out(x)
