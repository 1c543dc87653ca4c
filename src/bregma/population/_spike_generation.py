"""Spikes that a decoder makes up: window after window, its own output being the next past."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from bregma.errors import InvalidArgument
from bregma.population._spike_decoder import SpikeDecoder
from bregma.population._spike_tokens import PAD, SpikeWindows, trimmed
from bregma.recording import SpikeTrains
from bregma.run import spawn_torch
from bregma.run._evaluating import evaluating


@torch.no_grad()
def generate_spikes(
    decoder: SpikeDecoder,
    past: Int[Tensor, "run key"],
    n_windows: int,
    modalities: Mapping[str, Tensor] | None = None,
    *,
    temperature: float = 1.0,
    top_p: float = 1.0,
    seed: int,
) -> Int[Tensor, "run window token"]:
    """Let a decoder run free: it sees no true spikes but those of the first past.

    Parameters
    ----------
    decoder : SpikeDecoder
        Fitted; dropout is off while it runs.
    past : Int[Tensor, "run key"]
        Spikes before the first window, one row for each run; all runs go on at once.
    n_windows : int
        How many windows to make.
    modalities : mapping of str to Tensor
        (run, window, ...): what each module of the decoder takes, in each window.
    temperature : float
        Below 1 makes likely spikes more likely; 1 draws from the decoder's probabilities.
    top_p : float
        Draw only from the likeliest tokens that have this probability together (nucleus).
    seed : int
        Of the draws.

    Returns
    -------
    Int[Tensor, "run window token"]
        Tokens of the windows, -1 behind the last one.

    Raises
    ------
    InvalidArgument
        No window, a temperature that is not positive, `top_p` outside (0, 1], or modalities of
        another number of runs or windows.

    References
    ----------
    Holtzman et al. (2020), The curious case of neural text degeneration. arXiv:1904.09751.

    Examples
    --------
    >>> net = SpikeDecoder(n_units=3, n_bins=2, n_past=4, width=8, heads=2)
    >>> generate_spikes(net, torch.full((5, 0), -1), 10, seed=0).shape[:2]
    torch.Size([5, 10])
    """
    modalities = dict(modalities or {})
    if n_windows < 1 or not temperature > 0 or not 0 < top_p <= 1:
        raise InvalidArgument(
            "n_windows must be 1 or more, temperature above 0 and top_p from above 0 to 1, not "
            f"{n_windows}, {temperature} and {top_p}"
        )
    for name, signal in modalities.items():
        if tuple(signal.shape[:2]) != (len(past), n_windows):
            raise InvalidArgument(
                f"{name!r} must begin with ({len(past)} runs, {n_windows} windows), not "
                f"{tuple(signal.shape)}"
            )
    generator = spawn_torch(seed, "generated spikes", device=past.device)
    windows = []
    with evaluating(decoder):
        for number in range(n_windows):
            seen = {name: signal[:, number] for name, signal in modalities.items()}
            tokens = _window(decoder, past, seen, temperature, top_p, generator)
            windows.append(tokens)
            past = next_past(past, tokens, decoder)
    longest = max(tokens.shape[1] for tokens in windows)
    return torch.stack(
        [torch.nn.functional.pad(x, (0, longest - x.shape[1]), value=PAD) for x in windows], 1
    )


def _window(
    decoder: SpikeDecoder,
    past: Tensor,
    modalities: Mapping[str, Tensor],
    temperature: float,
    top_p: float,
    generator: torch.Generator,
) -> Int[Tensor, "run token"]:
    """Draw token after token until all runs have said that there are no more."""
    around = decoder.surroundings(past, modalities)
    new, kept = past.new_full((len(past), 1), PAD), None
    going = torch.ones(len(past), dtype=torch.bool, device=past.device)
    found = [past[:, :0]]
    while True:
        states, kept = decoder.states(new, around, kept)  # the new token only: the rest is kept
        scores = decoder.scores(states[-1], new)[:, 0]
        drawn = torch.multinomial(chances(scores, temperature, top_p), 1, generator=generator)
        going &= drawn[:, 0] != decoder.end
        new = torch.where(going[:, None], drawn, PAD)
        if not going.any():
            return torch.cat(found, 1)
        found.append(new)


def chances(
    scores: Float[Tensor, "run token"], temperature: float, top_p: float
) -> Float[Tensor, "run token"]:
    """Probabilities to draw from: sharpened, and cut to the smallest set that has `top_p`."""
    p = (scores / temperature).softmax(-1)
    ordered, order = p.sort(descending=True)
    likelier = ordered.cumsum(-1) - ordered  # what all likelier ones have together
    return torch.where(likelier < top_p, ordered, 0).gather(-1, order.argsort(-1))


def next_past(
    past: Int[Tensor, "run key"], tokens: Int[Tensor, "run token"], decoder: SpikeDecoder
) -> Int[Tensor, "run later"]:
    """The past of the next window: what was before, one window older, and the window itself."""
    n, last = decoder.n_units, decoder.n_bins - 1
    older = torch.where(past >= 0, past + decoder.n_bins * n, PAD)
    older = torch.where(older < decoder.n_past * n, older, PAD)
    new = torch.where(tokens >= 0, (last - tokens // n) * n + tokens % n, PAD)
    new = torch.where(new < decoder.n_past * n, new, PAD)
    both = torch.cat([new, older], 1)
    empty = both < 0
    order = torch.where(empty, torch.iinfo(both.dtype).max, both).argsort(1)
    return trimmed(both.gather(1, order))


def spikes_of(
    windows: SpikeWindows, tokens: Int[Tensor, "window token"] | None = None
) -> SpikeTrains:
    """Spike trains of windows: the other way round from `spike_windows`.

    Parameters
    ----------
    windows : SpikeWindows
        When the windows were.
    tokens : Int[Tensor, "window token"]
        Spikes in place of those of the windows, such as generated ones.

    Returns
    -------
    SpikeTrains
        Spikes in the middle of their bins, observed in the windows.
    """
    tokens = (windows.tokens if tokens is None else tokens).cpu()
    window, place = (x.numpy() for x in torch.nonzero(tokens >= 0, as_tuple=True))
    found = tokens.numpy()[window, place]
    times = windows.start[window] + (found // windows.n_units + 0.5) * windows.bin
    length = windows.n_bins * windows.bin
    begins = np.diff(windows.start, prepend=-np.inf) > length * 1.001  # after a gap
    ends = np.roll(begins, -1)
    return SpikeTrains.from_unsorted(
        times,
        found % windows.n_units,
        units=np.arange(windows.n_units),
        support=np.c_[windows.start[begins], windows.start[ends] + length],
    )
