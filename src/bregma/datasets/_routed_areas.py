"""Scenes of scattered digits, and cortical areas that look for one digit or at one place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from bregma.datasets._digits import PIXELS, read_digits
from bregma.datasets._simulated import Simulated
from bregma.errors import InvalidArgument
from bregma.recording import Recording
from bregma.run import spawn

WAVES = ((0, 1), (1, 0), (1, 1), (0, 2), (2, 0), (1, 2), (2, 1), (2, 2))  # what units measure


@dataclass(frozen=True)
class RoutedAreas:
    """Scenes, what is where in them, and how simulated areas respond.

    Parameters
    ----------
    images : Float[np.ndarray, "scene row column"]
        Grey values, 0 to 1 for digits.
    labels : Int[np.ndarray, "scene cell"]
        Which digit is in a cell, row by row; -1 where there is background.
    areas : Simulated
        Responses of the units, one presentation of each scene.
    """

    images: Float[np.ndarray, "scene row column"]
    labels: Int[np.ndarray, "scene cell"]
    areas: Simulated

    @property
    def patches(self) -> Float[np.ndarray, "scene cell pixel"]:
        """The scenes cut into cells, row by row."""
        n, side = len(self.images), self.images.shape[1] // PIXELS
        cut = self.images.reshape(n, side, PIXELS, side, PIXELS).transpose(0, 1, 3, 2, 4)
        return cut.reshape(n, side * side, PIXELS * PIXELS)


def routed_areas(
    n_train: int,
    n_test: int,
    *,
    side: int = 6,
    n_items: int = 3,
    categories: Sequence[int] = (0, 1, 2, 3),
    n_places: int = 4,
    n_units: int = 12,
    ceiling: float = 0.8,
    seed: int,
) -> tuple[RoutedAreas, RoutedAreas]:
    """Areas that read one kind of digit wherever it is, and areas that read one place.

    A scene is a square of cells. Some of them hold a digit, no two of the same kind; the others
    hold smooth noise of about the same contrast. A *category area* has its digit: each of its units
    responds to a weighted sum of properties of that digit (low spatial frequencies, standardised
    within all digits of its kind: that the digit is there says nothing) and not at all to scenes
    without it. A *place area* has its cell, and its units respond to the same properties of
    whatever is there. Scenes for testing are made of other handwritten digits.

    Parameters
    ----------
    n_train, n_test : int
        Number of scenes.
    side : int
        Rows and columns of cells, 8 x 8 pixels each.
    n_items : int
        Digits in a scene, up to 10.
    categories : sequence of int
        The digits that have an area.
    n_places : int
        Number of cells, drawn at random, that have an area.
    n_units : int
        Units in each area.
    ceiling : float
        Highest correlation with the noisy responses that anything can reach.
    seed : int
        Makes the weights and places, the scenes, and the noise.

    Returns
    -------
    train, test : RoutedAreas
        The same areas, seeing different scenes. Units have ``area`` (such as ``"digit 3"`` or
        ``"cell 17"``), ``kind`` (``"category"`` or ``"place"``), and ``target`` (which one).

    Raises
    ------
    InvalidArgument
        Numbers out of range: no scenes or units, more items or places than cells, no such digit.

    References
    ----------
    Adeli, Sun and Kriegeskorte (2025), Transformer brain encoders explain human high-level visual
    responses (what the areas are a model of).

    Examples
    --------
    >>> train, test = routed_areas(20, 5, seed=0)
    >>> train.images.shape, train.areas.recording.values.shape
    ((20, 48, 48), (20, 96))
    >>> sorted(set(train.areas.truth["kind"]))
    ['category', 'place']
    """
    if min(n_train, n_test, n_units) < 1 or not 0 < ceiling < 1:
        raise InvalidArgument(
            f"n_train, n_test and n_units must be 1 or more and ceiling between 0 and 1, not "
            f"{n_train}, {n_test}, {n_units} and {ceiling}"
        )
    if not 1 <= n_items <= min(10, side**2) or not 0 <= n_places <= side**2:
        raise InvalidArgument(
            f"{side} x {side} cells hold 1 to {min(10, side**2)} digits and 0 to {side**2} places, "
            f"not {n_items} and {n_places}"
        )
    if not set(categories) <= set(range(10)) or not len(categories) + n_places:
        raise InvalidArgument(f"categories must be digits 0 to 9 (or places), not {categories}")
    truth, weights = _areas(side, categories, n_places, n_units, spawn(seed, "areas"))
    images, labels = read_digits()
    order = spawn(seed, "digits").permutation(len(images))
    parts, noise = list[RoutedAreas](), None
    for name, n, pool in (("train", n_train, order[597:]), ("test", n_test, order[:597])):
        where, which = _layout(n, side, n_items, labels, pool, spawn(seed, name, "layout"))
        patches = _background(n, side, spawn(seed, name, "background"))
        patches[np.arange(n)[:, None], where] = images[which]
        shown = np.full((n, side**2), -1)
        shown[np.arange(n)[:, None], where] = labels[which]
        signal = _signal(patches, shown, truth, weights)
        if noise is None:  # the same in both parts
            noise = signal.std(axis=0) * np.sqrt(1 / ceiling**2 - 1)
        rng = spawn(seed, name, "noise")
        noisy = signal + noise * rng.standard_normal(signal.shape)
        areas = _simulated(noisy, signal, noise, truth)
        parts.append(RoutedAreas(_joined(patches, side), shown, areas))
    return parts[0], parts[1]


def _areas(
    side: int, categories: Sequence[int], n_places: int, n_units: int, rng: np.random.Generator
) -> tuple[pd.DataFrame, Float[np.ndarray, "unit property"]]:
    """What every unit is, and how it weighs the properties."""
    places = rng.choice(side**2, n_places, replace=False)
    rows = [
        (f"{word} {target}", kind, int(target))
        for word, kind, targets in (("digit", "category", categories), ("cell", "place", places))
        for target in targets
        for _ in range(n_units)
    ]
    truth = pd.DataFrame(rows, columns=["area", "kind", "target"])
    truth.index = pd.Index([f"u{i:03d}" for i in range(len(rows))], name="unit")
    return truth, rng.standard_normal((len(rows), len(WAVES))) / np.sqrt(len(WAVES))


def _layout(
    n: int,
    side: int,
    n_items: int,
    labels: Int[np.ndarray, " digit"],
    pool: Int[np.ndarray, " part"],
    rng: np.random.Generator,
) -> tuple[Int[np.ndarray, "scene item"], Int[np.ndarray, "scene item"]]:
    """In which cells there are digits, and which ones of the pool."""
    kinds = rng.permuted(np.tile(np.arange(10), (n, 1)), axis=1)[:, :n_items]
    where = rng.permuted(np.tile(np.arange(side**2), (n, 1)), axis=1)[:, :n_items]
    of_kind = [pool[labels[pool] == kind] for kind in range(10)]
    which = np.array([[rng.choice(of_kind[kind]) for kind in row] for row in kinds])
    return where, which


def _background(
    n: int, side: int, rng: np.random.Generator
) -> Float[np.ndarray, "scene cell pixel"]:
    """Smooth noise around 0.5."""
    from scipy.ndimage import gaussian_filter

    shape = (n * side**2, PIXELS, PIXELS)
    smooth = gaussian_filter(rng.standard_normal(shape), (0, 1.2, 1.2), mode="wrap")
    return (0.5 + 0.3 * smooth / smooth.std()).reshape(n, side**2, PIXELS**2)


def _properties(
    patches: Float[np.ndarray, "*shape pixel"],
) -> Float[np.ndarray, "*shape property"]:
    """Low spatial frequencies (of the cosine transform) of 8 x 8 pixels."""
    phase = np.pi * (np.arange(PIXELS) + 0.5) / PIXELS
    waves = [np.outer(np.cos(a * phase), np.cos(b * phase)).ravel() for a, b in WAVES]
    return patches @ np.stack(waves, axis=1)


def _signal(
    patches: Float[np.ndarray, "scene cell pixel"],
    shown: Int[np.ndarray, "scene cell"],
    truth: pd.DataFrame,
    weights: Float[np.ndarray, "unit property"],
) -> Float[np.ndarray, "scene unit"]:
    """Responses without noise."""
    images, labels = read_digits()
    found = _properties(patches)
    scale = _properties(images).std(axis=0)
    signal = np.empty((len(patches), len(truth)))
    for area, kind, target in truth.drop_duplicates("area").itertuples(index=False):
        units = np.flatnonzero(truth["area"] == area)
        if kind == "place":
            seen = found[:, target] / scale
        else:
            own = _properties(images[labels == target])
            there = (shown == target)[..., None]
            seen = (there * (found - own.mean(axis=0)) / own.std(axis=0)).sum(axis=1)
        signal[:, units] = seen @ weights[units].T
    return signal


def _joined(
    patches: Float[np.ndarray, "scene cell pixel"], side: int
) -> Float[np.ndarray, "scene row column"]:
    cut = patches.reshape(-1, side, side, PIXELS, PIXELS).transpose(0, 1, 3, 2, 4)
    return cut.reshape(-1, side * PIXELS, side * PIXELS)


def _simulated(
    noisy: Float[np.ndarray, "scene unit"],
    signal: Float[np.ndarray, "scene unit"],
    noise: Float[np.ndarray, " unit"],
    truth: pd.DataFrame,
) -> Simulated:
    ids, variance = np.arange(len(signal)), signal.var(axis=0)
    return Simulated(
        recording=Recording.from_array(noisy, unit=truth, presentation={"stimulus": ids}),
        signal=Recording.from_array(signal, unit=truth, presentation={"stimulus": ids}),
        truth=truth,
        reliability=variance / (variance + noise**2),
    )
