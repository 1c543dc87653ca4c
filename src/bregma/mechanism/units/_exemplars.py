"""Exemplars: pictures that drive a unit, each with the region that does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, UInt8

OUTSIDE = 0.3  # brightness of what lies outside the region
GAP = 2  # pixels between pictures


@dataclass(frozen=True)
class Exemplars:
    """Pictures that drive one unit most, strongest first.

    Parameters
    ----------
    unit : str
        Whose they are.
    images : array (rank, row, column, 3)
        Whole numbers 0 to 255.
    masks : array (rank, row, column)
        Where the unit is above its threshold.
    """

    unit: str
    images: UInt8[np.ndarray, "rank row column 3"]
    masks: Bool[np.ndarray, "rank row column"]

    def __len__(self) -> int:
        return len(self.images)

    def picture(self, columns: int = 5, pixels: int = 64) -> UInt8[np.ndarray, "row column 3"]:
        """All of them in one picture, dark outside the region.

        Parameters
        ----------
        columns : int
            How many side by side.
        pixels : int
            Small pictures are enlarged, pixel by pixel, to at least this width.

        Returns
        -------
        array (row, column, 3)
            White where there is no picture.
        """
        shade = np.where(self.masks[..., None], 1.0, OUTSIDE)
        tiles = (self.images * shade).round().astype(np.uint8)
        times = -(-pixels // tiles.shape[2])
        tiles = tiles.repeat(times, axis=1).repeat(times, axis=2)
        n, height, width, _ = tiles.shape
        columns = min(columns, n)
        rows = -(-n // columns)
        grid = np.full((rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, 3), 255)
        for i, tile in enumerate(tiles):
            y, x = i // columns * (height + GAP), i % columns * (width + GAP)
            grid[y : y + height, x : x + width] = tile
        return grid.astype(np.uint8)
