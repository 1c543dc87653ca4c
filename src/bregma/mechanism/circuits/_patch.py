"""Activation patching: give parts of a network the activity of another run."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from bregma.errors import InvalidArgument
from bregma.mechanism.circuits._cache import Cache, go_on, mean_activity, observe
from bregma.mechanism.circuits._contrast import (
    Metric,
    Pairs,
    batches,
    ends,
    logit_difference,
    others,
)
from bregma.mechanism.circuits._effects import Effects
from bregma.mechanism.circuits._read import as_stream
from bregma.mechanism.circuits._stream import Stream
from bregma.run import progress as show_progress

PLACE = {"head": "attention", "attention": "attention", "mlp": "mlp", "residual": "before"}
FIELD = PLACE | {"head": "heads"}  # of `Cache`: what each part gathers, writes or is


def patch(
    model: Any,
    pairs: Pairs,
    part: str = "head",
    *,
    direction: str = "denoise",
    tokens: bool = False,
    metric: Metric = logit_difference,
    batch_size: int = 8,
    progress: bool = False,
) -> Effects:
    """Give each part of each layer its activity of the other prompt, one at a time.

    The grid is exact, as if the whole network ran for each part, but only what follows the part
    is computed, and at the last layer only the token at which the answer is read.

    Parameters
    ----------
    model : torch.nn.Module or TorchSystem
        A transformer: of transformers (GPT-2, Llama, Mistral, Qwen, GPT-NeoX and others of their
        build), timm's vision transformers, `bregma.nn.CausalTransformer`.
    pairs : PromptPairs or Contrast
        Clean and corrupt inputs and their answers.
    part : {"head", "attention", "mlp", "residual"}
        What is patched: single heads, all heads of a layer, its perceptron, the stream before it.
    direction : {"denoise", "noise"}
        Clean activity into the corrupt run (what is enough for the answer?), or corrupt activity
        into the clean one (what is needed?).
    tokens : bool
        Whether each token is patched by itself.
    metric : callable
        Answers (pair, answer) and their pairs to one number each.
    batch_size : int
        Pairs at a time; memory grows with it.
    progress : bool
        Show a bar where stderr is a terminal.

    Returns
    -------
    Effects
        (pair, layer, head, token), as far as these are asked for; the total is the difference
        between the runs.

    Raises
    ------
    InvalidArgument
        The model is not read as a transformer, or there is no such part or direction.

    References
    ----------
    Vig et al. (2020), Investigating gender bias in language models using causal mediation analysis.
    Heimersheim and Nanda (2024), How to use and interpret activation patching.

    Examples
    --------
    >>> from bregma.datasets import PromptPairs
    >>> from bregma.nn import CausalTransformer
    >>> net = CausalTransformer(3, 2, 8, heads=2, layers=2)
    >>> words = ("a", "b", "c")
    >>> clean, corrupt = torch.tensor([[0, 1], [1, 2]]), torch.tensor([[2, 1], [0, 2]])
    >>> pairs = PromptPairs(clean, corrupt, torch.tensor([0, 1]), torch.tensor([2, 0]), words, "")
    >>> dict(patch(net, pairs).values.sizes)
    {'pair': 2, 'layer': 2, 'head': 2}
    """
    base, source, kind = ends(pairs, direction)

    def given(stream: Stream, rows: slice) -> Cache:
        return observe(stream, source[rows])

    again = partial(
        patch, pairs=pairs, part=part, direction=direction, tokens=tokens, metric=metric,
        batch_size=batch_size,
    )  # fmt: skip
    with as_stream(model, pairs.clean) as stream:
        values, before = _grid(
            stream, base, given, pairs, part, tokens, metric, batch_size, progress
        )
        after = measured(stream, source, pairs, metric, batch_size)
    name = f"patching of each {part} ({kind})"
    return Effects(values, after - before, name, model, again)


def ablate(
    model: Any,
    pairs: Pairs,
    part: str = "head",
    *,
    baseline: str = "mean",
    tokens: bool = False,
    metric: Metric = logit_difference,
    batch_size: int = 8,
    seed: int = 0,
    progress: bool = False,
) -> Effects:
    """Take each part of each layer out of the clean run, one at a time.

    Parameters
    ----------
    model : torch.nn.Module or TorchSystem
        A transformer, as for `patch`.
    pairs : PromptPairs or Contrast
        Only the clean inputs are shown, except for the total.
    part : {"head", "attention", "mlp", "residual"}
        What is taken out.
    baseline : {"mean", "zero", "resample"}
        What comes instead: its mean over the inputs, token by token; nothing; or its activity for
        another input, drawn at random. Zeros can be far from anything that the network knows, so
        that all seems needed.
    tokens, metric, batch_size, progress
        As for `patch`.
    seed : int
        Draws the other inputs.

    Returns
    -------
    Effects
        Negative where the part helps. The total is the measure of corrupt less that of clean
        inputs.

    Raises
    ------
    InvalidArgument
        The model is not read as a transformer, or there is no such part or baseline.
    """
    order = torch.from_numpy(others(baseline, len(pairs), seed))
    again = partial(
        ablate, pairs=pairs, part=part, baseline=baseline, tokens=tokens, metric=metric,
        batch_size=batch_size, seed=seed,
    )  # fmt: skip
    with as_stream(model, pairs.clean) as stream:
        if baseline == "mean":
            mean = mean_activity(stream, pairs.clean, batch_size)

        def given(stream: Stream, rows: slice) -> Cache:
            if baseline == "mean":
                return mean
            found = observe(stream, pairs.clean[order[rows]])
            return found.mapped(torch.zeros_like) if baseline == "zero" else found

        values, before = _grid(
            stream, pairs.clean, given, pairs, part, tokens, metric, batch_size, progress
        )
        after = measured(stream, pairs.corrupt, pairs, metric, batch_size)
    name = f"ablation of each {part} ({baseline})"
    return Effects(values, after - before, name, model, again)


def _grid(
    stream: Stream,
    base: Tensor,
    given: Any,
    pairs: Pairs,
    part: str,
    tokens: bool,
    metric: Metric,
    batch_size: int,
    progress: bool,
) -> tuple[xr.DataArray, Float[np.ndarray, " pair"]]:
    """Effects of replacing each part by what is given, and the measure before."""
    check_part(part)
    parts = batches(len(pairs), batch_size)
    n_steps = len(parts) * len(stream.layers)
    found, starts = [], []
    with show_progress[Any](what="patching", total=n_steps, show=progress) as bar:
        for rows in parts:
            cache, other = observe(stream, base[rows]), given(stream, rows)
            before = metric(stream.run(cache.before[0]), pairs[rows])
            effects = []
            for i in range(len(stream.layers)):
                changed = [
                    metric(answers, pairs[rows]) - before
                    for delta in _deltas(stream, cache, other, i, part, tokens)
                    for answers in go_on(stream, cache, i, PLACE[part], delta)
                ]
                effects.append(torch.stack(changed, -1))
                bar.advance()
            found.append(torch.stack(effects, 1).double().cpu())
            starts.append(before.double().cpu())
    return grid_of(torch.cat(found), part, tokens, stream), torch.cat(starts).numpy()


def check_part(part: str) -> None:
    """Refuse names of no part."""
    if part not in PLACE:
        raise InvalidArgument(f"part={part!r} is none of {', '.join(PLACE)}")


def grid_of(
    values: Float[Tensor, "pair layer *part"], part: str, tokens: bool, stream: Stream
) -> xr.DataArray:
    """Effects with the names of their axes."""
    dims, shape = ["pair", "layer"], [len(values), len(stream.layers)]
    if part == "head":
        dims, shape = [*dims, "head"], [*shape, stream.n_heads]
    if tokens:
        dims, shape = [*dims, "token"], [*shape, -1]
    grid = values.reshape(shape).numpy()
    coords = {dim: np.arange(n) for dim, n in zip(dims, grid.shape, strict=True)}
    return xr.DataArray(grid, dims=dims, coords=coords)


def _deltas(
    stream: Stream, cache: Cache, other: Cache, layer: int, part: str, tokens: bool
) -> Iterator[Float[Tensor, "change batch token width"]]:
    """What is added where a part is replaced by the other; heads (and tokens) one by one."""
    if part == "head":
        own = stream.layers[layer].attention.write_apart(other.heads[layer] - cache.heads[layer])
        each = own.expand(len(cache.before[layer]), *own.shape[1:]).unbind(1)
    else:
        difference = getattr(other, FIELD[part])[layer] - getattr(cache, FIELD[part])[layer]
        each = (difference.expand_as(cache.before[layer]),)
    for delta in each:
        if not tokens:
            yield delta[None]
            continue
        n = delta.shape[1]
        one_token = torch.eye(n, dtype=delta.dtype, device=delta.device)[:, None, :, None]
        for some in batches(n, 8):
            yield delta * one_token[some]


def measured(
    stream: Stream, inputs: Tensor, pairs: Pairs, metric: Metric, batch_size: int
) -> Float[np.ndarray, " pair"]:
    """The measure of a network as it is."""
    found = [
        metric(stream.run(stream.embed(inputs[rows])), pairs[rows]).double().cpu()
        for rows in batches(len(pairs), batch_size)
    ]
    return torch.cat(found).numpy()
