"""Sudoku puzzles from a table of questions and answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Int

from bregma.datasets._sudoku import sudoku_task
from bregma.datasets._sudoku_solver import BOXES
from bregma.datasets._task import Task
from bregma.errors import InvalidArgument

COLUMNS = ("question", "answer")


def read_sudoku(path: str | Path, *, first: int | None = None) -> Task:
    """Read puzzles from a CSV file, such as those of Sudoku-Extreme.

    Parameters
    ----------
    path : str or Path
        A file with the columns ``question`` (``.`` or ``0`` where nothing is given) and ``answer``,
        each a text of 16 or 81 digits, row after row; other columns are left alone.
    first : int, optional
        Read that many rows only.

    Returns
    -------
    Task
        As `sudoku` gives it.

    Raises
    ------
    InvalidArgument
        If a column is missing, there is no row, or a row is no grid or no answer to its question.

    References
    ----------
    Wang et al. (2025), Hierarchical reasoning model (data set sapientinc/sudoku-extreme).
    """
    table = pd.read_csv(path, dtype=str, nrows=first, keep_default_na=False)
    missing = set(COLUMNS) - set(table.columns)
    if missing or table.empty:
        raise InvalidArgument(
            f"{path} has {len(table)} rows and the columns {list(table.columns)}; it needs the "
            f"columns {list(COLUMNS)} and a row"
        )
    questions, answers = (_grids(table[name], path) for name in COLUMNS)
    wrong = (answers == 0) | ((questions > 0) & (questions != answers))
    if wrong.any():
        raise InvalidArgument(
            f"{path}: the answer of row {int(wrong.any(1).argmax())} does not fit its question"
        )
    return sudoku_task(questions, answers)


def _grids(texts: pd.Series, path: str | Path) -> Int[np.ndarray, "puzzle cell"]:
    n_cells = len(texts.iloc[0])
    for row, text in enumerate(texts):
        digits = text.replace(".", "0")
        good = len(text) == n_cells in BOXES and digits.isascii() and digits.isdigit()
        if not good or int(max(digits)) > BOXES[n_cells] ** 2:
            raise InvalidArgument(
                f"{path}: row {row} of {texts.name!r} is no grid of {sorted(BOXES)} cells: {text!r}"
            )
    joined = "".join(texts).replace(".", "0").encode()
    return (np.frombuffer(joined, dtype=np.uint8) - ord("0")).reshape(-1, n_cells).astype(np.int64)
