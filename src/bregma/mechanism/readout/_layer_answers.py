"""What a transformer would answer at each of its layers, through its own head."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor

from bregma.errors import InvalidArgument
from bregma.mechanism.circuits._stream import Stream, Vectors


def states(stream: Stream, inputs: Tensor) -> Iterator[Vectors]:
    """The stream before every layer, and after the last."""
    x = stream.embed(inputs)
    yield x
    for layer in stream.layers:
        x = layer.advance(x)
        yield x


def answers_at(stream: Stream, x: Vectors, tokens: bool) -> Float[Tensor, "batch place answer"]:
    """Log-probabilities of the answers where the head reads the stream: at one place, or at all."""
    if stream.place is None:  # the head reads all tokens together
        return stream.answer(x).float().log_softmax(-1)[:, None]
    if not tokens:
        x = x[:, stream.place, None]
    # One token at a time, which is all that a head behind a norm looks at.
    return stream.answer_each(x).float().log_softmax(-1)


def check_tokens(stream: Stream, tokens: bool) -> None:
    """Refuse to read single tokens where the answer is that of all of them."""
    if tokens and stream.place is None:
        raise InvalidArgument(
            "this model reads its answer from all tokens together: single tokens have none; "
            "leave tokens=True away"
        )


def divergence(
    log_p: Float[Tensor, "... answer"], log_q: Float[Tensor, "... answer"]
) -> Float[Tensor, ...]:
    """KL(p || q) in nats."""
    return (log_p.exp() * (log_p - log_q)).sum(-1)


def ranks(log_p: Float[Tensor, "... answer"], targets: Int[Tensor, ...]) -> Int[Tensor, ...]:
    """How many answers are at least as probable as the target: 1 for the first alone."""
    own = log_p.gather(-1, targets[..., None])
    return (log_p >= own).sum(-1)


def device_of(stream: Stream) -> torch.device:
    """Where the weights are."""
    return stream.layers[0].attention.out.device
