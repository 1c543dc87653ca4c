"""Direct attribution: what each part of a transformer itself adds to the answer."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from bregma.errors import InvalidArgument
from bregma.mechanism.circuits._cache import observe
from bregma.mechanism.circuits._contrast import Metric, Pairs, batches, logit_difference
from bregma.mechanism.circuits._effects import Effects
from bregma.mechanism.circuits._read import as_stream
from bregma.mechanism.circuits._stream import Stream
from bregma.mechanism.circuits._walk import names_of
from bregma.mechanism.dictionaries._linear_norm import linear_norm

NEAR = 1e-3  # relative: how well what parts add has to sum to the measure
CONSTANT = "constant"


def direct_attribution(
    model: Any,
    pairs: Pairs,
    *,
    metric: Metric = logit_difference,
    batch_size: int = 8,
) -> Effects:
    r"""What each head and perceptron itself adds to the measure, by no way but the last norm.

    .. math:: c_n = \frac{o_n}{\sigma} \cdot g \odot \Big(W_\text{right} - W_\text{wrong}\Big)

    with :math:`o_n` what a part writes at the token where the answer is read, and :math:`\sigma`
    the scale of the last norm (of gain g), held at what the whole stream makes it; of a layer norm
    the mean is taken away first. No run is changed, so that nothing can make up for a part that is
    gone. What a part does through others does not count: `patch` and `ablate` count it as well.

    Parameters
    ----------
    model : torch.nn.Module or TorchSystem
        A transformer, as for `patch`.
    pairs : PromptPairs or Contrast
        Only the clean inputs are shown.
    metric : callable
        Answers (pair, answer) and their pairs to one number each; linear in the answers.
    batch_size : int
        Pairs at a time.

    Returns
    -------
    Effects
        (pair, sender): what is added by ``"embed"``, ``"7.h3"``, ``"7.mlp"`` ... and by all biases
        together (``"constant"``). They sum to the total, which is the measure of the clean inputs.

    Raises
    ------
    InvalidArgument
        The model is not read as a transformer, or its parts do not add up: its last norm is no
        layer norm nor a root mean square norm, or the metric is not linear.

    References
    ----------
    Lieberum, Rahtz, Kramár, Nanda, Irving, Shah and Mikulik (2023), Does circuit analysis
    interpretability scale? Evidence from multiple choice capabilities in Chinchilla.

    Examples
    --------
    >>> from bregma.datasets import wired_induction
    >>> wired = wired_induction(8, seed=0)
    >>> added = direct_attribution(wired.net, wired.tasks["induction"])
    >>> where = {role: head for head, role in wired.roles.items()}
    >>> added.share.sel(sender=[where["previous"], where["induction"]]).values.round(3).tolist()
    [0.0, 1.0]
    """
    again = partial(direct_attribution, pairs=pairs, metric=metric, batch_size=batch_size)
    with as_stream(model, pairs.clean) as stream:
        found = [_added(stream, pairs[rows], metric) for rows in batches(len(pairs), batch_size)]
        senders = [*names_of(stream)[0], CONSTANT]
    added, total = (torch.cat(part).double().cpu().numpy() for part in zip(*found, strict=True))
    _check(added, total)
    values = xr.DataArray(
        added, dims=["pair", "sender"], coords={"pair": np.arange(len(pairs)), "sender": senders}
    )
    return Effects(values, total, "direct attribution", model, again)


def _added(
    stream: Stream, pairs: Pairs, metric: Metric
) -> tuple[Float[Tensor, "pair sender"], Float[Tensor, " pair"]]:
    """What parts add, and the measure."""
    written, biases = _written(stream, pairs.clean)
    norm = stream.answer.norm
    x = written.sum(1) + biases
    y = norm(x).detach().requires_grad_()
    with torch.enable_grad():
        total = metric(stream.answer.unembed(y), pairs)
        [slope] = torch.autograd.grad(total.sum(), y)  # of a linear measure: what it reads
    held = linear_norm(norm, x)
    scale = held.scale(x.flatten(0, 1)).unflatten(0, x.shape[:2])
    reads = held.pull(slope) / scale[..., None]
    without = metric(stream.answer.unembed(norm(torch.zeros_like(x))), pairs)
    constant = (biases * reads).sum((-1, -2)) + without
    added = (written * reads[:, None]).sum((-1, -2))
    return torch.cat([added, constant[:, None]], 1), total.detach()


def _written(
    stream: Stream, inputs: Tensor
) -> tuple[Float[Tensor, "batch sender place width"], Float[Tensor, "#batch #place width"]]:
    """What every sender writes where the answer is read, and what is written whatever they do."""
    cache = observe(stream, inputs)
    place = slice(None) if stream.place is None else [stream.place]
    sent = [cache.before[0][:, None, place]]
    biases = torch.zeros_like(sent[0][:1, 0, :1])
    for i, layer in enumerate(stream.layers):
        sent.append(layer.attention.write_apart(cache.heads[i][:, :, place]))
        if layer.attention.bias is not None:
            biases = biases + layer.attention.bias
        if layer.mlp is not None:
            sent.append(cache.mlp[i][:, None, place])
    return torch.cat(sent, 1), biases


def _check(added: Float[np.ndarray, "pair sender"], total: Float[np.ndarray, " pair"]) -> None:
    off = np.abs(added.sum(1) - total).max()
    if not off <= NEAR * max(np.abs(added).max(), np.abs(total).max()):
        raise InvalidArgument(
            f"what the parts add differs by {off:.2g} from the measure: it has to be linear in "
            "the answers (logits, not probabilities), and so has all behind the last norm; "
            "patch(model, pairs) and path_patch(model, pairs) take any"
        )
