"""Overwrite where heads look, and see what the network makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from numpy.typing import ArrayLike
from torch import Tensor

from bregma.errors import InvalidArgument, UnknownName
from bregma.mechanism.circuits._contrast import batches
from bregma.mechanism.circuits._read import as_stream
from bregma.mechanism.circuits._stream import Heads, Layer, Stream, Vectors

Rows = Float[Tensor, "input key"]


@dataclass(frozen=True)
class Attended:
    """What a transformer answers, and where its heads look for that.

    Parameters
    ----------
    answers : Tensor (input, answer)
        At the token where the answer is read.
    patterns : DataArray (input, head, key)
        How much each head attends to each token from there.
    """

    answers: Float[Tensor, "input answer"]
    patterns: xr.DataArray


def attend(
    model: Any,
    inputs: Tensor,
    rows: Mapping[str, ArrayLike | Tensor] | None = None,
    *,
    batch_size: int = 32,
) -> Attended:
    """Run with the attention of some heads overwritten at the token where the answer is read.

    Those heads gather what is at the tokens they are told to look at; everything behind them
    follows from that. Weights are taken as they are: with ones that sum to a half a head writes
    half as much, with zeros nothing.

    Parameters
    ----------
    model : torch.nn.Module or TorchSystem
        A transformer, as for `patch`.
    inputs : Tensor (input, ...)
        Tokens or images.
    rows : mapping of str to array (key,) or (input, key), optional
        For heads like ``"9.h6"`` the weights of all tokens; nothing is overwritten without.
    batch_size : int
        Inputs at a time.

    Returns
    -------
    Attended
        Answers and attention of all heads, those that were overwritten among them.

    Raises
    ------
    UnknownName
        A head that the model does not have.
    InvalidArgument
        Weights that are negative, not finite or of another shape, or a model that reads its answer
        at all tokens.

    References
    ----------
    Merullo, Eickhoff and Pavlick (2024), Circuit component reuse across tasks in transformer
    language models.

    Examples
    --------
    >>> from bregma.nn import CausalTransformer
    >>> net = CausalTransformer(5, 4, 8, heads=2, layers=1)
    >>> tokens = torch.tensor([[0, 1, 2, 3]])
    >>> told = attend(net, tokens, {"0.h1": [0, 1, 0, 0]})
    >>> told.patterns.sel(head="0.h1").values.tolist()
    [[0.0, 1.0, 0.0, 0.0]]
    """
    with as_stream(model, inputs) as stream:
        if stream.place is None:
            raise InvalidArgument("the model reads its answer at all tokens: there is no one row")
        heads = head_names(stream)
        n_keys = stream.embed(inputs[:1]).shape[1]
        given = {
            name: _weights(name, row, heads, len(inputs), n_keys)
            for name, row in (rows or {}).items()
        }
        answers, patterns = [], []
        for some in batches(len(inputs), batch_size):
            told = {name: row[some] for name, row in given.items()}
            answer, pattern = _run(stream, inputs[some], told)
            answers.append(answer)
            patterns.append(pattern.double().cpu())
    array = xr.DataArray(
        torch.cat(patterns).numpy(),
        dims=["input", "head", "key"],
        coords={"input": np.arange(len(inputs)), "head": heads, "key": np.arange(n_keys)},
    )
    return Attended(torch.cat(answers), array)


def head_names(stream: Stream) -> list[str]:
    """All heads, layer by layer."""
    return [
        f"{i}.h{h}" for i, layer in enumerate(stream.layers) for h in range(layer.attention.n_heads)
    ]


def _run(
    stream: Stream, inputs: Tensor, told: Mapping[str, Rows]
) -> tuple[Float[Tensor, "input answer"], Float[Tensor, "input head key"]]:
    x, patterns = stream.embed(inputs), []
    assert stream.place is not None
    for i, layer in enumerate(stream.layers):
        pattern = layer.attention.pattern(x)[:, :, stream.place].clone()
        z, values = layer.attention.read(x), values_of(layer, x)
        for h in range(layer.attention.n_heads):
            if (row := told.get(f"{i}.h{h}")) is not None:
                pattern[:, h] = row.to(pattern)
                z[:, h, stream.place] = torch.einsum("bk,bkv->bv", row.to(x), values[:, h])
        patterns.append(pattern)
        x = layer.after_heads(x, layer.attention.write(z))
    return stream.read_out(x), torch.cat(patterns, 1)


def values_of(layer: Layer, x: Vectors) -> Heads:
    """What each head reads of each token."""
    attention = layer.attention
    v = attention.value(attention.norm(x))
    return v.repeat_interleave(attention.n_heads // v.shape[1], 1)


def _weights(name: str, row: ArrayLike | Tensor, heads: list[str], n: int, n_keys: int) -> Rows:
    if name not in heads:
        raise UnknownName.of("head", name, heads)
    weights = torch.as_tensor(row if isinstance(row, Tensor) else np.asarray(row))
    if weights.shape not in ((n_keys,), (n, n_keys)):
        raise InvalidArgument(
            f"weights of {name} have the shape {tuple(weights.shape)}; there are {n} inputs of "
            f"{n_keys} tokens"
        )
    if not bool((weights.double() >= 0).all()) or not bool(weights.double().isfinite().all()):
        raise InvalidArgument(f"weights of {name} must be finite and not negative")
    return weights.double().expand(n, n_keys)
