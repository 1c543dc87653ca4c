"""RDMs over time: one at each time or in each sliding window."""

from __future__ import annotations

import numpy as np
import pandas as pd
from jaxtyping import Float, Num

from bregma.errors import InvalidArgument
from bregma.recording import Dissimilarity, Recording

from ._distances import CorrelationDistance, Distance
from ._rdm import check_same_stimuli, design, parts, shared_columns

BLOCK = 2**19  # numbers in flight: 4 MiB in double precision stay in the cache


def rdm_movie(
    recording: Recording,
    distance: Distance = CorrelationDistance(),  # noqa: B008  (frozen)
    *,
    window: float | None = None,
    step: float | None = None,
    by: str | None = None,
) -> Dissimilarity:
    """Distances between the responses to each pair of stimuli, over time.

    Parameters
    ----------
    recording : Recording
        With time.
    distance : Distance
        As in `rdm`. Noise that is estimated from repeats is estimated at each time by itself.
    window : float, optional
        Width in seconds of the windows to average over; each time by itself where none is given.
    step : float, optional
        Seconds from one window to the next; the width where none is given.
    by : str, optional
        A unit or presentation coordinate: one movie for each of its labels.

    Returns
    -------
    Dissimilarity
        One RDM for each time (and label); the column ``time`` holds the mean time of the samples
        in each window, in seconds.

    Raises
    ------
    InvalidArgument
        The recording has no time, or no window fits.
    """
    if not recording.has_time:
        raise InvalidArgument("an RDM movie needs time; use rdm(recording, ...) without it")
    times, weights = sliding_windows(recording.times, window, step)
    order, rows, table = recording.unique_stimuli, [], []
    for piece, labels in parts(recording, by):
        check_same_stimuli(order, piece, by, labels.get(by) if by else None)
        plan = design(piece, distance, order)
        values = plan.values.swapaxes(0, 1)  # (time, presentation, unit), not copied
        n = len(order)
        size = max(1, BLOCK // (values.shape[1] * values.shape[2] + n * n))
        rows.append(np.empty((len(times), n * (n - 1) // 2)))
        for first in range(0, len(times), size):
            block = slice(first, first + size)
            frames = values[block] if weights is None else _windowed(values, weights[block])
            rows[-1][block] = distance.pairs(frames, plan.stimulus, plan.fold)
        table += [labels | {"time": float(time)} for time in times]
    return Dissimilarity(
        np.concatenate(rows) if by else rows[0],
        stimuli=order,
        rdms=pd.DataFrame(shared_columns(table)),
        measure=distance.name,
        name=recording.name,
    )


def sliding_windows(
    times: Float[np.ndarray, " time"], window: float | None, step: float | None
) -> tuple[Float[np.ndarray, " frame"], list[slice] | None]:
    """Mean time of each window and the samples in it; every time by itself without a window."""
    if window is None:
        if step is not None:
            raise InvalidArgument("a step needs a window: give window= in seconds")
        return times, None
    step = window if step is None else step
    span = times[-1] - times[0]
    if not 0 < window <= span * (1 + 1e-9) or step <= 0:
        raise InvalidArgument(
            f"windows of {window:g} s every {step:g} s do not fit into {span:g} s of recording"
        )
    tiny = 1e-9 * max(span, np.abs(times).max())
    starts = times[0] + step * np.arange(int((span - window) / step + 1e-6) + 1)
    low = np.searchsorted(times, starts - tiny)
    high = np.searchsorted(times, starts + window - tiny)  # half-open: windows may touch
    if (high <= low).any():
        raise InvalidArgument(f"a window of {window:g} s holds no sample; take a longer one")
    slices = [slice(int(a), int(b)) for a, b in zip(low, high, strict=True)]
    return np.array([times[part].mean() for part in slices]), slices


def _windowed(
    values: Num[np.ndarray, "time presentation unit"], windows: list[slice]
) -> Float[np.ndarray, "frame presentation unit"]:
    return np.stack([values[part].mean(axis=0) for part in windows])
