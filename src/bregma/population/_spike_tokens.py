"""Spikes as tokens: who fired in which bin of a window, and who before the window."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, Num
from torch import Tensor

from bregma.errors import InvalidArgument
from bregma.recording import SpikeTrains

ROUNDING = 1e-6  # of a bin or a sample: how far times may miss a whole number of them
PAD = -1  # where a window has no more tokens


@dataclass(frozen=True)
class SpikeWindows:
    """Windows of spikes with their pasts, as rising whole numbers.

    A token is ``bin * n_units + unit``, so that a window is a rising sequence of tokens and no
    other sequence stands for it. Bins of the past are counted back from the window, the last one
    before it being 0. Rows end with -1 where there are fewer tokens.

    Parameters
    ----------
    tokens : Int[Tensor, "window token"]
        Spikes of each window.
    past : Int[Tensor, "window key"]
        Spikes before each window.
    start : Float[np.ndarray, "window"]
        When each window begins, in seconds.
    n_units, n_bins, n_past : int
        Units, bins of a window, and bins of its past.
    bin : float
        Width of a bin in seconds.
    """

    tokens: Int[Tensor, "window token"]
    past: Int[Tensor, "window key"]
    start: Float[np.ndarray, " window"]
    n_units: int
    n_bins: int
    n_past: int
    bin: float

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, which: slice | Int[np.ndarray, " part"]) -> SpikeWindows:
        """Some of the windows, in the order asked for."""
        rows = torch.as_tensor(np.arange(len(self))[which], device=self.tokens.device)
        return SpikeWindows(
            trimmed(self.tokens[rows]),
            trimmed(self.past[rows]),
            self.start[which],
            self.n_units,
            self.n_bins,
            self.n_past,
            self.bin,
        )

    def counts(self) -> Float[np.ndarray, "window unit"]:
        """Spikes of each unit in each window.

        Returns
        -------
        Float[np.ndarray, "window unit"]
            At most one in a bin.
        """
        return unit_counts(self.tokens, self.n_units)

    def log_likelihood_of_rates(
        self, probability: Float[np.ndarray, " unit"]
    ) -> Float[np.ndarray, " window"]:
        """Log-probability of the windows if units fired at constant rates, each for itself.

        Parameters
        ----------
        probability : Float[np.ndarray, "unit"]
            Of a spike in a bin.

        Returns
        -------
        Float[np.ndarray, "window"]
            In nats. It is the baseline that `SpikeDecoder.log_likelihood` is held against.

        Raises
        ------
        InvalidArgument
            If a probability is not above 0 and below 1.
        """
        if not ((probability > 0) & (probability < 1)).all():
            raise InvalidArgument(
                f"probabilities of a spike must be above 0 and below 1: {probability}"
            )
        odds = np.log(probability) - np.log1p(-probability)
        return self.counts() @ odds + self.n_bins * np.log1p(-probability).sum()


def spike_windows(
    spikes: SpikeTrains, *, bin: float = 0.01, window: float = 0.05, past: float = 0.15
) -> SpikeWindows:
    """Cut spike trains into windows that follow each other, each with the spikes before it.

    Windows lie wholly inside an interval of the support, and so do their pasts. Several spikes of
    a unit in one bin are one token.

    Parameters
    ----------
    spikes : SpikeTrains
        When the units fired.
    bin : float
        Width of a bin in seconds: how finely times are told apart.
    window, past : float
        Seconds of a window and of what is remembered before it: whole numbers of bins.

    Returns
    -------
    SpikeWindows
        Tokens in the order of time.

    Raises
    ------
    InvalidArgument
        If a time is not a whole number of bins of 1 or more, or no interval of the support is as
        long as a window with its past.

    Examples
    --------
    >>> spikes = SpikeTrains.from_dict({"a": [0.02, 0.31], "b": [0.24, 0.33]}, support=[(0, 0.4)])
    >>> windows = spike_windows(spikes, bin=0.05, window=0.1, past=0.2)
    >>> windows.start.round(3).tolist(), windows.tokens.tolist(), windows.past.tolist()
    ([0.2, 0.3], [[1, -1], [0, 1]], [[6], [3]])
    """
    n_bins, n_past = _whole(window, bin, "window"), _whole(past, bin, "past")
    n_units = spikes.n_units
    rows: list[Tensor] = []
    pasts: list[Tensor] = []
    starts = []
    for begin, end in spikes.support:
        n = int(((end - begin) / bin - n_past + ROUNDING) // n_bins)
        if n < 1:
            continue
        first, last = np.searchsorted(spikes.times, (begin, end))
        edges = begin + np.arange(n_past + n * n_bins + 1) * bin
        bins = np.searchsorted(edges, spikes.times[first:last], side="right") - 1
        fired = np.unique(bins * n_units + spikes.unit_index[first:last].astype(np.int64))
        at = n_past + np.arange(n) * n_bins  # the bin in which each window begins
        before, now, after = (
            np.searchsorted(fired, (at + shift) * n_units) for shift in (-n_past, 0, n_bins)
        )
        starts.append(edges[at])
        rows += [
            torch.from_numpy(fired[a:b] - w * n_units)
            for a, b, w in zip(now, after, at, strict=True)
        ]
        for a, b, w in zip(before, now, at, strict=True):
            age = w - 1 - fired[a:b] // n_units
            pasts.append(torch.from_numpy(np.sort(age * n_units + fired[a:b] % n_units)))
    if not rows:
        raise InvalidArgument(
            f"no interval of the support lasts {past:g} s and then {window:g} s; it has "
            f"{spikes.duration:g} s in {len(spikes.support)} intervals: take shorter ones"
        )
    return SpikeWindows(
        _padded(rows), _padded(pasts), np.concatenate(starts), n_units, n_bins, n_past, bin
    )


def signal_windows(
    signal: Num[np.ndarray, "sample feature"],
    step: float,
    start: Float[np.ndarray, " window"],
    *,
    span: tuple[float, float],
) -> Float[Tensor, "window step feature"]:
    """Samples of a stimulus or a behaviour around the beginning of each window.

    Parameters
    ----------
    signal : Num[np.ndarray, "sample feature"]
        Sample k covers the time from ``k * step`` to ``(k + 1) * step``.
    step : float
        Seconds between samples.
    start : Float[np.ndarray, "window"]
        As in `SpikeWindows`.
    span : (float, float)
        From when to when, in seconds after the beginning of a window; below 0 before it.

    Returns
    -------
    Float[Tensor, "window step feature"]
        A copy, the oldest sample first.

    Raises
    ------
    InvalidArgument
        If the span holds no whole number of samples, or the signal does not cover it.

    Examples
    --------
    >>> signal_windows(np.arange(6.0)[:, None], 0.1, np.array([0.2, 0.4]), span=(-0.1, 0.1))[..., 0]
    tensor([[1., 2.],
            [3., 4.]])
    """
    n = _whole(span[1] - span[0], step, "span")
    first = np.floor((start + span[0]) / step + ROUNDING).astype(np.int64)
    outside = (first < 0) | (first + n > len(signal))
    if outside.any():
        raise InvalidArgument(
            f"the signal of {len(signal) * step:g} s does not cover {span} around the window at "
            f"{start[outside][0]:g} s: leave such windows out, windows[rows]"
        )
    if not np.isfinite(signal).all():
        raise InvalidArgument("the signal has values that are not finite: fill them in first")
    return torch.as_tensor(signal[first[:, None] + np.arange(n)], dtype=torch.get_default_dtype())


def unit_counts(
    tokens: Int[Tensor, "*window token"], n_units: int
) -> Float[np.ndarray, "*window unit"]:
    """Spikes of each unit in windows or in their pasts.

    Parameters
    ----------
    tokens : Int[Tensor, "*window token"]
        Tokens of `SpikeWindows` or of `generate_spikes`.
    n_units : int
        Units that there are.

    Returns
    -------
    Float[np.ndarray, "*window unit"]
        At most one in a bin.

    Raises
    ------
    InvalidArgument
        If there are fewer than 1 unit.

    Examples
    --------
    >>> unit_counts(torch.tensor([[0, 2, 3], [4, -1, -1]]), 3)  # units 0, 2, 0, and 1
    array([[2., 0., 1.],
           [0., 1., 0.]])
    """
    if n_units < 1:
        raise InvalidArgument(f"n_units must be 1 or more, not {n_units}")
    unit = torch.where(tokens >= 0, tokens % n_units, n_units)
    found = torch.zeros(*tokens.shape[:-1], n_units + 1, device=tokens.device)
    found.scatter_add_(-1, unit, torch.ones_like(unit, dtype=found.dtype))
    return found[..., :-1].double().cpu().numpy()


def trimmed(tokens: Int[Tensor, "window token"]) -> Int[Tensor, "window shorter"]:
    """Without the last columns in which no window has a token."""
    used = torch.nonzero((tokens >= 0).any(0))
    return tokens[:, : int(used[-1]) + 1 if len(used) else 0]


def _whole(span: float, bin: float, name: str) -> int:
    n = span / bin if bin > 0 else np.nan
    if not (np.isfinite(n) and round(n) >= 1 and abs(n - round(n)) < 1e-3):
        raise InvalidArgument(f"{name} of {span:g} s is no whole number, 1 or more, of {bin:g} s")
    return round(n)


def _padded(rows: list[Tensor]) -> Int[Tensor, "window token"]:
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PAD)
