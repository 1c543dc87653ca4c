"""Whitened patches of images: what the retina may send to the cortex."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Num

from bregma.errors import InvalidArgument
from bregma.run import spawn


def whitened(
    images: Num[np.ndarray, "image row column"], cutoff: float = 0.4
) -> Float[np.ndarray, "image row column"]:
    """Flatten the spectrum of natural images, whose amplitude falls as one over frequency.

    The logarithm of every image, its levels counted from the darkest of all, is filtered by
    f exp(-(f / cutoff)^4); then all are scaled by one number to unit variance.

    Parameters
    ----------
    images : ndarray (image, row, column)
        Grey levels.
    cutoff : float
        Cycles per pixel at which noise is taken to begin; it decides how fine receptive fields are.

    Returns
    -------
    ndarray (image, row, column)
        Whitened, with a mean of 0.

    Raises
    ------
    InvalidArgument
        If images are empty, not finite or all flat, or the cutoff is not positive.

    References
    ----------
    Olshausen and Field (1997), Sparse coding with an overcomplete basis set: a strategy employed
    by V1?
    """
    images = np.asarray(images, dtype=float)
    if not images.size or not np.isfinite(images).all() or not cutoff > 0:
        raise InvalidArgument("images must be finite and not empty, the cutoff above 0")
    rows, columns = images.shape[1:]
    f = np.hypot(np.fft.fftfreq(rows)[:, None], np.fft.fftfreq(columns))
    log = np.log1p(images - images.min())  # light multiplies; cones take the logarithm
    out = np.fft.ifft2(np.fft.fft2(log) * f * np.exp(-((f / cutoff) ** 4))).real
    if not (spread := out.std()) > 1e-12:
        raise InvalidArgument("there is nothing to see in flat images")
    return out / spread


def random_patches(
    images: Num[np.ndarray, "image row column"], n: int, size: int, *, seed: int
) -> Float[np.ndarray, "patch pixel"]:
    """Square patches from anywhere in images, without their mean.

    Parameters
    ----------
    images : ndarray (image, row, column)
        From `whitened`, for example.
    n : int
        How many patches.
    size : int
        Rows and columns of a patch.
    seed : int
        Draws the places.

    Returns
    -------
    ndarray (patch, size * size)
        One patch per row.

    Raises
    ------
    InvalidArgument
        If there are no patches, or they are larger than the images.
    """
    count, rows, columns = images.shape
    if n < 1 or not 1 <= size <= min(rows, columns):
        raise InvalidArgument(
            f"cannot cut {n} patches of {size} x {size} from images of {rows} x {columns}"
        )
    rng = spawn(seed, "patches")
    which = rng.integers(count, size=n)
    top, left = rng.integers(rows - size + 1, size=n), rng.integers(columns - size + 1, size=n)
    at = np.arange(size)
    patches = images[
        which[:, None, None], top[:, None, None] + at[:, None], left[:, None, None] + at
    ].reshape(n, -1).astype(float)  # fmt: skip
    return patches - patches.mean(axis=1, keepdims=True)
