"""Change what perceptrons of a transformer write, and see what it answers at every token."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from bregma.errors import InvalidArgument
from bregma.mechanism.circuits._contrast import batches
from bregma.mechanism.circuits._read import as_stream
from bregma.mechanism.circuits._stream import Map, Stream


@dataclass(frozen=True)
class RescaleAlong:
    """Give vectors along a direction a norm of one's choice, and leave all others alone.

    Parameters
    ----------
    direction : Tensor (width,)
        Of any length above 0. Vectors the other way, which end a sink, stay as they are.
    norm : float
        What the norm of vectors along it becomes; 0 takes them away.
    cosine : float
        From where on a vector is along it.

    Raises
    ------
    InvalidArgument
        A direction without length, or a number out of range.

    Examples
    --------
    >>> rescale = RescaleAlong(torch.tensor([1.0, 0.0]), norm=2.0)
    >>> rescale(torch.tensor([[300.0, 1.0], [3.0, 3.0]]))
    tensor([[2.0000, 0.0067],
            [3.0000, 3.0000]])
    """

    direction: Float[Tensor, " width"]
    norm: float
    cosine: float = 0.98

    def __post_init__(self) -> None:
        length = float(self.direction.norm())
        if not 0 < length < float("inf") or not self.norm >= 0 or not 0 < self.cosine < 1:
            raise InvalidArgument(
                f"a direction with a length, a norm of 0 or more and a cosine between 0 and 1 are "
                f"needed, not {length}, {self.norm} and {self.cosine}"
            )

    def __call__(self, written: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
        """What is left of them."""
        direction = self.direction.to(written)
        along = torch.cosine_similarity(written, direction, -1) > self.cosine
        length = written.norm(dim=-1, keepdim=True)
        rescaled = written * (self.norm / length.clamp_min(torch.finfo(written.dtype).tiny))
        return torch.where(along[..., None], rescaled, written)


def edited(stream: Stream, edits: Mapping[int, Map]) -> Stream:
    """A stream in which what some layers' perceptrons write becomes something else."""
    layers = list(stream.layers)
    for i, edit in edits.items():
        if not 0 <= i < len(layers) or layers[i].mlp is None:
            raise InvalidArgument(f"there is no perceptron in layer {i} of {len(layers)}")
        layers[i] = replace(layers[i], mlp=_then(layers[i].mlp, edit))
    return replace(stream, layers=layers)


def edited_answers(
    model: Any, inputs: Tensor, edits: Mapping[int, Map], *, batch_size: int = 8
) -> Float[Tensor, "input token answer"]:
    """What a causal transformer answers at every token if its perceptrons write something else.

    Parameters
    ----------
    model : torch.nn.Module or TorchSystem
        A causal transformer, as for `patch`; it stays as it is.
    inputs : Tensor (input, token)
        Tokens.
    edits : mapping of int to callable
        For some layers, what becomes of what their perceptrons write (input, token, width), such as
        `RescaleAlong`. Where it is empty, answers are those of the model.
    batch_size : int
        Inputs at a time.

    Returns
    -------
    Tensor (input, token, answer)
        Scores before the softmax.

    Raises
    ------
    InvalidArgument
        The model is not read as a causal transformer, or has no such layer.

    Examples
    --------
    >>> from bregma.nn import CausalTransformer
    >>> net = CausalTransformer(5, 4, 8, heads=2, layers=2)
    >>> edited_answers(net, torch.tensor([[0, 1, 2]]), {1: torch.zeros_like}).shape
    torch.Size([1, 3, 5])
    """
    answers = []
    with as_stream(model, inputs) as stream:
        if stream.place != -1:
            raise InvalidArgument("a causal transformer answers at every token, this one does not")
        changed = edited(stream, edits)
        for rows in batches(len(inputs), batch_size):
            x = changed.embed(inputs[rows])
            for layer in changed.layers:
                x = layer.advance(x)
            answers.append(changed.answer_each(x))
    return torch.cat(answers)


def _then(mlp: Map | None, edit: Map) -> Map:
    assert mlp is not None
    return lambda x: edit(mlp(x))
