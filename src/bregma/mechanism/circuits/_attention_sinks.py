"""Tokens that heads rest on: found in the stream, with the layer that makes them and their life."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from jaxtyping import Bool, Float, Int
from torch import Tensor

from bregma.errors import InvalidArgument
from bregma.mechanism.circuits._contrast import batches
from bregma.mechanism.circuits._perceptron_edits import edited
from bregma.mechanism.circuits._read import as_stream
from bregma.mechanism.circuits._stream import Map, Stream

FALL = 0.5  # of its norm: what the primary sink loses at once where it ends


@dataclass(frozen=True)
class AttentionSinks:
    """Where heads rest, as `attention_sinks` found it.

    Parameters
    ----------
    norms : DataArray (input, state, token)
        Lengths of the stream's vectors; state 0 is before the first layer, state 1 behind it.
    cosines : DataArray (input, state, token)
        Of these vectors with that of the primary sink in the same state.
    scores : DataArray (input, layer, token)
        Attention that a token gets, mean over heads and later tokens; 0 for the last token.
    primary : int
        The place of the primary sink, -1 where the model has none.
    span : (int, int)
        Its first and its last state, (0, -1) where there is none.
    cosine : float
        From where on a token is a sink.
    """

    norms: xr.DataArray
    cosines: xr.DataArray
    scores: xr.DataArray
    primary: int
    span: tuple[int, int]
    cosine: float

    @property
    def is_sink(self) -> Bool[np.ndarray, "input state token"]:
        """Whether a token is a sink in a state: along the primary one, while that lasts."""
        state = np.arange(self.cosines.sizes["state"])[:, None]
        there = (self.span[0] <= state) & (state <= self.span[1])
        return (np.abs(self.cosines.values) > self.cosine) & there

    @property
    def created(self) -> Int[np.ndarray, "input token"]:
        """The layer behind which a token is a sink for the first time; -1 where it never is."""
        sink = self.is_sink
        return np.where(sink.any(1), sink.argmax(1) - 1, -1)

    @property
    def lifetime(self) -> Int[np.ndarray, "input token"]:
        """In how many states it is one."""
        return self.is_sink.sum(1)

    @property
    def uniform(self) -> Float[np.ndarray, " token"]:
        """The score of tokens that are looked at like all others: a token sees those before it."""
        n = self.scores.sizes["token"]
        later = np.cumsum((1 / np.arange(1, n + 1))[::-1])[::-1]  # itself and those after it
        return np.append(later[1:] / np.arange(n - 1, 0, -1), 0.0)

    def kinds(self, *, short: float = 0.08, long: float = 0.7) -> np.ndarray:
        """What tokens are, by the share of layers that they are sinks for.

        Parameters
        ----------
        short : float
            Above it a sink is ``"secondary"``, otherwise ``"brief"``.
        long : float
            From there on it is ``"primary"``.

        Returns
        -------
        array of str (input, token)
            ``""`` where a token is no sink at all. The primary sink itself is ``"primary"``.

        Raises
        ------
        InvalidArgument
            Not 0 <= short < long <= 1.
        """
        if not 0 <= short < long <= 1:
            raise InvalidArgument(f"short and long must be ordered shares, not {short} and {long}")
        life = self.lifetime
        share = life / self.scores.sizes["layer"]
        kinds = ["", "primary", "secondary"]
        names = np.select([life == 0, share >= long, share > short], kinds, "brief")
        if self.primary >= 0:
            names[:, self.primary] = "primary"
        return names

    def to_frame(self) -> pd.DataFrame:
        """All sinks: a row for each.

        Returns
        -------
        DataFrame
            Input, token, kind, the layer that made it, lifetime, and the mean score over the layers
            that read it, by that of uniform attention.
        """
        inputs, tokens = np.nonzero(self.lifetime)
        kinds, created, life = self.kinds(), self.created, self.lifetime
        # Layer l reads state l; the last state is read by the answer alone.
        read = self.is_sink[:, :-1]
        mass = (self.scores.values * read).sum(1) / np.maximum(read.sum(1), 1)
        relative = mass / np.where(self.uniform > 0, self.uniform, 1)
        where = (inputs, tokens)
        return pd.DataFrame(
            {
                "input": inputs,
                "token": tokens,
                "kind": kinds[where],
                "created": created[where],
                "lifetime": life[where],
                "relative_score": relative[where],
            }
        )


def attention_sinks(
    model: Any,
    inputs: Tensor,
    *,
    primary: int = 0,
    cosine: float = 0.9,
    massive: float = 3.0,
    edits: Mapping[int, Map] | None = None,
    batch_size: int = 8,
) -> AttentionSinks:
    r"""Tokens whose vectors turn into that of the primary sink, and the attention that they get.

    .. math:: |\cos(h_t^l, h_b^l)| > 0.9, \quad l_0 \le l \le l_1, \qquad
        S_t^l = \frac{1}{H (T - t)} \sum_h \sum_{q > t} A^{l,h}_{qt}

    The span of the primary sink b begins with the largest rise of its norm and ends before the
    largest fall, if that takes away half of it.

    Parameters
    ----------
    model : torch.nn.Module or TorchSystem
        A causal transformer, as for `patch`.
    inputs : Tensor (input, token)
        All of one length, without padding.
    primary : int
        The place of the primary sink: that of the begin of the text.
    cosine : float
        From where on a token is a sink.
    massive : float
        How often the median norm of all tokens the primary sink's must be, while it lasts: the
        first token of a model without sinks is none.
    edits : mapping of int to callable, optional
        For some layers, what becomes of what their perceptrons write, such as `RescaleAlong`.
    batch_size : int
        Inputs at a time; the attention of one layer is held for all of them.

    Returns
    -------
    AttentionSinks
        Of all inputs.

    Raises
    ------
    InvalidArgument
        The model is not read as a causal transformer, a number is out of range, or there are fewer
        than two tokens.

    References
    ----------
    Wong, Zhang, Mahon, Luk, Isopoussu and Zhao (2025), On the existence and behaviour of secondary
    attention sinks. arXiv:2512.22213.

    Examples
    --------
    >>> from bregma.datasets import planted_sinks
    >>> world = planted_sinks(4, seed=0)
    >>> found = attention_sinks(world.net, world.tokens)
    >>> bool((found.created == world.created).all() and (found.lifetime == world.lifetime).all())
    True
    """
    if not 0 < cosine < 1 or not massive >= 0 or batch_size < 1:
        raise InvalidArgument(
            f"cosine must be between 0 and 1, massive 0 or more and batch_size 1 or more, not "
            f"{cosine}, {massive} and {batch_size}"
        )
    if inputs.ndim != 2 or not len(inputs) or not 0 <= primary < inputs.shape[1] - 1:
        raise InvalidArgument(
            f"inputs must be (input, token), with tokens behind the primary sink at {primary}, "
            f"not of the shape {tuple(inputs.shape)}"
        )
    with as_stream(model, inputs) as stream:
        changed = edited(stream, edits or {})
        parts = [
            _observe(changed, inputs[rows], primary) for rows in batches(len(inputs), batch_size)
        ]
    norms, cosines, scores = (
        torch.cat(part).double().cpu().numpy() for part in zip(*parts, strict=True)
    )
    span = _span(norms, primary)
    here = norms[:, span[0] : span[1] + 1]
    if not np.median(here[:, :, primary]) >= massive * np.median(here):
        primary, span = -1, (0, -1)
    states, layers = ("input", "state", "token"), ("input", "layer", "token")
    return AttentionSinks(
        norms=xr.DataArray(norms, dims=states),
        cosines=xr.DataArray(cosines, dims=states),
        scores=xr.DataArray(scores, dims=layers),
        primary=primary,
        span=span,
        cosine=cosine,
    )


def _observe(stream: Stream, inputs: Tensor, primary: int) -> tuple[Tensor, Tensor, Tensor]:
    """Norms and cosines of all states, and scores of all layers."""
    x, states, scores = stream.embed(inputs), [], []
    n = x.shape[1]
    later = torch.ones(n, n, device=x.device).tril(-1)  # queries after a token
    for layer in stream.layers:
        states.append(x)
        seen = layer.attention.pattern(x).float().mean(1) * later
        scores.append(seen.sum(1) / later.sum(0).clamp_min(1))
        x = layer.advance(x)
    h = torch.stack([*states, x], 1).float()
    cosines = torch.cosine_similarity(h, h[:, :, primary, None], -1)
    return h.norm(dim=-1), cosines, torch.stack(scores, 1)


def _span(norms: Float[np.ndarray, "input state token"], primary: int) -> tuple[int, int]:
    """First and last state of the primary sink."""
    norm = norms[:, :, primary].mean(0)
    change = np.diff(norm)
    first = int(change.argmax()) + 1
    if first == len(change):
        return first, first
    fall = first + int(change[first:].argmin()) + 1
    ends = -change[fall - 1] >= FALL * norm[fall - 1]
    return first, fall - 1 if ends else len(change)
