"""Where on a grid: a code of sines and cosines of row and column."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from bregma.errors import InvalidArgument


def sine_positions(rows: int, columns: int, width: int) -> Float[Tensor, "cell width"]:
    """Code of every cell of a grid, row by row.

    Half of the features are sines and cosines of the row, half of the column. The wavelengths are
    spaced evenly on a logarithmic scale, from 2 pi cells to 2 pi times the longer side: longer
    waves, such as those for the words of a text, would be constant on the grid.

    Parameters
    ----------
    rows, columns : int
        Size of the grid.
    width : int
        Number of features.

    Returns
    -------
    Float[Tensor, "cell width"]
        The codes; each feature is between -1 and 1.

    Raises
    ------
    InvalidArgument
        If a number is below 1.

    References
    ----------
    Vaswani et al. (2017), Attention is all you need.
    Carion et al. (2020), End-to-end object detection with transformers (in two dimensions).

    Examples
    --------
    >>> sine_positions(2, 3, 8).shape
    torch.Size([6, 8])
    """
    if min(rows, columns, width) < 1:
        raise InvalidArgument(
            f"rows, columns and width must be 1 or more, not {rows}, {columns} and {width}"
        )
    n = math.ceil(width / 4)  # frequencies
    frequency = float(max(rows, columns)) ** (-torch.arange(n) / n)
    waves = []
    for cells in (rows, columns):
        phase = torch.arange(cells)[:, None] * frequency
        waves.append(torch.stack([phase.sin(), phase.cos()], dim=2))  # (cell, frequency, 2)
    row = waves[0][:, None].expand(rows, columns, n, 2)
    column = waves[1][None].expand(rows, columns, n, 2)
    return torch.stack([row, column], dim=3).reshape(rows * columns, 4 * n)[:, :width].clone()
