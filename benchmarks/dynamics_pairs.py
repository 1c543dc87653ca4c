"""Statistics of pairs of spike trains, the same for every simulator. Needs NumPy alone."""

from __future__ import annotations

from typing import Any

import numpy as np

BINS = (5, 50)  # ms, in which spikes are counted for correlations
LAG_BIN, N_LAGS = 2, 6  # ms, and lags 0, 2, ..., 10 ms of the correlogram
TRANSIENT = 200  # ms that are left out at the start
SAMPLE = 500  # units whose pairs give the spread: the first, for they are alike but for chance
LEAST_HZ = 1.0  # silent units have no correlation
STEPS = 10  # of the simulation in a millisecond


def pair_statistics(n_exc: int, seconds: float, units: Any, times: Any) -> dict[str, Any]:
    """Correlations of excitatory pairs: of counts (mean, SD over pairs), and at short lags (mean).

    ``units`` and ``times`` (ms) are the spikes of a run of so many seconds. Means are over all
    pairs of units with 1 spike/s or more, the SD over those of a sample.
    """
    steps = np.rint(np.asarray(times, float) * STEPS).astype(np.int64) - TRANSIENT * STEPS
    units = np.asarray(units, np.int64)
    n_steps = round(seconds * 1000 - TRANSIENT) * STEPS
    inside = (units < n_exc) & (steps >= 0)
    units, steps = units[inside], steps[inside]
    enough = np.bincount(units, minlength=n_exc) >= LEAST_HZ * n_steps / STEPS / 1000
    rows, steps = (np.cumsum(enough) - 1)[units[enough[units]]], steps[enough[units]]
    n, n_sample = int(enough.sum()), int(enough[:SAMPLE].sum())
    found: dict[str, Any] = {"pairs": n * (n - 1) // 2}
    for width in BINS:
        z = _standardized(rows, steps, n, n_steps, width)
        sample = (z[:n_sample] @ z[:n_sample].T / z.shape[1])[np.triu_indices(n_sample, 1)]
        found[f"correlation_mean_{width}_ms"] = _correlogram(z, 1)[0]
        found[f"correlation_sd_{width}_ms"] = float(sample.std(dtype=float))
    found["correlogram"] = _correlogram(_standardized(rows, steps, n, n_steps, LAG_BIN), N_LAGS)
    return found


def _standardized(rows: Any, steps: Any, n: int, n_steps: int, width: int) -> np.ndarray:
    """Counts (unit, bin) with mean 0 and variance 1; what does not fill a bin is left out."""
    n_bins = n_steps // (width * STEPS)
    at = steps // (width * STEPS)
    inside = at < n_bins
    counts = np.bincount(rows[inside] * n_bins + at[inside], minlength=n * n_bins)
    z = counts.reshape(n, n_bins).astype(np.float32)
    z -= z.mean(1, keepdims=True)
    return z / z.std(1, keepdims=True)


def _correlogram(z: np.ndarray, n_lags: int) -> list[float]:
    """Mean correlation of two different units by lag: that of their sum, less each with itself.

    The mean over ordered pairs is the same at a lag and at its negative.
    """
    n, n_bins = z.shape
    total, found = z.sum(0, dtype=float), []
    for lag in range(n_lags):
        a, b = slice(0, n_bins - lag), slice(lag, n_bins)
        own = np.einsum("ut,ut->t", z[:, a], z[:, b]).sum(dtype=float)
        found.append(float((total[a] @ total[b] - own) / (n * (n - 1)) / (n_bins - lag)))
    return found
