"""What a network loses when a dictionary stands in for a part of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from bregma.errors import InvalidArgument, NotIdentifiable
from bregma.recording import Recording
from bregma.run._evaluating import evaluating
from bregma.system import Ablate, Patch, TorchSystem
from bregma.system._preprocess import as_stimuli


@dataclass(frozen=True)
class LossRecovered:
    """Losses of a network whole, with a dictionary in place of a part, and without that part.

    Parameters
    ----------
    full : float
        Mean loss of the network as it is.
    spliced : float
        With the dictionary's output in place of the activity of the site.
    zero : float
        With the site at zero.
    """

    full: float
    spliced: float
    zero: float

    @property
    def recovered(self) -> float:
        """(zero - spliced) / (zero - full): 1 if nothing is lost, 0 if it is as bad as nothing."""
        if not self.zero > self.full:
            raise NotIdentifiable(
                f"the loss is {self.zero:.4g} without the site and {self.full:.4g} with it: the "
                "network does not need it, so that there is nothing to recover"
            )
        return (self.zero - self.spliced) / (self.zero - self.full)


def loss_recovered(
    system: TorchSystem,
    stimuli: Any,
    dictionary: Any,
    site: str,
    loss: Callable[[Recording], Float[np.ndarray, " presentation"]],
    *,
    inputs: str | None = None,
    size: int = 64,
) -> LossRecovered:
    """Splice a dictionary into a network and compare the losses, a few stimuli at a time.

    Activity of the site is replaced by the dictionary's output (a `Patch`), everything after it
    runs on; nothing is changed in the network itself.

    Parameters
    ----------
    system : TorchSystem
        The network; its layers are what the loss is computed from, such as the logits.
    stimuli : Stimuli, array or Tensor
        What to show.
    dictionary : torch.nn.Module
        Maps (..., input) to (..., output); it is used in evaluation mode.
    site : str
        Whose activity the dictionary stands in for. The last axis of its activity are channels.
    loss : callable
        Takes the `Recording` of the layers for some stimuli and gives one number for each. Its
        ``stimuli`` are row numbers where `stimuli` is an array.
    inputs : str, optional
        What a transcoder reads, such as ``"mlp.input"``; the site itself where it is not given.
    size : int
        Stimuli at a time.

    Returns
    -------
    LossRecovered
        Three mean losses.

    Raises
    ------
    InvalidArgument
        If the loss does not give one finite number for each stimulus, or shapes do not fit.

    Examples
    --------
    >>> from bregma.mechanism import loss_recovered
    >>> net = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.ReLU(), torch.nn.Linear(6, 1))
    >>> x = torch.randn(20, 4)
    >>> wanted = net(x).detach().numpy()[:, 0]
    >>> def squared(out):
    ...     return (out.values[:, 0] - wanted[out.stimuli.astype(int)]) ** 2
    >>> loss_recovered(TorchSystem(net, "2"), x, torch.nn.Identity(), "1", squared).recovered
    1.0
    """
    if size < 1 or len(stimuli) < 1:
        raise InvalidArgument(f"size={size} must be 1 or more, and so the stimuli")
    stimuli = as_stimuli(stimuli)
    sums = {"full": 0.0, "spliced": 0.0, "zero": 0.0}
    reads = dict.fromkeys([site] if inputs is None else [inputs, site])
    listens = system.with_layers(reads)
    for part in stimuli.batches(size):
        output = _output(listens.record(part), dictionary, site, inputs or site)
        for name, other in {
            "full": system,
            "spliced": system.perturb(Patch(site, output)),
            "zero": system.perturb(Ablate(site)),
        }.items():
            values = np.asarray(loss(other.record(part)), dtype=np.float64)
            if values.shape != (len(part),) or not np.isfinite(values).all():
                raise InvalidArgument(
                    f"the loss gives the shape {values.shape} for {len(part)} stimuli; it must "
                    "give one finite number for each"
                )
            sums[name] += values.sum()
    return LossRecovered(**{name: float(total / len(stimuli)) for name, total in sums.items()})


@torch.no_grad()
def _output(recording: Recording, dictionary: Any, site: str, inputs: str) -> Recording:
    """The activity of the site as the dictionary has it."""
    there = recording.select(layer=site)
    x = with_channels_last(recording.select(layer=inputs))
    parameter = next(iter(dictionary.parameters()), x)
    with evaluating(dictionary):
        y = dictionary(x.to(parameter)).cpu()
    wanted = with_channels_last(there).shape
    if y.shape != wanted:
        raise InvalidArgument(
            f"the dictionary gives the shape {tuple(y.shape)} for {site!r}, which has "
            f"{tuple(wanted)} (stimulus, position, channel)"
        )
    return there.with_values(y.reshape(len(y), -1).numpy())


def with_channels_last(recording: Recording) -> torch.Tensor:
    """(stimulus, position, channel), where the channel is the last axis of the activity."""
    n = len(set(recording.units["channel"]))
    channels = recording.units["channel"].to_numpy()
    if not (channels.reshape(-1, n) == np.arange(n)).all():
        raise InvalidArgument(
            f"{recording.units['layer'].iloc[0]!r} does not have its channels last, as "
            "tokens have; splice the dictionary in behind a layer that has"
        )
    return torch.from_numpy(recording.values.reshape(len(recording.values), -1, n))
