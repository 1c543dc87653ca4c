"""Read the stream of a transformer at each layer: logit lens and tuned lens."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
import xarray as xr
from jaxtyping import Int
from torch import Tensor

from bregma.errors import InvalidArgument
from bregma.mechanism.circuits._contrast import batches
from bregma.mechanism.circuits._read import as_stream
from bregma.mechanism.readout._layer_answers import (
    answers_at,
    check_tokens,
    device_of,
    divergence,
    ranks,
    states,
)
from bregma.mechanism.readout._lens_reading import Answers, Keep, Lens, Read
from bregma.mechanism.readout._tuned_lens import TunedLens


def lens(
    model: Any,
    inputs: Any,
    *,
    tuned: TunedLens | None = None,
    targets: Any = None,
    tokens: bool = False,
    batch_size: int = 8,
) -> Lens:
    """Read the stream of a transformer at each layer with the head that reads it at the end.

    Without a tuned lens this is the logit lens. Held in memory are a few numbers for each input
    and layer; whole distributions are computed when they are asked for, of one layer at a time.

    Parameters
    ----------
    model : torch.nn.Module or TorchSystem
        A transformer, as for `patch`.
    inputs : array or Tensor (input, ...)
        Prompts, or images; others than a tuned lens was trained on.
    tuned : TunedLens, optional
        Translates layers before they are read; see `tune_lens`.
    targets : array (input,) or (input, token), optional
        Answers of which probability and rank are given; the model's own answers by default.
    tokens : bool
        Read every token; by default the one where the model reads its answer.
    batch_size : int
        Inputs at a time; memory grows with it.

    Returns
    -------
    Lens
        What is read.

    Raises
    ------
    InvalidArgument
        The model is not read as a transformer, or targets or the tuned lens do not fit it.

    References
    ----------
    nostalgebraist (2020), Interpreting GPT: the logit lens. Belrose et al. (2023), Eliciting latent
    predictions from transformers with the tuned lens.

    Examples
    --------
    >>> from bregma.nn import CausalTransformer
    >>> net = CausalTransformer(9, 6, 8, heads=2, layers=3)
    >>> found = lens(net, torch.arange(12).view(2, 6) % 9)
    >>> dict(found.values.sizes), float(found.values.kl[:, -1].max())
    ({'input': 2, 'layer': 4}, 0.0)
    """
    inputs = torch.as_tensor(inputs)
    if not len(inputs) or batch_size < 1:
        raise InvalidArgument(f"batch_size={batch_size} must be 1 or more, and so the inputs")
    read = partial(_read, inputs=inputs, tokens=tokens, batch_size=batch_size)

    def for_twin(twin: Any) -> Read:
        if tuned is None:
            return partial(read, twin, None)
        if tuned.again is None:
            raise InvalidArgument(
                "a twin needs a tuned lens of its own, and nobody knows how this one was trained: "
                "use one of tune_lens(...)"
            )
        return partial(read, twin, tuned.again(twin))

    own_read = partial(read, model, tuned)
    given = None if targets is None else torch.as_tensor(targets)
    if given is not None:
        n_places, n_answers = own_read(slice(0, 1), lambda log_p, *_: log_p.shape[1:])[0][0]
        given = _checked(given, (len(inputs), n_places) if tokens else (len(inputs),), n_answers)

    def measured(log_p: Answers, last: Answers, rows: slice) -> dict[str, Tensor]:
        return _measured(log_p, last, last.argmax(-1) if given is None else given[rows])

    found = own_read(slice(None), measured)
    joined = {
        name: torch.cat([torch.stack([at[name] for at in each], 1) for each in found])
        for name in found[0][0]
    }
    dims = ("input", "layer", "token")[: 3 if tokens else 2]
    if not tokens:
        joined = {name: value[..., 0] for name, value in joined.items()}
    wanted = joined.pop("target")[:, 0]
    values = xr.Dataset(
        {name: (dims, value.numpy()) for name, value in joined.items()},
        coords={"layer": np.arange(joined["kl"].shape[1])},
    )
    name = "logit lens" if tuned is None else "tuned lens"
    return Lens(values, wanted.numpy(), name, model, own_read, for_twin)


def _read(
    model: Any,
    tuned: TunedLens | None,
    rows: slice,
    keep: Keep,
    *,
    inputs: Tensor,
    tokens: bool,
    batch_size: int,
) -> list[list[Any]]:
    """What is kept of the log-probabilities of each batch and layer."""
    inputs, found = inputs[rows], []
    with as_stream(model, inputs) as stream:
        check_tokens(stream, tokens)
        n, width = len(stream.layers), stream.layers[0].attention.out.shape[-1]
        if tuned is not None and tuned.bias.shape != (n, width):
            raise InvalidArgument(
                f"the tuned lens is one of {len(tuned.bias)} layers of width "
                f"{tuned.bias.shape[1]}; the model has {n} of width {width}"
            )
        for some in batches(len(inputs), batch_size):
            *before, x = states(stream, inputs[some].to(device_of(stream)))
            last = answers_at(stream, x, tokens)
            translated = (x if tuned is None else tuned(x, i) for i, x in enumerate(before))
            each = [keep(answers_at(stream, x, tokens), last, some) for x in translated]
            found.append([*each, keep(last, last, some)])
    return found


def _measured(
    log_p: Answers, last: Answers, targets: Int[Tensor, "batch place"]
) -> dict[str, Tensor]:
    wanted = targets.to(log_p.device)
    own = log_p.gather(-1, wanted[..., None])[..., 0]
    found = {
        "kl": divergence(last, log_p),
        "entropy": -(log_p.exp() * log_p).sum(-1),
        "best": log_p.argmax(-1),
        "probability": own.exp(),
        "rank": ranks(log_p, wanted),
        "target": wanted,
    }
    return {name: value.cpu() for name, value in found.items()}


def _checked(targets: Tensor, shape: tuple[int, ...], n: int) -> Int[Tensor, "input place"]:
    if tuple(targets.shape) != shape or targets.is_floating_point():
        raise InvalidArgument(
            f"targets must be numbers of answers of the shape {shape}, not {targets.dtype} of "
            f"{tuple(targets.shape)}"
        )
    low, high = int(targets.min()), int(targets.max())
    if low < 0 or high >= n:
        raise InvalidArgument(f"targets go from {low} to {high}; the answers are 0 to {n - 1}")
    return targets.reshape(shape[0], -1)
