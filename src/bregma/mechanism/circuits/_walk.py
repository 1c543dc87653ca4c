"""A transformer as a graph: heads and perceptrons send to the stream, and read what was sent."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from bregma.mechanism.circuits._stream import Stream, Vectors

Sent = Float[Tensor, "sender batch token width"]
Received = Float[Tensor, "receiver batch token width"]
# Receivers (first, how many), the stream, and what was sent so far -> what these receivers get.
Incoming = Callable[[int, int, Vectors, list[Tensor]], Received]
# Senders (first), what they would send -> what they send.
Outgoing = Callable[[int, Sent], Sent]


def names_of(stream: Stream) -> tuple[list[str], list[str]]:
    """Names of senders and of receivers, in the order in which they come."""
    senders, receivers = ["embed"], list[str]()
    for i, layer in enumerate(stream.layers):
        heads = [f"{i}.h{h}" for h in range(layer.attention.n_heads)]
        senders += heads
        receivers += [f"{head}.{slot}" for slot in "qkv" for head in heads]
        if layer.mlp is not None:
            senders.append(f"{i}.mlp")
            receivers.append(f"{i}.mlp")
    return senders, [*receivers, "logits"]


def n_seen(stream: Stream) -> list[int]:
    """For each receiver the number of senders that come before it."""
    seen, n = list[int](), 1
    for layer in stream.layers:
        heads = layer.attention.n_heads
        seen += [n] * (3 * heads)
        if layer.mlp is not None:
            seen.append(n if layer.parallel else n + heads)
        n += heads + (layer.mlp is not None)
    return [*seen, n]


def whole(first: int, n: int, x: Vectors, sent: list[Tensor]) -> Received:
    """Every receiver gets the whole stream."""
    return x.expand(n, *x.shape)


def unchanged(first: int, sent: Sent) -> Sent:
    """Every sender sends what it would."""
    return sent


def walk(
    stream: Stream, x: Vectors, incoming: Incoming = whole, outgoing: Outgoing = unchanged
) -> tuple[Float[Tensor, "batch answer"], Sent]:
    """Run with a say in what every receiver gets and every sender sends.

    Parameters
    ----------
    stream : Stream
        The transformer.
    x : Tensor (batch, token, width)
        What the embedding sends.
    incoming : callable
        What receivers get.
    outgoing : callable
        What senders send.

    Returns
    -------
    answers, sent
        The answers, and what every sender sent. Constants that are written whatever heads do
        belong to nobody.
    """
    x = outgoing(0, x[None])[0]
    sent, to = [x[None]], 0
    n_sent = 1
    for layer in stream.layers:
        attention, n = layer.attention, layer.attention.n_heads
        got = incoming(to, 3 * n, x, sent).unflatten(0, (3, n)).transpose(1, 2)
        written = attention.write_apart(attention.read_apart(*got)).transpose(0, 1)
        written = outgoing(n_sent, written)
        before, seen = x, list(sent)
        x = x + written.sum(0) if attention.bias is None else x + written.sum(0) + attention.bias
        sent.append(written)
        to, n_sent = to + 3 * n, n_sent + n
        if layer.mlp is not None:
            at, here = (before, seen) if layer.parallel else (x, sent)
            own = outgoing(n_sent, layer.mlp(layer.norm(incoming(to, 1, at, here)[0]))[None])
            x = x + own[0]
            sent.append(own)
            to, n_sent = to + 1, n_sent + 1
    return stream.read_out(incoming(to, 1, x, sent)[0]), torch.cat(sent)
