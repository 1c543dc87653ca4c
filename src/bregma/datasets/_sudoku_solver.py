"""Solutions of a Sudoku: every one that there is, by search."""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from jaxtyping import Int
from numba import njit

from bregma.errors import InvalidArgument

BOXES = {16: 2, 81: 3}  # number of cells -> side of a box


def box_of(n_cells: int) -> int:
    """Side of a box, for a grid of that many cells."""
    if n_cells not in BOXES:
        raise InvalidArgument(f"a Sudoku has 16 (4 x 4) or 81 (9 x 9) cells, not {n_cells}")
    return BOXES[n_cells]


def solve_sudoku(
    puzzle: Int[np.ndarray, " cell"], *, limit: int = 2
) -> Int[np.ndarray, "solution cell"]:
    """Solutions of a Sudoku, until so many are found.

    Parameters
    ----------
    puzzle : Int[np.ndarray, "cell"]
        16 or 81 cells, row after row; 0 where nothing is given.
    limit : int
        How many solutions to look for; with 2, one found means that there is just one.

    Returns
    -------
    Int[np.ndarray, "solution cell"]
        Solutions, at most `limit`; none where the puzzle contradicts itself.

    Raises
    ------
    InvalidArgument
        If there are not 16 or 81 cells, a digit is out of range, or `limit` is below 1.

    Examples
    --------
    >>> puzzle = np.array([1, 0, 0, 0, 0, 0, 3, 0, 0, 1, 0, 0, 0, 0, 0, 2])
    >>> solve_sudoku(puzzle).reshape(-1, 4, 4)
    array([[[1, 3, 2, 4],
            [4, 2, 3, 1],
            [2, 1, 4, 3],
            [3, 4, 1, 2]]])
    """
    box = box_of(len(puzzle))
    if puzzle.min() < 0 or puzzle.max() > box**2:
        raise InvalidArgument(
            f"digits are 0 (empty) to {box**2}, not {puzzle.min()} to {puzzle.max()}"
        )
    if limit < 1:
        raise InvalidArgument(f"limit must be 1 or more, not {limit}")
    order = np.tile(np.arange(box**2), (len(puzzle), 1))
    return solutions(puzzle, order, limit)


def solutions(
    puzzle: Int[np.ndarray, " cell"], order: Int[np.ndarray, "cell digit"], limit: int
) -> Int[np.ndarray, "solution cell"]:
    """The first solutions when each cell tries the digits in its own order."""
    box = box_of(len(puzzle))
    used = np.zeros((3, box**2), dtype=np.int64)  # digits of each row, column and box, as bits
    cells = np.zeros(len(puzzle), dtype=np.int64)
    for cell in np.flatnonzero(puzzle):
        bit = 1 << (int(puzzle[cell]) - 1)
        row, column, of_box = _places(cell, box)
        if (used[0, row] | used[1, column] | used[2, of_box]) & bit:
            return np.empty((0, len(puzzle)), dtype=np.int64)
        _place(cells, used, cell, puzzle[cell], box)
    out = np.empty((limit, len(puzzle)), dtype=np.int64)
    return out[: _search(cells, used, order, box, out, 0)]


@no_type_check
@njit(cache=True)
def _places(cell, box):
    row, column = divmod(cell, box * box)
    return row, column, row // box * box + column // box


@no_type_check
@njit(cache=True)
def _place(cells, used, cell, digit, box):
    """Write a digit into a cell, or take it out again: both flip the same bits."""
    row, column, of_box = _places(cell, box)
    bit = 1 << (digit - 1)
    used[0, row] ^= bit
    used[1, column] ^= bit
    used[2, of_box] ^= bit
    cells[cell] = digit - cells[cell]


@no_type_check
@njit(cache=True)
def _search(cells, used, order, box, out, found):
    """Try each digit in the cell with the fewest digits left, and go on from there."""
    side = box * box
    at, fewest = -1, side + 1
    for cell in range(side * side):
        if cells[cell] == 0:
            row, column, of_box = _places(cell, box)
            taken = used[0, row] | used[1, column] | used[2, of_box]
            left = 0
            for digit in range(side):
                left += 1 - (taken >> digit & 1)
            if left < fewest:
                at, fewest = cell, left
    if at < 0:
        out[found] = cells
        return found + 1
    row, column, of_box = _places(at, box)
    taken = used[0, row] | used[1, column] | used[2, of_box]
    for digit in order[at]:
        if not taken >> digit & 1:
            _place(cells, used, at, digit + 1, box)
            found = _search(cells, used, order, box, out, found)
            _place(cells, used, at, digit + 1, box)
            if found == len(out):
                break
    return found
