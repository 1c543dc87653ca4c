"""The tuned lens: an affine map for each layer, after which the model's own head can read it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from bregma.errors import InvalidArgument
from bregma.mechanism.circuits._contrast import batches
from bregma.mechanism.circuits._read import as_stream
from bregma.mechanism.circuits._stream import Stream
from bregma.mechanism.readout._layer_answers import (
    answers_at,
    device_of,
    divergence,
    states,
)
from bregma.run import fit, minibatches, spawn


class TunedLens(nn.Module):
    """Brings the stream before each layer to where the last layer has it: h + A h + b.

    As it is made A and b are 0, so that it is the logit lens; `tune_lens` trains them.

    Parameters
    ----------
    layers, width : int
        Of the transformer.

    Attributes
    ----------
    weight : Parameter (layer, width, width)
        A, for vectors in rows.
    bias : Parameter (layer, width)
        b.
    score : DataFrame or None
        What training came to, on prompts that were held out: KL to the model's answer in nats, by
        layer, of the logit and of the tuned lens.
    again : callable or None
        The same training for another model.

    Raises
    ------
    InvalidArgument
        A number below 1.

    References
    ----------
    Belrose et al. (2023), Eliciting latent predictions from transformers with the tuned lens.

    Examples
    --------
    >>> TunedLens(3, 8)(torch.ones(2, 5, 8), 1).shape
    torch.Size([2, 5, 8])
    """

    def __init__(self, layers: int, width: int) -> None:
        super().__init__()
        if min(layers, width) < 1:
            raise InvalidArgument(f"layers and width must be 1 or more, not {layers} and {width}")
        self.weight = nn.Parameter(torch.zeros(layers, width, width))
        self.bias = nn.Parameter(torch.zeros(layers, width))
        self.score: pd.DataFrame | None = None
        self.again: Callable[[Any], TunedLens] | None = None

    def forward(
        self, x: Float[Tensor, "batch token width"], layer: int
    ) -> Float[Tensor, "batch token width"]:
        """The stream as if all layers had run.

        Parameters
        ----------
        x : Tensor (batch, token, width)
            The stream before a layer.
        layer : int
            Which one.

        Returns
        -------
        Tensor (batch, token, width)
            In the type of the stream.
        """
        weight, bias = self.weight[layer], self.bias[layer]
        return (x + x.to(weight) @ weight + bias).to(x)


def tune_lens(
    model: Any,
    inputs: Any,
    *,
    held_out: float = 0.2,
    tokens: bool = True,
    epochs: int = 20,
    batch_size: int = 8,
    learning_rate: float = 1e-3,
    seed: int,
) -> TunedLens:
    """Train a tuned lens: minimise the mean KL(answer of the model || answer read at a layer).

    The model stays as it is. Equal prompts are on one side of the split.

    Parameters
    ----------
    model : torch.nn.Module or TorchSystem
        A transformer, as for `patch`.
    inputs : array or Tensor (input, ...)
        Prompts, or images.
    held_out : float
        Share of the inputs on which the lens is scored and from which it learns nothing.
    tokens : bool
        Learn from the answers at all tokens, where each token has one (language models).
    epochs, batch_size, learning_rate
        Of Adam. Answers are in memory for one layer of a batch at a time.
    seed : int
        Of the split and the batches.

    Returns
    -------
    TunedLens
        Trained, with its `score`.

    Raises
    ------
    InvalidArgument
        The model is not read as a transformer, or a number is out of range.
    """
    if not 0 < held_out < 1 or min(epochs, batch_size) < 1 or not learning_rate > 0:
        raise InvalidArgument(
            "held_out lies in (0, 1), epochs and batch_size are 1 or more and the learning rate "
            f"above 0, not {held_out}, {epochs}, {batch_size} and {learning_rate}"
        )
    inputs = torch.as_tensor(inputs)
    train, test = _split(inputs, held_out, seed)
    with as_stream(model, inputs) as stream:
        tokens = tokens and stream.place == -1
        where = device_of(stream)
        lens = TunedLens(len(stream.layers), stream.layers[0].attention.out.shape[-1]).to(where)

        def loss(lens: nn.Module, batch: tuple[Tensor]) -> Tensor:
            return _divergences(stream, lens, batch[0].to(where), tokens).mean()

        with torch.enable_grad(), _frozen(model):
            fit(
                lens,
                loss,
                minibatches(inputs[train], size=batch_size),
                optimizer=torch.optim.Adam(lens.parameters(), lr=learning_rate),
                epochs=epochs,
                seed=seed,
            )
        lens.score = _scored(stream, lens, inputs[test].to(where), tokens, batch_size)
    lens.again = partial(
        tune_lens, inputs=inputs, held_out=held_out, tokens=tokens, epochs=epochs,
        batch_size=batch_size, learning_rate=learning_rate, seed=seed,
    )  # fmt: skip
    return lens.requires_grad_(False)


def _divergences(
    stream: Stream, lens: nn.Module, inputs: Tensor, tokens: bool
) -> Float[Tensor, "layer input"]:
    """KL of each layer, a mean over places."""
    with torch.no_grad():
        *before, last = states(stream, inputs)
        wanted = answers_at(stream, last, tokens)

    def at_layer(x: Tensor, i: int) -> Float[Tensor, " input"]:
        return divergence(wanted, answers_at(stream, lens(x, i), tokens)).mean(-1)

    # On the way back a layer is computed again: all answers at all layers would not fit.
    each = [checkpoint(at_layer, x, i, use_reentrant=False) for i, x in enumerate(before)]
    return torch.stack(each)


def _scored(
    stream: Stream, lens: TunedLens, inputs: Tensor, tokens: bool, batch_size: int
) -> pd.DataFrame:
    plain = TunedLens(*lens.bias.shape).to(lens.bias)
    parts, found = batches(len(inputs), batch_size), {}
    for name, one in (("logit", plain), ("tuned", lens)):
        each = [_divergences(stream, one, inputs[rows], tokens) for rows in parts]
        found[name] = torch.cat(each, 1).mean(1)
    table = pd.DataFrame({name: values.tolist() for name, values in found.items()})
    return table.rename_axis("layer").reset_index()


def _split(inputs: Tensor, share: float, seed: int) -> tuple[Tensor, Tensor]:
    """Rows to learn from, and rows that are held out; equal rows are together."""
    _, group = np.unique(inputs.flatten(1).cpu().numpy(), axis=0, return_inverse=True)
    n = int(group.max()) + 1
    n_out = round(share * n)
    if not 0 < n_out < n:
        raise InvalidArgument(
            f"a share of {share:g} of {n} different inputs cannot be held out; give more inputs"
        )
    out = spawn(seed, "tune_lens", "held out").permutation(n)[:n_out]
    held = torch.from_numpy(np.isin(group.ravel(), out))
    return (~held).nonzero()[:, 0], held.nonzero()[:, 0]


@contextmanager
def _frozen(model: Any) -> Iterator[None]:
    """No gradient is kept for the model's own weights."""
    module = getattr(model, "module", model)
    wanted = [p for p in module.parameters() if p.requires_grad]
    try:
        for p in wanted:
            p.requires_grad_(False)
        yield
    finally:
        for p in wanted:
            p.requires_grad_(True)
