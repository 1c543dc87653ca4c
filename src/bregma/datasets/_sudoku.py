"""Sudoku: puzzles with one solution, where no test puzzle is a training puzzle in disguise."""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Int

from bregma.datasets._sudoku_solver import solutions
from bregma.datasets._sudoku_symmetry import orbits, symmetric_copy
from bregma.datasets._task import Task
from bregma.errors import InvalidArgument
from bregma.run import derive, spawn

Pair = Int[np.ndarray, "2 cell"]  # a puzzle and its solution
TRIES = 30  # puzzles to draw for each one that is asked for, before giving up


def sudoku(
    *,
    box: int = 2,
    givens: int = 6,
    n_train: int = 500,
    n_test: int = 500,
    copies: int = 1,
    seed: int,
) -> tuple[Task, Task]:
    """Sudoku puzzles of 4 x 4 or 9 x 9 cells that have exactly one solution.

    All puzzles differ. Renaming digits, moving rows, columns and bands, and transposing turn a
    puzzle into one that is the same in disguise; all disguises of a puzzle are in the same half.
    The halves of 4 x 4 puzzles share *solutions*, of which there are only two in disguises.

    Parameters
    ----------
    box : int
        Side of a box: 2 for 4 x 4 cells, 3 for 9 x 9.
    givens : int
        How many cells are filled in; puzzles of few givens are harder and rarer.
    n_train, n_test : int
        How many puzzles.
    copies : int
        How often each training puzzle is there: once as it is, and in random disguises.
    seed : int
        Draws the puzzles and the halves.

    Returns
    -------
    train, test : Task
        Inputs (puzzle, cell): the digits row after row, 0 where nothing is given. Targets
        (puzzle, cell): the digit less 1, and -1 where it is given. Accuracy counts cells; one
        wrong cell spoils a puzzle.

    Raises
    ------
    InvalidArgument
        If a number is out of range, or so many puzzles with so few givens cannot be found.

    References
    ----------
    Felgenhauer and Jarvis (2006), Mathematics of Sudoku I.
    Wang et al. (2025), Hierarchical reasoning model (random disguises of training puzzles).

    Examples
    --------
    >>> train, test = sudoku(n_train=20, n_test=10, seed=0)
    >>> train.inputs.shape, int((test.inputs > 0).sum(1).max()), train.n_classes
    (torch.Size([20, 16]), 6, 4)
    """
    if box not in (2, 3):
        raise InvalidArgument(f"box must be 2 (4 x 4 cells) or 3 (9 x 9 cells), not {box}")
    if not 1 <= givens < box**4:
        raise InvalidArgument(f"givens must be from 1 to {box**4 - 1}, not {givens}")
    if min(n_train, n_test, copies) < 1:
        raise InvalidArgument(
            f"n_train, n_test and copies must be 1 or more, not {(n_train, n_test, copies)}"
        )
    rng = spawn(seed, "sudoku")
    train, test = _halves(box, givens, n_train, n_test, derive(seed, "halves"), rng)
    disguised = [symmetric_copy(pair, rng) for _ in range(copies - 1) for pair in train]
    halves = (np.stack([*train, *disguised], axis=1), np.stack(test, axis=1))
    return sudoku_task(*halves[0]), sudoku_task(*halves[1])


def _halves(
    box: int, givens: int, n_train: int, n_test: int, salt: int, rng: np.random.Generator
) -> tuple[list[Pair], list[Pair]]:
    """Draw puzzles until both halves are full; the number of its orbit decides for one of them."""
    wanted, seen = (n_train, n_test), set[bytes]()
    halves: tuple[list[Pair], list[Pair]] = ([], [])
    for _ in range(TRIES * (n_train + n_test)):
        pair = _puzzle(box, givens, rng)
        if pair is None or pair[0].tobytes() in seen:
            continue
        seen.add(pair[0].tobytes())
        (orbit,) = orbits(pair[:1])
        half = int(spawn(salt, int(orbit)).random() < n_test / (n_train + n_test))
        if len(halves[half]) < wanted[half]:
            halves[half].append(pair)
        if all(len(found) == n for found, n in zip(halves, wanted, strict=True)):
            return halves
    raise InvalidArgument(
        f"of {n_train} training and {n_test} test puzzles with {givens} givens only "
        f"{len(halves[0])} and {len(halves[1])} were found; ask for fewer, or for more givens"
    )


def _puzzle(box: int, givens: int, rng: np.random.Generator) -> Pair | None:
    """A puzzle with its solution; None where cells cannot be emptied down to so few givens."""
    n_cells = box**4
    order = np.argsort(rng.random((n_cells, box**2)), axis=1)
    solution = solutions(np.zeros(n_cells, dtype=np.int64), order, 1)[0]
    puzzle, left = solution.copy(), n_cells
    for cell in rng.permutation(n_cells):
        if left == givens:
            break
        puzzle[cell] = 0
        if len(solutions(puzzle, order, 2)) == 1:
            left -= 1
        else:
            puzzle[cell] = solution[cell]
    return np.stack([puzzle, solution]) if left == givens else None


def sudoku_task(
    puzzles: Int[np.ndarray, "puzzle cell"], solutions: Int[np.ndarray, "puzzle cell"]
) -> Task:
    """What is asked for are the cells that are not given."""
    inputs, targets = torch.as_tensor(puzzles), torch.as_tensor(solutions) - 1
    targets = torch.where(inputs > 0, -1, targets)
    asked = torch.bincount(targets[targets >= 0])
    n_classes = math.isqrt(puzzles.shape[1])
    return Task(inputs, targets, n_classes, chance=float(asked.max() / asked.sum()))
