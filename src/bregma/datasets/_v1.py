"""A simulated population like that of primary visual cortex, of known tuning."""

from __future__ import annotations

import numpy as np
import pandas as pd
from jaxtyping import Float

from bregma.datasets._simulated import Simulated
from bregma.errors import InvalidArgument
from bregma.recording import Recording, Stimuli
from bregma.run import spawn

PIXELS = 64  # images are looked at with so many rows and columns
MAX_COUNT = 30.0  # of a typical cell, to its best grating; images drive it much less
BASELINE = 0.02  # of the highest count
HALF = 0.2  # contrast of the preferred grating at which a cell is at half of its highest count
WORDS = ("subject", "kind")  # columns of the truth that are not numbers


def v1_population(
    stimuli: Stimuli,
    *,
    n_units: int = 100,
    n_repeats: int = 10,
    n_subjects: int = 2,
    noise: float = 1.5,
    seed: int,
) -> Simulated:
    """Spike counts of simple and complex cells of known tuning, in several subjects.

    Each cell filters the image with a Gabor pair of its own orientation, frequency, place and
    phase. A simple cell rectifies the response of one filter, a complex cell takes the energy
    of both; the square of that is divided by the contrast in its field, so that it saturates.
    Counts are drawn anew at every presentation: Poisson for a Fano factor of 1, negative
    binomial above. The cells of the subjects are different random samples of the same kind.

    Parameters
    ----------
    stimuli : Stimuli
        Images; looked at in grey, with 64 rows and columns.
    n_units : int
        Cells in each subject, half of them simple.
    n_repeats : int
        How often each image is shown.
    n_subjects : int
        Subjects; all see the same presentations.
    noise : float
        Fano factor (variance over mean) of the counts, 1 or more.
    seed : int
        Makes the tuning and the noise, independently of each other.

    Returns
    -------
    Simulated
        The recording (stimuli x repeats, subjects x units, in spikes), the expected counts, and
        for each unit: ``subject``, ``kind``, ``orientation`` (degrees of the stripes, 0 is
        horizontal, counterclockwise), ``frequency`` (cycles per image), ``x`` and ``y`` (of the
        image's width, from its centre, y upwards), ``width`` (SD of the field, of the image's
        width), ``phase`` (degrees), ``gain``.

    Raises
    ------
    InvalidArgument
        Fewer than one unit, repeat or subject, or a Fano factor below 1.

    References
    ----------
    Adelson and Bergen (1985), Spatiotemporal energy models for the perception of motion.
    Heeger (1992), Normalization of cell responses in cat striate cortex.
    Goris, Movshon and Simoncelli (2014), Partitioning neuronal variability.

    Examples
    --------
    >>> from bregma.datasets import sample_images, v1_population
    >>> brain = v1_population(sample_images(6, seed=0), n_units=4, n_repeats=3, seed=0)
    >>> brain.recording
    Recording('V1-like', 18 presentations of 6 stimuli, 8 units, in spikes)
    """
    if min(n_units, n_repeats, n_subjects) < 1:
        raise InvalidArgument(
            "n_units, n_repeats and n_subjects must be 1 or more, not "
            f"{n_units}, {n_repeats} and {n_subjects}"
        )
    if noise < 1:
        raise InvalidArgument(
            f"noise is the Fano factor of spike counts, 1 or more, not {noise}; the counts "
            "without noise are in .signal"
        )
    units = pd.concat([_cells(n_units, s, spawn(seed, "tuning", s)) for s in range(n_subjects)])
    grey = stimuli.images((PIXELS, PIXELS)).mean(axis=-1) / 255  # (stimulus, row, column)
    units["gain"] *= MAX_COUNT
    signal = _expected_counts(grey, units)  # (stimulus, unit)
    n = len(signal)
    counts = np.concatenate(
        [_counts(signal, noise, spawn(seed, "noise", r)) for r in range(n_repeats)]
    )
    shown = {
        "stimulus": np.tile(stimuli.ids, n_repeats),
        "repeat": np.repeat(np.arange(n_repeats), n),
    }
    variance = signal.var(axis=0)
    return Simulated(
        recording=Recording.from_array(
            counts, unit=units, presentation=shown, measured_in="spikes", name="V1-like"
        ),
        signal=Recording.from_array(
            signal, unit=units, presentation=stimuli.ids, measured_in="spikes", name="V1-like"
        ),
        truth=units,
        reliability=variance / (variance + noise * signal.mean(axis=0) / n_repeats),
    )


