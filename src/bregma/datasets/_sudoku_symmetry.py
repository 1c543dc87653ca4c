"""Symmetries of a Sudoku: what turns one puzzle into another that is the same in disguise."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int, UInt64

from bregma.datasets._sudoku_solver import box_of


def symmetric_copy(
    grids: Int[np.ndarray, "grid cell"], rng: np.random.Generator
) -> Int[np.ndarray, "grid cell"]:
    """The same random symmetry of each grid: digits renamed, rows and columns moved, transposed.

    Rows stay within their band of boxes, and bands move as a whole; empty cells (0) stay empty.
    """
    box = box_of(grids.shape[1])
    names = np.concatenate([[0], 1 + rng.permutation(box**2)])
    cells = np.arange(box**4).reshape(box**2, box**2)[_lines(box, rng)][:, _lines(box, rng)]
    if rng.random() < 0.5:
        cells = cells.T
    return names[grids[:, cells.ravel()]]


def _lines(box: int, rng: np.random.Generator) -> Int[np.ndarray, " line"]:
    """An order of the rows (or columns) that keeps bands together."""
    return np.concatenate([band * box + rng.permutation(box) for band in rng.permutation(box)])


def orbits(puzzles: Int[np.ndarray, "puzzle cell"]) -> UInt64[np.ndarray, " puzzle"]:
    """A number for each puzzle that is the same for all of its symmetric copies.

    Cells start with a colour that says whether something is given, and take up the colours of
    their row, column and box and of the cells with the same digit, until the colours have
    travelled everywhere (Weisfeiler-Leman). Different puzzles may share a number by accident.
    """
    n, box = len(puzzles), box_of(puzzles.shape[1])
    side = box**2
    same = (puzzles[:, :, None] == np.arange(1, side + 1)).astype(np.uint64)
    colour = _mixed((puzzles > 0).astype(np.uint64))
    for _ in range(2 * box):
        grid = colour.reshape(n, side, side)
        rows = np.broadcast_to(grid.sum(2, keepdims=True), grid.shape)
        columns = np.broadcast_to(grid.sum(1, keepdims=True), grid.shape)
        boxes = grid.reshape(n, box, box, box, box).sum((2, 4), keepdims=True)
        boxes = np.broadcast_to(boxes, (n, box, box, box, box))
        digits = np.einsum("pcd,pd->pc", same, np.einsum("pcd,pc->pd", same, colour))
        # Rows and columns enter alike, so that transposing changes nothing.
        lines = (_mixed(rows + np.uint64(1)) + _mixed(columns + np.uint64(1))).reshape(n, -1)
        around = lines + _mixed(boxes.reshape(n, -1) + np.uint64(2)) + _mixed(digits + np.uint64(3))
        colour = _mixed(_mixed(colour) + around)
    return _mixed(colour.sum(1))


def _mixed(x: UInt64[np.ndarray, "*shape"]) -> UInt64[np.ndarray, "*shape"]:
    """Scramble 64 bits (the finaliser of splitmix64)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9) + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
