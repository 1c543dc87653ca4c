"""Attribution patching: what patching each part would do, estimated from gradients."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from bregma.errors import InvalidArgument
from bregma.mechanism.circuits._cache import observe
from bregma.mechanism.circuits._contrast import Metric, Pairs, batches, ends, logit_difference
from bregma.mechanism.circuits._effects import Effects
from bregma.mechanism.circuits._patch import FIELD, check_part, grid_of, measured
from bregma.mechanism.circuits._read import as_stream
from bregma.mechanism.circuits._stream import Stream, Vectors


def attribute(
    model: Any,
    pairs: Pairs,
    part: str = "head",
    *,
    direction: str = "denoise",
    steps: int = 1,
    tokens: bool = False,
    metric: Metric = logit_difference,
    batch_size: int = 8,
) -> Effects:
    """Estimate what `patch` gives, for all parts together, from a few runs forward and back.

    What changes in a part between the runs, times the gradient of the measure by it. With one step
    the gradient is that of the run into which is patched (attribution patching); with more it is
    the mean over runs with embeddings on the way to the other run (integrated gradients), of which
    those of the stream before the first layer add up to the total.

    Parameters
    ----------
    model : torch.nn.Module or TorchSystem
        A transformer, as for `patch`.
    pairs : PromptPairs or Contrast
        Clean and corrupt inputs and their answers.
    part, direction, tokens, batch_size
        As for `patch`.
    steps : int
        How many runs.
    metric : callable
        Answers (pair, answer) and their pairs to one number each; differentiable.

    Returns
    -------
    Effects
        As of `patch`. Estimates: where an effect saturates, as that of attention to one place, the
        gradient is near 0; look at the largest with `patch`.

    Raises
    ------
    InvalidArgument
        The model is not read as a transformer, there is no such part or direction, or no step.

    References
    ----------
    Sundararajan, Taly and Yan (2017), Axiomatic attribution for deep networks. Nanda (2023),
    Attribution patching: activation patching at industrial scale. Syed, Rager and Conmy (2024),
    Attribution patching outperforms automated circuit discovery.

    Examples
    --------
    >>> from bregma.datasets import wired_induction
    >>> wired = wired_induction(4, seed=0)
    >>> found = attribute(wired.net, wired.tasks["induction"], "residual", tokens=True, steps=50)
    >>> whole = found.values.sel(layer=0).sum("token")
    >>> bool(abs(whole.mean() / found.total.mean() - 1) < 0.05)
    True
    """
    check_part(part)
    if steps < 1:
        raise InvalidArgument(f"steps must be 1 or more, not {steps}")
    base, source, kind = ends(pairs, direction)
    again = partial(
        attribute, pairs=pairs, part=part, direction=direction, steps=steps, tokens=tokens,
        metric=metric, batch_size=batch_size,
    )  # fmt: skip
    found = list[Tensor]()
    with as_stream(model, pairs.clean) as stream:
        for rows in batches(len(pairs), batch_size):
            before, after = (observe(stream, inputs[rows]) for inputs in (base, source))
            first, last = before.before[0], after.before[0]
            slopes = torch.zeros_like(getattr(before, FIELD[part]))
            for k in range(steps):
                x = first + (last - first) * (k / steps)
                slopes += _slopes(stream, x, part, metric, pairs[rows]) / steps
            change = getattr(after, FIELD[part]) - getattr(before, FIELD[part])
            each = (change * slopes).sum(-1)  # (layer, pair, head?, token)
            found.append((each if tokens else each.sum(-1)).transpose(0, 1).double().cpu())
        low, high = (measured(stream, x, pairs, metric, batch_size) for x in (base, source))
        values = grid_of(torch.cat(found), part, tokens, stream)
    how = "attribution" if steps == 1 else f"integrated gradients in {steps} steps"
    return Effects(values, high - low, f"{how} of each {part} ({kind})", model, again)


def _slopes(
    stream: Stream, x: Vectors, part: str, metric: Metric, pairs: Pairs
) -> Float[Tensor, "layer batch *head token number"]:
    """Gradient of the measure by what every part gathers or writes."""
    nudges = list[Tensor]()

    def nudged(here: str, value: Tensor) -> Tensor:
        if here != part:
            return value
        nudges.append(torch.zeros_like(value).requires_grad_())
        return value + nudges[-1]

    with torch.enable_grad():
        for layer in stream.layers:
            x = nudged("residual", x)
            z = nudged("head", layer.attention.read(x))
            x = layer.after_heads(x, nudged("attention", layer.attention.write(z)))
            x = nudged("mlp", x)  # what a perceptron writes is added to the stream
        total = metric(stream.read_out(x), pairs).sum()
        return torch.stack(torch.autograd.grad(total, nudges))
