"""Real images that come with scikit-learn: nothing has to be downloaded."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import UInt8

from bregma.errors import InvalidArgument
from bregma.recording import Stimuli
from bregma.run import spawn

_PHOTOGRAPHS = ("china.jpg", "flower.jpg")
_N_DIGITS = 1797
_LEAST_CONTRAST = 20  # standard deviation of grey levels; less is empty sky


def sample_images(
    n: int, *, seed: int, size: int = 64, colour: bool = False, photographs: float = 0.5
) -> Stimuli:
    """Handwritten digits and patches of two photographs (a temple, a flower).

    Parameters
    ----------
    n : int
        How many images.
    seed : int
        Chooses the digits, and the places and sizes of the patches.
    size : int
        Rows and columns of every image.
    colour : bool
        Keep the colours of the photographs; the digits are grey in any case.
    photographs : float
        Fraction of the images that are patches of photographs, 0 to 1.

    Returns
    -------
    Stimuli
        Images (n, size, size) or (n, size, size, 3) of 0 to 255. The table has ``kind``
        (``"digit"`` or ``"photograph"``) and ``label`` (``"0"`` to ``"9"``, ``"china"``,
        ``"flower"``).

    Raises
    ------
    InvalidArgument
        Fewer than one image or pixel, a fraction outside 0 to 1, or more digits than there are.

    Examples
    --------
    >>> images = sample_images(10, seed=0)
    >>> images.array().shape
    (10, 64, 64)
    >>> images.table["kind"].value_counts().to_dict()
    {'digit': 5, 'photograph': 5}
    """
    if n < 1 or size < 1 or not 0 <= photographs <= 1:
        raise InvalidArgument(
            f"n and size must be 1 or more and photographs between 0 and 1, not {n}, {size}, "
            f"{photographs}"
        )
    n_photographs = round(n * photographs)
    if (n_digits := n - n_photographs) > _N_DIGITS:
        raise InvalidArgument(f"there are {_N_DIGITS} digits, and {n_digits} were asked for")
    digits, digit_rows = _digits(n_digits, size, spawn(seed, "digits"))
    patches, patch_rows = _patches(n_photographs, size, spawn(seed, "photographs"))
    images = np.concatenate([np.repeat(digits[..., None], 3, axis=-1), patches])
    if not colour:
        images = _grey(images)
    stimulus, kind, label = zip(*digit_rows, *patch_rows, strict=True)
    return Stimuli(images, stimulus={"stimulus": stimulus, "kind": kind, "label": label})


def _resized(image: UInt8[np.ndarray, "row column ..."], size: int) -> Any:
    from PIL import Image

    return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR))


def _grey(images: UInt8[np.ndarray, "*image 3"]) -> UInt8[np.ndarray, "*image"]:
    """Luminance as in ITU-R 601."""
    return np.rint(images @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)


def _digits(
    n: int, size: int, rng: np.random.Generator
) -> tuple[UInt8[np.ndarray, "image size size"], list[tuple[str, str, str]]]:
    from sklearn.datasets import load_digits

    data = load_digits()
    chosen = np.sort(rng.choice(_N_DIGITS, n, replace=False))
    images = np.empty((n, size, size), np.uint8)
    for k, i in enumerate(chosen):
        with_margin = np.pad(np.rint(data.images[i] * (255 / 16)).astype(np.uint8), 1)
        images[k] = _resized(with_margin, size)
    return images, [(f"digit-{i:04d}", "digit", str(data.target[i])) for i in chosen]


def _patches(
    n: int, size: int, rng: np.random.Generator
) -> tuple[UInt8[np.ndarray, "image size size 3"], list[tuple[str, str, str]]]:
    from sklearn.datasets import load_sample_image

    photographs = [load_sample_image(name) for name in _PHOTOGRAPHS] if n else []
    images = np.empty((n, size, size, 3), np.uint8)
    rows = []
    for k in range(n):
        which = k % len(photographs)
        image = photographs[which]
        while True:  # until there is something to see
            side = int(rng.integers(48, 200))
            top, left = (int(rng.integers(length - side)) for length in image.shape[:2])
            images[k] = _resized(image[top : top + side, left : left + side], size)
            if _grey(images[k]).std() >= _LEAST_CONTRAST:
                break
        name = _PHOTOGRAPHS[which].removesuffix(".jpg")
        rows.append((f"{name}-{k:04d}", "photograph", name))
    return images, rows
