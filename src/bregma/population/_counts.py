"""Spike counts as the estimators of this room take them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from bregma.errors import InvalidArgument
from bregma.recording import Recording


def checked_counts(x: Any) -> Float[np.ndarray, "presentation bin unit"]:
    """Counts of a Recording or an array, if they are counts."""
    if isinstance(x, Recording):
        if not x.has_time:
            raise InvalidArgument(
                "this Recording has no time: count spikes in bins, with SpikeTrains.bin or around"
            )
        x = x.values
    counts = np.asarray(x)
    if counts.dtype.kind not in "iufb":
        raise InvalidArgument(f"spike counts are numbers, not {counts.dtype}")
    if counts.ndim == 2:
        counts = counts[None]
    if counts.ndim != 3 or 0 in counts.shape:
        raise InvalidArgument(
            "spike counts have the shape (bin, unit) or (presentation, bin, unit), none of them 0, "
            f"not {np.shape(x)}"
        )
    with np.errstate(invalid="ignore"):  # inf % 1 is NaN, and so no count
        wrong = ~((counts >= 0) & (counts % 1 == 0))
    if wrong.any():
        presentation, bin, unit = np.argwhere(wrong)[0]
        raise InvalidArgument(
            f"spike counts are whole numbers from 0 on, not {counts[presentation, bin, unit]} "
            f"(presentation {presentation}, bin {bin}, unit {unit})"
        )
    return counts.astype(np.float32)


class LaggedCounts:
    """Counts of each bin with those of the bins before it, made in slices when asked for.

    Presentations lie behind each other in one flat series with `n_lags` empty bins before each, so
    that histories are views of it and no presentation sees the one before.
    """

    def __init__(
        self,
        counts: Float[np.ndarray, "presentation bin unit"],
        n_lags: int,
        device: torch.device,
    ) -> None:
        n, n_bins, _ = counts.shape
        padded = np.pad(counts, ((0, 0), (n_lags, 0), (0, 0)))
        flat = torch.as_tensor(padded, device=device).flatten(0, 1)
        rows = torch.arange(n * (n_lags + n_bins), device=device).view(n, -1)
        self.rows = rows[:, n_lags:].flatten()
        self.flat, self.n_lags = flat, n_lags
        self.windows = flat.unfold(0, n_lags, 1)  # (row, unit, lag), the oldest first

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(
        self, part: slice
    ) -> tuple[Float[Tensor, "bin unit lag"], Float[Tensor, "bin unit"]]:
        rows = self.rows[part]
        return self.windows[rows - self.n_lags].flip(-1), self.flat[rows]
