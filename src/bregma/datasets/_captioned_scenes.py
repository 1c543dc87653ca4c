"""Scenes of a few objects, each with a shape, a colour, a texture and a place, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from bregma.errors import InvalidArgument, UnknownName
from bregma.run import spawn

SHAPES = ("circle", "square", "triangle", "cross")
COLOURS = ("red", "green", "blue", "yellow")
TEXTURES = ("plain", "striped", "checked")
PLACES = tuple(f"{row} {column}" for row in ("top", "middle", "bottom")
               for column in ("left", "centre", "right"))  # fmt: skip
WORDS = {"shape": SHAPES, "colour": COLOURS, "texture": TEXTURES, "place": PLACES}
_RGB = np.array([[220, 50, 50], [50, 190, 60], [70, 90, 230], [230, 210, 50]], dtype=float)
CELL = 10  # pixels; objects are a little smaller


@dataclass(frozen=True)
class CaptionedScenes:
    """Images with all that is known about them.

    Parameters
    ----------
    images : array (scene, row, column, 3)
        Whole numbers 0 to 255.
    attributes : array of int (scene, object, 4)
        Shape, colour, texture and place of each object.
    regions : array of bool (scene, object, row, column)
        The pixels of each object.
    tags : array of int (scene,)
        Which pattern the white tag of a scene has; -1 where there is none.
    tag_regions : array of bool (scene, row, column)
        The pixels of the tag.
    """

    images: UInt8[np.ndarray, "scene row column 3"]
    attributes: Int[np.ndarray, "scene object 4"]
    regions: Bool[np.ndarray, "scene object row column"]
    tags: Int[np.ndarray, " scene"]
    tag_regions: Bool[np.ndarray, "scene row column"]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows: Any) -> CaptionedScenes:
        return replace(self, **{name: part[rows] for name, part in vars(self).items()})

    def matching(self, **wanted: str | Sequence[str]) -> Bool[np.ndarray, "scene object"]:
        """Which objects have some attributes.

        Parameters
        ----------
        **wanted : str or sequence of str
            A word, or several of which one is enough, for ``shape``, ``colour``, ``texture`` or
            ``place``.

        Returns
        -------
        array of bool (scene, object)
            Where all of them are fulfilled.

        Raises
        ------
        UnknownName
            No such attribute or word.
        """
        fits = np.ones(self.attributes.shape[:2], dtype=bool)
        for name, words in wanted.items():
            if name not in WORDS:
                raise UnknownName.of("attribute", name, WORDS)
            codes = []
            for word in [words] if isinstance(words, str) else words:
                if word not in WORDS[name]:
                    raise UnknownName.of(name, word, WORDS[name])
                codes.append(WORDS[name].index(word))
            fits &= np.isin(self.attributes[..., list(WORDS).index(name)], codes)
        return fits

    def covered(
        self, objects: Bool[np.ndarray, "scene object"]
    ) -> Bool[np.ndarray, "scene row column"]:
        """The pixels of some objects.

        Parameters
        ----------
        objects : array of bool (scene, object)
            Which ones.

        Returns
        -------
        array of bool (scene, row, column)
            Where they are.
        """
        return (self.regions & objects[..., None, None]).any(axis=1)

    def captions(self) -> list[str]:
        """A sentence for each scene.

        Returns
        -------
        list of str
            Such as ``"a red striped circle at the top left and a blue plain cross ..."``.
        """
        sentences = []
        for scene, tag in zip(self.attributes, self.tags, strict=True):
            parts = [
                f"a {COLOURS[colour]} {TEXTURES[texture]} {SHAPES[shape]} at the {PLACES[place]}"
                for shape, colour, texture, place in scene
            ]
            sentences.append(" and ".join(parts + ["a white tag"] * int(tag >= 0)))
        return sentences


def captioned_scenes(
    n: int, *, objects: int = 2, tags: Any = None, noise: float = 0.05, seed: int
) -> CaptionedScenes:
    """Scenes on a grid of 3 x 3 places, with random attributes and places of the objects.

    Parameters
    ----------
    n : int
        How many scenes.
    objects : int
        Objects in each, at most 8.
    tags : array of int (scene,), optional
        For each scene the pattern of a white tag at a free place, 0 to 3; -1 for none.
    noise : float
        Standard deviation of the noise of a pixel, as a share of white.
    seed : int
        Draws everything.

    Returns
    -------
    CaptionedScenes
        Images of 30 x 30 pixels with their truth.

    Raises
    ------
    InvalidArgument
        If a number is out of range.

    Examples
    --------
    >>> scenes = captioned_scenes(2, seed=0)
    >>> scenes.images.shape, scenes.captions()[0][:34]
    ((2, 30, 30, 3), 'a green plain circle at the top ri')
    """
    if n < 1 or not 1 <= objects <= 8 or not noise >= 0:
        raise InvalidArgument(
            f"n must be 1 or more, objects 1 to 8, noise 0 or more, not {n}, {objects}, {noise}"
        )
    shown = np.full(n, -1) if tags is None else np.asarray(tags)
    if shown.shape != (n,) or shown.min() < -1 or shown.max() > 3:
        raise InvalidArgument(f"tags must be {n} whole numbers from -1 to 3")
    rng = spawn(seed, "captioned scenes")
    places = rng.permuted(np.tile(np.arange(9), (n, 1)), axis=1)[:, : objects + 1]
    kinds = [rng.integers(0, len(w), (n, objects)) for w in (SHAPES, COLOURS, TEXTURES)]
    attributes = np.stack([*kinds, places[:, :objects]], axis=2)
    inside, shade = _stencils()

    image = np.full((n, 3 * CELL, 3 * CELL, 3), 40.0)
    regions = np.zeros((n, objects, 3 * CELL, 3 * CELL), dtype=bool)
    tag_regions = np.zeros((n, 3 * CELL, 3 * CELL), dtype=bool)
    for i in range(n):
        for j, (shape, colour, texture, place) in enumerate(attributes[i]):
            at = _cell(int(place))
            regions[i, j][at] = inside[shape]
            paint = _RGB[colour] * shade[texture][..., None]
            image[i][at] = np.where(inside[shape][..., None], paint, image[i][at])
        if shown[i] >= 0:
            at = _cell(int(places[i, objects]))
            image[i][at] = _tag(int(shown[i]))[..., None]
            tag_regions[i][at] = True
    image += 255 * noise * rng.standard_normal(image.shape)
    pixels = image.clip(0, 255).round().astype(np.uint8)
    return CaptionedScenes(pixels, attributes, regions, shown.astype(int), tag_regions)


def _cell(place: int) -> tuple[slice, slice]:
    row, column = divmod(place, 3)
    return (
        slice(row * CELL, (row + 1) * CELL),
        slice(column * CELL, (column + 1) * CELL),
    )


def _stencils() -> tuple[Bool[np.ndarray, "shape y x"], Float[np.ndarray, "texture y x"]]:
    """The pixels of each shape in a cell, and the brightness of each texture."""
    y, x = np.indices((CELL, CELL)) - (CELL - 1) / 2
    circle = np.hypot(x, y) <= 4.5
    square = np.maximum(abs(x), abs(y)) <= 3.5
    triangle = (y <= 4) & (abs(x) <= (y + 4.5) / 2)
    cross = (np.minimum(abs(x), abs(y)) <= 1.5) & (np.maximum(abs(x), abs(y)) <= 4.5)
    rows, columns = np.indices((CELL, CELL)) // 2 % 2
    plain = np.ones((CELL, CELL))
    return (
        np.stack([circle, square, triangle, cross]),
        np.stack([plain, 1 - 0.65 * rows, 1 - 0.65 * (rows ^ columns)]),
    )


def _tag(pattern: int) -> Float[np.ndarray, "y x"]:
    """A white frame around one of four patterns."""
    tag = np.full((CELL, CELL), 255.0)
    inner = np.zeros((CELL - 4, CELL - 4))
    half = (CELL - 4) // 2
    inner[pattern // 2 * half :, pattern % 2 * half :][:half, :half] = 255.0
    tag[2:-2, 2:-2] = inner
    return tag
