"""What happens in a transformer on the way, and how it goes on from a changed place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Float
from torch import Tensor

from bregma.mechanism.circuits._contrast import batches
from bregma.mechanism.circuits._stream import Stream, Vectors


@dataclass(frozen=True)
class Cache:
    """The stream at every place that can be patched; each with the layer first.

    before : what flows into the layer.
    heads : what each head gathers, before it is written.
    attention, mlp : what heads and perceptron write.
    """

    before: Float[Tensor, "layer batch token width"]
    heads: Float[Tensor, "layer batch head token feature"]
    attention: Float[Tensor, "layer batch token width"]
    mlp: Float[Tensor, "layer batch token width"]

    def mapped(self, change: Callable[[Tensor], Tensor]) -> Cache:
        """The same with all of it changed."""
        return Cache(**{f.name: change(getattr(self, f.name)) for f in fields(self)})


def observe(stream: Stream, inputs: Tensor) -> Cache:
    """Run once and keep everything; the heads of all layers have to be of one shape."""
    x = stream.embed(inputs)
    before, heads, attention, mlp = [], [], [], []
    for layer in stream.layers:
        z = layer.attention.read(x)
        written = layer.attention.write(z)
        after = layer.after_heads(x, written)
        before.append(x)
        heads.append(z)
        attention.append(written)
        mlp.append(after - x - written)
        x = after
    return Cache(*map(torch.stack, (before, heads, attention, mlp)))


def mean_activity(stream: Stream, inputs: Tensor, batch_size: int) -> Cache:
    """Mean over inputs at each token."""
    sums: Cache | None = None
    for rows in batches(len(inputs), batch_size):
        found = observe(stream, inputs[rows]).mapped(lambda x: x.sum(1, keepdim=True))
        if sums is None:
            sums = found
        else:
            sums = replace(
                sums, **{name: value + getattr(found, name) for name, value in vars(sums).items()}
            )
    assert sums is not None
    return sums.mapped(lambda x: x / len(inputs))


def go_on(
    stream: Stream,
    cache: Cache,
    layer: int,
    place: str,
    delta: Float[Tensor, "change batch token width"],
) -> Float[Tensor, "change batch answer"]:
    """The answers where something is added at a place of a layer: only what follows is computed.

    Exact: what comes before the place is as it was, and heads that write to the stream add up.
    """
    n, part = len(delta), stream.layers[layer]
    at = stream.place if layer == len(stream.layers) - 1 else None
    before, written = cache.before[layer], cache.attention[layer]
    if place == "before":
        after = part.advance((before + delta).flatten(0, 1), at)
    else:
        kept: Vectors = delta if at is None else delta[:, :, at, None]
        attention = written if at is None else written[:, at, None]
        if place == "attention":
            repeated = before.expand(n, *before.shape).flatten(0, 1)
            after = part.after_heads(repeated, (attention + kept).flatten(0, 1), at)
        else:
            done = before + written + cache.mlp[layer]
            after = ((done if at is None else done[:, at, None]) + kept).flatten(0, 1)
    return stream.run(after, layer + 1).unflatten(0, (n, -1))
