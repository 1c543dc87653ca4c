"""Perfect mazes: between any two places there is exactly one path."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree

from bregma.datasets._task import Task
from bregma.errors import InvalidArgument
from bregma.run import spawn

WALL, FREE, START, GOAL = range(4)


def mazes(*, n_cells: int = 5, n_examples: int = 256, seed: int) -> Task:
    """Perfect mazes with a start and a goal, and the fields of the only path between them.

    Corridors are the minimum spanning tree of a grid with random weights.

    Parameters
    ----------
    n_cells : int
        Cells in each row and column, 2 or more; the maze has ``2 n_cells + 1`` fields a side.
    n_examples : int
        How many mazes.
    seed : int
        Draws them.

    Returns
    -------
    Task
        Inputs (example, row, column): wall (0), free (1), start (2), goal (3). Targets of the
        same shape: 1 on the path, start and goal included, 0 beside it, -1 on walls.

    Raises
    ------
    InvalidArgument
        If a number is out of range.

    Examples
    --------
    >>> task = mazes(n_cells=2, n_examples=1, seed=0)
    >>> task.inputs.shape
    torch.Size([1, 5, 5])
    """
    if n_cells < 2 or n_examples < 1:
        raise InvalidArgument(f"{n_examples} mazes of {n_cells} x {n_cells} cells are not possible")
    rng = spawn(seed, "mazes")
    pairs = [_maze(n_cells, rng) for _ in range(n_examples)]
    fields, paths = (torch.as_tensor(np.stack(parts)) for parts in zip(*pairs, strict=True))
    on_path = float((paths == 1).sum() / (paths >= 0).sum())
    return Task(fields, paths, 2, chance=max(on_path, 1 - on_path))


def _maze(
    n: int, rng: np.random.Generator
) -> tuple[Int[np.ndarray, "row column"], Int[np.ndarray, "row column"]]:
    """Fields of one maze, and its path."""
    cells = np.arange(n * n).reshape(n, n)
    a = np.concatenate([cells[:, :-1].ravel(), cells[:-1].ravel()])
    b = np.concatenate([cells[:, 1:].ravel(), cells[1:].ravel()])
    weights = rng.random(len(a)) + 0.1  # a weight of zero would be no edge
    tree = minimum_spanning_tree(coo_array((weights, (a, b)), shape=(n * n, n * n)).tocsr())
    start, goal = rng.choice(n * n, 2, replace=False)

    fields = np.full((2 * n + 1, 2 * n + 1), WALL)
    fields[1::2, 1::2] = FREE
    doors = np.stack([_field(end, n) for end in tree.nonzero()]).sum(0) // 2
    fields[*doors] = FREE

    _, before = breadth_first_order(tree, start, directed=False)
    path = np.where(fields == FREE, 0, -1)
    here = goal
    while here != start:
        path[*((_field(here, n) + _field(before[here], n)) // 2)] = 1
        path[*_field(here, n)] = 1
        here = before[here]
    path[*_field(start, n)] = 1
    fields[*_field(start, n)] = START
    fields[*_field(goal, n)] = GOAL
    return fields, path


def _field(cell: np.ndarray | np.integer, n: int) -> Int[np.ndarray, 2 * cell]:
    """Row and column of a cell in the fields."""
    return 2 * np.stack(np.divmod(cell, n)) + 1