def _cells(n: int, subject: int, rng: np.random.Generator) -> pd.DataFrame:
    """The tuning of one subject's cells."""
    frequency = 2 ** rng.uniform(np.log2(3), np.log2(14), n)  # cycles per image
    ids = pd.Index([f"s{subject + 1}/c{i:03d}" for i in range(n)], name="unit")
    return pd.DataFrame(
        {
            "subject": f"s{subject + 1}",
            "kind": np.where(np.arange(n) % 2 == 0, "complex", "simple"),
            "orientation": rng.uniform(0, 180, n),
            "frequency": frequency,
            "x": rng.uniform(-0.4, 0.4, n),
            "y": rng.uniform(-0.4, 0.4, n),
            "width": 0.5 / frequency,
            "phase": rng.uniform(0, 360, n),
            "gain": rng.lognormal(0, 0.4, n),
        },
        index=ids,
    )


def gabor_filters(units: pd.DataFrame, pixels: int) -> Float[np.ndarray, "3 unit pixel"]:
    """Even and odd Gabor filter of each unit, and their envelope.

    Filters have a mean of zero, and a grating of contrast 1 that fits gives about 1. The
    envelope sums to 1.
    """
    place = (np.arange(pixels) + 0.5) / pixels - 0.5
    x, y = (a.ravel() for a in np.meshgrid(place, -place))  # (pixel,), y upwards
    u = {name: units[name].to_numpy(float)[:, None] for name in units if name not in WORDS}
    angle = np.deg2rad(u["orientation"])
    across = -(x - u["x"]) * np.sin(angle) + (y - u["y"]) * np.cos(angle)
    envelope = np.exp(-((x - u["x"]) ** 2 + (y - u["y"]) ** 2) / (2 * u["width"] ** 2))
    envelope /= envelope.sum(axis=1, keepdims=True)
    wave = 2 * np.pi * u["frequency"] * across + np.deg2rad(u["phase"])
    carriers = np.stack([np.cos(wave), np.sin(wave)])
    carriers -= (carriers * envelope).sum(axis=-1, keepdims=True)
    return np.concatenate([2 * carriers * envelope, envelope[None]])


def _expected_counts(
    images: Float[np.ndarray, "stimulus row column"], units: pd.DataFrame
) -> Float[np.ndarray, "stimulus unit"]:
    light = 2 * images.reshape(len(images), -1) - 1  # -1 black, 1 white
    even_filter, odd_filter, field = gabor_filters(units, images.shape[1])
    even, odd = light @ even_filter.T, light @ odd_filter.T
    drive = np.where(units["kind"] == "simple", np.maximum(even, 0), np.hypot(even, odd))
    contrast2 = 2 * np.maximum(light**2 @ field.T - (light @ field.T) ** 2, 0)
    relative = drive**2 / (contrast2 + HALF**2)  # of a grating c: c^2 / (c^2 + HALF^2)
    return units["gain"].to_numpy() * (BASELINE + (1 - BASELINE) * relative)


def _counts(
    mean: Float[np.ndarray, "stimulus unit"], fano: float, rng: np.random.Generator
) -> Float[np.ndarray, "stimulus unit"]:
    """Counts of that mean and Fano factor."""
    if fano > 1:  # a Poisson count whose rate varies as a Gamma has variance fano * mean
        mean = rng.gamma(mean / (fano - 1), fano - 1)
    return rng.poisson(mean).astype(float)
