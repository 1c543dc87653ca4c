"""Where one event ends and the next begins: a change of picture, or silence."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy.ndimage import maximum_filter1d

from bregma.errors import InvalidArgument

K1, K2 = 0.01, 0.03  # of the range of grey levels, as in the source

Pictures = Float[np.ndarray, "*picture row column"]


def structural_similarity(
    x: Pictures, y: Pictures, *, data_range: float = 1.0
) -> Float[np.ndarray, "*picture"]:
    r"""Structural similarity (SSIM) of pictures, with one window over the whole picture.

    (2 m_x m_y + c_1)(2 s_xy + c_2) / ((m_x^2 + m_y^2 + c_1)(s_x^2 + s_y^2 + c_2)) with means m,
    variances s^2 and covariance s_xy over pixels.

    Parameters
    ----------
    x, y : ndarray (..., row, column)
        Pictures.
    data_range : float
        Distance from black to white.

    Returns
    -------
    ndarray (...)
        1 for equal pictures.

    Raises
    ------
    InvalidArgument
        If the shapes differ or the range is not positive.

    References
    ----------
    Wang, Bovik, Sheikh and Simoncelli (2004), Image quality assessment: from error visibility to
    structural similarity.
    """
    if x.shape != y.shape or not data_range > 0:
        raise InvalidArgument(f"pictures of {x.shape} and {y.shape}, range {data_range}")
    pixels = (-2, -1)
    mx, my = x.mean(pixels), y.mean(pixels)
    dx, dy = x - mx[..., None, None], y - my[..., None, None]
    variances = (dx**2).mean(pixels) + (dy**2).mean(pixels)
    covariance = (dx * dy).mean(pixels)
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    alike = (2 * mx * my + c1) * (2 * covariance + c2)
    return np.asarray(alike / ((mx**2 + my**2 + c1) * (variances + c2)))


def event_boundaries(
    frames: Float[np.ndarray, "frame row column"],
    loudness: Float[np.ndarray, " frame"] | None = None,
    *,
    threshold: float = 0.5,
    silence: float = -40.0,
    window: int = 1,
    shortest: int = 1,
    longest: int | None = None,
    data_range: float = 1.0,
) -> Int[np.ndarray, " event"]:
    """Cut a stream into events.

    A new event begins where the mean of the `window` frames that come is least similar to that of
    those before and the similarity is below the threshold, or where silence begins. Windows longer
    than one frame find slow changes and see through noise.

    Parameters
    ----------
    frames : ndarray (frame, row, column)
        Pictures over time.
    loudness : ndarray (frame,), optional
        Level of the sound in dB (20 log10 of its root mean square).
    threshold : float
        Structural similarity below which the picture has changed.
    silence : float
        Level in dB below which there is no sound.
    window : int
        Frames that are averaged on either side.
    shortest : int
        Frames between two changes at least: weaker ones within are no borders. The end of the
        stream and `longest` may cut shorter events.
    longest : int, optional
        Frames after which an event is cut in any case; never by default.
    data_range : float
        Distance from black to white.

    Returns
    -------
    ndarray (event,)
        First frame of every event; the first one is 0.

    Raises
    ------
    InvalidArgument
        If there are fewer than two frames, values that are not finite, or lengths out of range.

    References
    ----------
    Lin et al. (2025), HippoMM: hippocampal-inspired multimodal memory for long audiovisual event
    understanding.

    Examples
    --------
    >>> checks = np.indices((8, 8)).sum(0) % 2
    >>> film = np.concatenate([np.repeat(checks[None], 6, 0), np.repeat(1 - checks[None], 6, 0)])
    >>> event_boundaries(film.astype(float))
    array([0, 6])
    """
    n = len(frames)
    longest = n if longest is None else longest
    if n < 2 or not np.isfinite(frames).all():
        raise InvalidArgument("a stream needs two frames or more, without NaN")
    if not 1 <= window <= n // 2 or not 1 <= shortest <= longest:
        raise InvalidArgument(
            f"window must be from 1 to {n // 2} and 1 <= shortest <= longest, not {window}, "
            f"{shortest}, {longest}"
        )
    if loudness is not None and (len(loudness) != n or np.isnan(loudness).any()):
        raise InvalidArgument(f"loudness needs one level for each of {n} frames, without NaN")
    change = _change(frames, window, data_range)
    change[change <= 1 - threshold] = 0
    peak = maximum_filter1d(change, 2 * window - 1)  # a change is seen from as far as windows reach
    change[change < peak] = 0
    if loudness is not None:
        quiet = loudness < silence
        change[1:][quiet[1:] & ~quiet[:-1]] = np.inf
    starts = [0]
    for t in np.argsort(-change, kind="stable"):  # the strongest changes first
        if change[t] <= 0:
            break
        if all(abs(t - other) >= shortest for other in starts):
            starts.append(int(t))
    return _cut(sorted(starts), n, longest)


def _change(
    frames: Float[np.ndarray, "frame row column"], window: int, data_range: float
) -> Float[np.ndarray, " frame"]:
    """1 - SSIM of the windows before and after each frame; 0 where one of them does not fit."""
    sums = np.concatenate([np.zeros((1, *frames.shape[1:])), np.cumsum(frames, axis=0)])
    means = (sums[window:] - sums[:-window]) / window
    change = np.zeros(len(frames))
    inside = means[:-window], means[window:]
    change[window : len(frames) - window + 1] = 1 - structural_similarity(
        *inside, data_range=data_range
    )
    return change


def _cut(starts: list[int], n: int, longest: int) -> Int[np.ndarray, " event"]:
    """Cut what is too long into pieces of the longest allowed length."""
    ends = [*starts[1:], n]
    pieces = [range(a, b, longest) for a, b in zip(starts, ends, strict=True)]
    return np.array([t for piece in pieces for t in piece])
