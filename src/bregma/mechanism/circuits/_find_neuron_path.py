"""Find the neurons, one of each layer, that together speak for an answer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from bregma.errors import UnknownName
from bregma.mechanism.circuits._contrast import batches
from bregma.mechanism.circuits._hidden_units import (
    Activity,
    HiddenUnits,
    Numbers,
    one_of,
    opened,
    parts_of,
    scaled,
)
from bregma.mechanism.circuits._neuron_path import NeuronPaths

RULES = ("joint", "alone", "activity")


def neuron_paths(
    model: nn.Module,
    inputs: Any,
    answers: Any,
    layers: str | Sequence[str],
    *,
    token: int | None = None,
    by: str = "joint",
    steps: int = 20,
    batch_size: int = 8,
) -> NeuronPaths:
    """For each input, the path of neurons that together speak most for an answer.

    Layer by layer, from the input on, the neuron is taken that makes `joint_attribution` of the
    path so far largest. One pass back serves all candidates of a layer: its activity is scaled as
    a whole, and that of the layers before it at the neurons of the path alone. So L layers take L
    passes of `steps` rows for each input, and not one for each of the combinations.

    Parameters
    ----------
    model : torch.nn.Module
        Anything whose answers are scores of classes (example, answer), or scores of tokens
        (example, token, answer), of which the last token's are read.
    inputs : array or Tensor (example, ...)
        Images, tokens, ...
    answers : array or Tensor (example,)
        For which answer the neurons speak.
    layers : str or sequence of str
        Sites of the hidden units, after their nonlinearity, in the order in which they run:
        names, names with ``.input`` behind them, or patterns such as ``"blocks.*.mlp.act"``.
    token : int or None
        Whose neurons; 0 is the class token of most vision transformers, -1 the last one. None
        takes a neuron at all tokens (or places of a map) at once, which are other neurons.
    by : {"joint", "alone", "activity"}
        Joint attribution; integrated gradients of each layer by itself; or the largest activity.
        The last two are what the first is compared with.
    steps : int
        Of the way from zero to the activity.
    batch_size : int
        Inputs at a time; memory holds `steps` times as many.

    Returns
    -------
    NeuronPaths
        One path for each input.

    Raises
    ------
    UnknownName
        No such site or rule.
    InvalidArgument
        Inputs and answers that do not fit, a site that does not run once, has no neurons of that
        token, or does not act on the answer.

    References
    ----------
    Wang et al. (2025), Discovering influential neuron path in vision transformers.

    Examples
    --------
    >>> net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    >>> neuron_paths(net, torch.ones(5, 3), torch.zeros(5, dtype=int), ["1", "3"]).neurons.shape
    (5, 2)
    """
    if by not in RULES:
        raise UnknownName.of("rule", by, RULES)
    found: list[Tensor] = []
    widths: tuple[int, ...] = ()
    with opened(model, layers, token, steps) as read:
        for x, y in parts_of(read.module, inputs, answers, batch_size):
            w = read.activity(x)
            widths = tuple(part.shape[-1] for part in w)
            if by == "joint":
                found.append(_progressive(read, x, y, w))
            elif by == "alone":
                found.append(_alone(read, x, y, w))
            else:
                found.append(torch.stack([part.sum(1).argmax(-1) for part in w], 1))
        return NeuronPaths(read.sites, torch.cat(found).cpu().numpy(), widths, token)


def joint_attribution(
    model: nn.Module,
    inputs: Any,
    answers: Any,
    paths: NeuronPaths,
    *,
    steps: int = 20,
    batch_size: int = 8,
) -> Float[np.ndarray, " example"]:
    """How much the neurons of a path speak for an answer together.

    The sum of their activities, times the sum of the gradients of the answer's probability by
    them; the gradients are the mean over `steps` of the way on which the neurons of the path are
    scaled from zero to their activity, and all others of these layers held at theirs. For a path
    of one neuron this is its integrated gradient.

    Parameters
    ----------
    model : torch.nn.Module
        As in `neuron_paths`.
    inputs : array or Tensor (example, ...)
        Images, tokens, ...
    answers : array or Tensor (example,)
        For which answer.
    paths : NeuronPaths
        One for each input.
    steps : int
        Of the way.
    batch_size : int
        Inputs at a time.

    Returns
    -------
    array (example,)
        The score of each path.

    Raises
    ------
    UnknownName
        No such site.
    InvalidArgument
        Inputs, answers or paths that do not fit.

    References
    ----------
    Wang et al. (2025), Discovering influential neuron path in vision transformers.
    """
    found = []
    with opened(model, paths.layers, paths.token, steps) as read:
        parts = parts_of(read.module, inputs, answers, batch_size, len(paths))
        for (x, y), rows in zip(parts, batches(len(paths), batch_size), strict=True):
            w = read.activity(x)
            path = torch.from_numpy(paths.neurons[rows]).to(x.device)
            chosen = [one_of(part, path[:, i]) for i, part in enumerate(w)]
            ramps = [read.ramp(part, path[:, i]) for i, part in enumerate(w)]
            slopes = [one_of(s, path[:, i]) for i, s in enumerate(read.slopes(x, y, ramps))]
            found.append((sum(chosen) * sum(slopes)).sum((1, 2)))  # type: ignore[union-attr]
    return torch.cat(found).double().cpu().numpy()


def scale_neurons(
    model: nn.Module, inputs: Any, paths: NeuronPaths, factor: float | int, *, batch_size: int = 64
) -> Float[np.ndarray, "example answer"]:
    """Probabilities of the answers with the neurons of each input's path made weaker or stronger.

    Parameters
    ----------
    model : torch.nn.Module
        As in `neuron_paths`.
    inputs : array or Tensor (example, ...)
        Images, tokens, ...
    paths : NeuronPaths
        One for each input.
    factor : float
        Of their activity: 0 silences them, 1 changes nothing, 2 doubles them. All others follow.
    batch_size : int
        Inputs at a time.

    Returns
    -------
    array (example, answer)
        Probabilities.

    Raises
    ------
    UnknownName
        No such site.
    InvalidArgument
        Inputs or paths that do not fit.
    """
    nobody = np.zeros(len(paths), dtype=int)
    found = []
    with opened(model, paths.layers, paths.token, 1) as read:
        parts = parts_of(read.module, inputs, nobody, batch_size, len(paths))
        for (x, _), rows in zip(parts, batches(len(paths), batch_size), strict=True):
            path = torch.from_numpy(paths.neurons[rows]).to(x.device)
            changes = [partial(scaled, factor, path[:, i]) for i in range(len(paths.layers))]
            found.append(read.probabilities(x, changes))
    return torch.cat(found).double().cpu().numpy()


def _progressive(
    read: HiddenUnits, x: Tensor, y: Numbers, w: Sequence[Activity]
) -> Int[Tensor, "example layer"]:
    path: list[Tensor] = []
    for n, layer in enumerate(w):
        ramps = [read.ramp(w[i], neuron) for i, neuron in enumerate(path)]
        slopes = read.slopes(x, y, [*ramps, read.ramp(layer)])
        activity, slope = layer, slopes[n]
        for i, neuron in enumerate(path):
            activity, slope = activity + one_of(w[i], neuron), slope + one_of(slopes[i], neuron)
        path.append((activity * slope).sum(1).argmax(-1))
    return torch.stack(path, 1)


def _alone(
    read: HiddenUnits, x: Tensor, y: Numbers, w: Sequence[Activity]
) -> Int[Tensor, "example layer"]:
    found = []
    for n, layer in enumerate(w):
        [slope] = read.slopes(x, y, [read.ramp(layer)], first=n)
        found.append((layer * slope).sum(1).argmax(-1))
    return torch.stack(found, 1)
