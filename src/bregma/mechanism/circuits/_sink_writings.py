"""What perceptrons write where they make a token a sink."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from bregma.errors import InvalidArgument
from bregma.mechanism.circuits._attention_sinks import AttentionSinks
from bregma.mechanism.circuits._contrast import batches
from bregma.mechanism.circuits._read import as_stream


@dataclass(frozen=True)
class SinkWriting:
    """What the perceptron of one layer writes on the tokens that it makes sinks.

    Parameters
    ----------
    direction : Tensor (width,)
        Their first principal direction, of length 1, along their mean.
    explained : float
        Share of their squared length along it: near 1 where all sinks are made alike.
    norms : array of float (sink,)
        How long what is written is: the dose.
    where : array of int (sink, 2)
        Input and token.
    """

    direction: Float[Tensor, " width"]
    explained: float
    norms: Float[np.ndarray, " sink"]
    where: Int[np.ndarray, "sink 2"]


def sink_writings(
    model: Any, inputs: Tensor, sinks: AttentionSinks, *, batch_size: int = 8
) -> dict[int, SinkWriting]:
    """What perceptrons write where sinks begin, for each layer that makes any.

    Parameters
    ----------
    model : torch.nn.Module or TorchSystem
        The transformer.
    inputs : Tensor (input, token)
        Those in which the sinks were found.
    sinks : AttentionSinks
        From `attention_sinks`, without edits.
    batch_size : int
        Inputs at a time.

    Returns
    -------
    dict of int to SinkWriting
        By layer; the primary sink counts as well.

    Raises
    ------
    InvalidArgument
        Sinks of other inputs, or one that begins at a layer without a perceptron.

    Examples
    --------
    >>> from bregma.datasets import planted_sinks
    >>> from bregma.mechanism import attention_sinks
    >>> world = planted_sinks(4, seed=0)
    >>> found = sink_writings(world.net, world.tokens, attention_sinks(world.net, world.tokens))
    >>> all(abs(float(one.direction @ world.direction)) > 0.97 for one in found.values())
    True
    """
    created = sinks.created
    if created.shape != tuple(inputs.shape):
        raise InvalidArgument(
            f"the sinks are of inputs of the shape {created.shape}, not {tuple(inputs.shape)}"
        )
    seen: dict[int, list[Tensor]] = {}
    with as_stream(model, inputs) as stream:
        for rows in batches(len(inputs), batch_size):
            x = stream.embed(inputs[rows])
            for i, layer in enumerate(stream.layers):
                written = layer.attention.write(layer.attention.read(x))
                after = layer.after_heads(x, written)
                new = torch.from_numpy(created[rows] == i).to(x.device)
                if new.any():
                    if layer.mlp is None:
                        raise InvalidArgument(f"layer {i} makes sinks and has no perceptron")
                    seen.setdefault(i, []).append((after - x - written)[new].double())
                x = after
    found = {}
    for i, parts in sorted(seen.items()):
        y = torch.cat(parts)
        _, strength, basis = torch.linalg.svd(y, full_matrices=False)
        direction = basis[0] * (1.0 if y.mean(0) @ basis[0] >= 0 else -1.0)
        power = strength.square()
        found[i] = SinkWriting(
            direction=direction.float(),
            explained=float(power[0] / power.sum()),
            norms=y.norm(dim=1).cpu().numpy(),
            where=np.argwhere(created == i),
        )
    return found
