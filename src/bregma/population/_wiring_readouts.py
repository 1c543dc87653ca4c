"""Who drives whom, read from a trained decoder: from its attention, or by taking spikes away."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from bregma.errors import InvalidArgument
from bregma.population._spike_decoder import SpikeDecoder, attention_blocks
from bregma.population._spike_tokens import PAD, trimmed
from bregma.run._evaluating import evaluating

SLICE = 256  # windows at once


@dataclass(frozen=True)
class PastAttention:
    """How much was looked at past spikes of unit j, by age, when a spike of unit i was predicted.

    Parameters
    ----------
    given : Float[Tensor, "unit unit age"]
        Attention from the places that predict the row to spikes of the column, added up.
    uniform : Float[Tensor, "unit unit age"]
        The same if each place looked at everything in its past alike.
    """

    given: Float[Tensor, "unit unit age"]
    uniform: Float[Tensor, "unit unit age"]

    def per_pair(self) -> Float[Tensor, "unit unit"]:
        """Attention over what is expected from how often two units fire after each other.

        Returns
        -------
        Float[Tensor, "unit unit"]
            From the column to the row; 1 for a spike that is looked at like any other, and where a
            pair never met.
        """
        return _ratio(self.given.sum(-1), self.uniform.sum(-1))

    def per_pair_and_age(self) -> Float[Tensor, "unit unit"]:
        """The same, but over what spikes of the same age get on average.

        A unit that drives another fires shortly before it. Where recent spikes are looked at more
        than old ones, whoever they are from, that alone makes the pair stand out in `per_pair`, as
        in a cross-correlogram. Here it does not.

        Returns
        -------
        Float[Tensor, "unit unit"]
            From the column to the row; 1 for a spike that is looked at like any other of its age.
        """
        of_age = _ratio(self.given.sum((0, 1)), self.uniform.sum((0, 1)))
        return _ratio(self.given.sum(-1), (self.uniform * of_age).sum(-1))


@torch.no_grad()
def past_attention(
    decoder: SpikeDecoder,
    tokens: Int[Tensor, "window token"],
    past: Int[Tensor, "window key"],
    modalities: Mapping[str, Tensor] | None = None,
) -> PastAttention:
    """Add up the attention of a decoder to the past, for each pair of units.

    Parameters
    ----------
    decoder : SpikeDecoder
        Fitted; dropout is off.
    tokens, past : Int[Tensor, "window token"]
        Windows, as many as there are.
    modalities : mapping of str to Tensor
        What each module of the decoder takes.

    Returns
    -------
    PastAttention
        The mean over heads, added up over layers, places and windows.

    Raises
    ------
    InvalidArgument
        If there are no windows, other pasts than windows, or tokens that the decoder does not know.

    References
    ----------
    Antoniades et al. (2024), Neuroformer. arXiv:2311.00136.
    """
    n, n_past = decoder.n_units, decoder.n_past
    given = past.new_zeros(n * n * n_past, dtype=torch.float64)
    uniform = torch.zeros_like(given)
    with evaluating(decoder):
        for part in _slices(tokens, past, modalities):
            begun, states, around = decoder.read(*part)
            target = torch.cat([begun[:, 1:], begun[:, :1]], 1)  # what each place predicts
            keys = part[1]
            both = (target >= 0)[:, :, None] & (keys >= 0)[:, None]
            window, query, key = torch.nonzero(both, as_tuple=True)
            of, to = target[window, query] % n, keys[window, key]
            place = (of * n + to % n) * n_past + to // n
            for layer, block in enumerate(attention_blocks(decoder.others["past"])):
                visible = around.visible[layer][:, None].expand(-1, begun.shape[1], -1)
                state = states[decoder.layers + layer]
                weights = block.weights(state, around.keys_values[layer], visible).mean(1)
                alike = 1 / visible.sum(-1)  # behind the key that is always there
                given.index_add_(0, place, weights[window, query, key + 1].double())
                uniform.index_add_(0, place, alike[window, query].double())
    return PastAttention(given.view(n, n, n_past), uniform.view(n, n, n_past))


@torch.no_grad()
def past_influence(
    decoder: SpikeDecoder,
    tokens: Int[Tensor, "window token"],
    past: Int[Tensor, "window key"],
    modalities: Mapping[str, Tensor] | None = None,
) -> Float[Tensor, "unit unit"]:
    """How the first spike of a window is predicted otherwise when a unit's past spikes are removed.

    Parameters
    ----------
    decoder : SpikeDecoder
        Fitted; dropout is off.
    tokens, past : Int[Tensor, "window token"]
        Windows; only their pasts count.
    modalities : mapping of str to Tensor
        What each module of the decoder takes.

    Returns
    -------
    Float[Tensor, "unit unit"]
        From the column to the row: log-odds of 'this unit is the first' against 'nobody fires' with
        the spikes of the column, minus those without them; the mean over windows in whose past it
        fired, 0 if there are none. Above 0 for excitation, below 0 for inhibition.

    Raises
    ------
    InvalidArgument
        If there are no windows, other pasts than windows, or tokens that the decoder does not know.
    """
    n = decoder.n_units
    total, times = past.new_zeros(n, n, dtype=torch.float64), past.new_zeros(n)
    with evaluating(decoder):
        for _, before, seen in _slices(tokens, past, modalities):
            whole = _first_log_odds(decoder, before, seen)
            for unit in range(n):
                its = (before >= 0) & (before % n == unit)
                fired = its.any(1)
                if fired.any():
                    rest = torch.where(its, PAD, before)[fired]
                    less = _first_log_odds(decoder, rest, {k: v[fired] for k, v in seen.items()})
                    total[:, unit] += (whole[fired] - less).sum(0)
                    times[unit] += fired.sum()
    return total / times.clamp_min(1)


def _first_log_odds(
    decoder: SpikeDecoder, past: Tensor, modalities: Mapping[str, Tensor]
) -> Float[Tensor, "window unit"]:
    begin = past.new_full((len(past), 1), PAD)
    states, _ = decoder.states(begin, decoder.surroundings(past, modalities))
    scores = decoder.scores(states[-1], begin)[:, 0]
    each = scores[:, :-1].unflatten(1, (decoder.n_bins, decoder.n_units)).logsumexp(1)
    return each - scores[:, -1:]


def _ratio(a: Tensor, b: Tensor) -> Tensor:
    return torch.where(b > 0, a / b.clamp_min(torch.finfo(b.dtype).tiny), 1.0)


def _slices(
    tokens: Tensor, past: Tensor, modalities: Mapping[str, Tensor] | None
) -> Iterator[tuple[Tensor, Tensor, dict[str, Tensor]]]:
    if not len(tokens) or len(tokens) != len(past):
        raise InvalidArgument(
            f"windows and pasts to read from must be as many, 1 or more, not {len(tokens)} and "
            f"{len(past)}"
        )
    seen = modalities or {}
    for first in range(0, len(tokens), SLICE):
        rows = slice(first, first + SLICE)
        yield trimmed(tokens[rows]), trimmed(past[rows]), {k: v[rows] for k, v in seen.items()}
