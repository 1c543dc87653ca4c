"""A transformer in which some tokens are made attention sinks, and are set free again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from bregma.errors import InvalidArgument
from bregma.nn import CausalTransformer
from bregma.run import spawn, spawn_torch

WIDTH, HEADS, NEURONS, N_WORDS = 64, 4, 128, 40
NAME = 3.0  # how much a token says who it is
TAG = 0.2  # of what is written on it, which kind of sink a token is
BACKGROUND = 2.0  # length of what every perceptron writes on ordinary tokens
SHARE, SHARP, DRAW = 0.15, 20.0, 4.0  # of sinks among tokens; of steps; score of a sink for heads


@dataclass(frozen=True)
class PlantedSinks:
    """The network, texts, and the truth about them.

    Parameters
    ----------
    net : CausalTransformer
        Of random weights, and what makes and ends sinks.
    tokens : Tensor (input, token)
        0 begins each text, as the primary sink; small numbers are kinds of secondary sinks.
    created : array of int (input, token)
        The layer whose perceptron makes a token a sink; -1 where none does.
    lifetime : array of int (input, token)
        Behind how many layers it is one.
    direction : Tensor (width,)
        What all sinks share.
    idle : Tensor (width,)
        A direction of length 1 that nothing reads.
    """

    net: CausalTransformer
    tokens: Int[Tensor, "input token"]
    created: Int[np.ndarray, "input token"]
    lifetime: Int[np.ndarray, "input token"]
    direction: Float[Tensor, " width"]
    idle: Float[Tensor, " width"]


def planted_sinks(
    n: int = 32,
    *,
    n_kinds: int = 3,
    layers: int = 12,
    length: int = 24,
    dose: float = 60.0,
    seed: int,
) -> PlantedSinks:
    """Texts with secondary sinks, in a network that makes them with a perceptron's large output.

    All heads are drawn to one direction of the stream. The perceptron of layer 1 writes much of it
    on the first token, and layer ``layers - 2`` takes it away. On each kind of secondary sink
    another layer writes one to two doses of it, and a later one takes them away. Ordinary tokens
    gather what perceptrons write at random.

    Parameters
    ----------
    n : int
        How many texts.
    n_kinds : int
        Kinds of secondary sinks, 0 to 8.
    layers : int
        8 or more.
    length : int
        Tokens of a text, 2 or more.
    dose : float
        Least length of what makes a secondary sink, 30 or more: far above that of ordinary tokens.
    seed : int
        Draws weights, layers and texts.

    Returns
    -------
    PlantedSinks
        With its truth.

    Raises
    ------
    InvalidArgument
        A number out of range.

    Examples
    --------
    >>> world = planted_sinks(2, seed=0)
    >>> world.created[:, 0].tolist(), world.lifetime[:, 0].tolist()
    ([1, 1], [9, 9])
    """
    if n < 1 or not 0 <= n_kinds <= 8 or layers < 8 or length < 2 or not dose >= 30:
        raise InvalidArgument(
            f"n must be 1 or more, n_kinds 0 to 8, layers 8 or more, length 2 or more and dose 30 "
            f"or more, not {n}, {n_kinds}, {layers}, {length} and {dose}"
        )
    rng, draw = spawn(seed, "planted_sinks"), spawn_torch(seed, "planted_sinks")
    first = torch.cat([torch.ones(WIDTH, 1), torch.randn(WIDTH, WIDTH - 1, generator=draw)], 1)
    axes = torch.linalg.qr(first)[0].T[1:]  # without what layer norms take away
    direction, idle, rest = axes[0], axes[1], axes[20:]
    names, tags = axes[2:11], axes[11:20]

    ends = layers - 2
    begin, end = np.full(n_kinds + 1, 1), np.full(n_kinds + 1, ends)
    begin[1:] = rng.integers(2, ends - 1, n_kinds)
    end[1:] = rng.integers(begin[1:] + 1, ends + 1)
    doses = dose * np.append(4.0, rng.uniform(1, 2, n_kinds))

    net = CausalTransformer(
        N_WORDS, length, WIDTH, heads=HEADS, layers=layers, neurons=NEURONS, seed=seed
    )
    with torch.no_grad():
        _ordinary(net, rest, draw)
        net.embed.token[: n_kinds + 1] += NAME * names[: n_kinds + 1]
        for block in net.blocks:
            _drawn(block, direction)
        for kind in range(n_kinds + 1):
            push = float(doses[kind]) * (direction + TAG * tags[kind]) / (1 + TAG**2) ** 0.5
            _step(net.blocks[int(begin[kind])], kind, names[kind], 1.0, push)
            _step(net.blocks[int(end[kind])], kind + n_kinds + 1, tags[kind], 0.8, -push)

    kinds = rng.integers(1, n_kinds + 1, (n, length)) if n_kinds else np.zeros((n, length), int)
    words = rng.integers(n_kinds + 1, N_WORDS, (n, length))
    tokens = np.where((rng.random((n, length)) < SHARE) & (kinds > 0), kinds, words)
    tokens[:, 0] = 0
    sink = tokens <= n_kinds
    at = np.minimum(tokens, n_kinds)
    return PlantedSinks(
        net=net.eval(),
        tokens=torch.from_numpy(tokens),
        created=np.where(sink, begin[at], -1),
        lifetime=np.where(sink, end[at] - begin[at], 0),
        direction=direction,
        idle=idle,
    )


def _ordinary(net: CausalTransformer, rest: Tensor, draw: torch.Generator) -> None:
    """Random weights that read and write nothing but what sinks leave alone."""

    def random(rows: int, columns: int, scale: float) -> Tensor:
        return scale * torch.randn(rows, columns, generator=draw)

    k = len(rest)
    net.embed.token.copy_(random(N_WORDS, k, NAME / k**0.5) @ rest)
    net.embed.place.zero_()
    blocks: Any = net.blocks
    for block in blocks:
        for layer in (block.query_key_value, block.project, block.widen, block.narrow):
            layer.bias.zero_()
        block.query_key_value.weight.copy_(random(3 * WIDTH, k, 0.5 / k**0.5) @ rest)
        block.project.weight.copy_((random(WIDTH, k, 0.5 / k**0.5) @ rest).T)
        block.widen.weight.copy_(random(NEURONS, k, k**-0.5) @ rest)
        # A GELU of a standard normal number has a mean square of 0.425.
        size = BACKGROUND / (NEURONS * 0.425 * k) ** 0.5
        block.narrow.weight.copy_((random(NEURONS, k, size) @ rest).T)
    net.unembed.weight.copy_(random(N_WORDS, k, k**-0.5) @ rest)


def _drawn(block: Any, direction: Tensor) -> None:
    """All heads look at the direction, wherever they are: feature 0 of queries and keys."""
    features = WIDTH // HEADS
    part = block.query_key_value
    for head in range(HEADS):
        query, key = head * features, WIDTH + head * features
        part.weight[query], part.bias[query] = 0, 1
        part.weight[key] = direction * (DRAW * features**0.5 / WIDTH**0.5)


def _step(block: Any, unit: int, read: Tensor, threshold: float, write: Tensor) -> None:
    """Two hidden units, whose difference is 1 above a threshold and 0 below, write or do not."""
    for i, (shift, sign) in enumerate(((1.0, 1.0), (0.0, -1.0))):
        block.widen.weight[2 * unit + i] = SHARP * read
        block.widen.bias[2 * unit + i] = shift - SHARP * threshold
        block.narrow.weight[:, 2 * unit + i] = sign * write
