"""Products with arrays of spikes that skip the zeros.

Rows of a table are added up where there are spikes. Columns go in blocks; a block belongs to one
thread at a time, so that nothing is summed over threads and the results have the same bits on any
number of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor

from bregma.dynamics.engines import _event_kernels as kernels
from bregma.dynamics.engines._event_kernels import TILE
from bregma.dynamics.training._workspace import workspace
from bregma.errors import InvalidArgument
from bregma.run._threads import in_threads

COLUMNS = 512  # at most; fewer where there are more threads than such blocks


@dataclass(frozen=True)
class Events:
    """Where an array (time, batch, unit) of zeros and ones has its ones.

    indptr, indices : row r of (time, batch) has ones in units indices[indptr[r] : indptr[r + 1]].
    """

    shape: tuple[int, int, int]
    indptr: np.ndarray
    indices: np.ndarray

    @property
    def density(self) -> float:
        """Share of ones."""
        return len(self.indices) / max(1, np.prod(self.shape, dtype=float))

    def dense(self, dtype: torch.dtype = torch.float32) -> Shaped[Tensor, "time batch unit"]:
        """The array with its zeros."""
        made = torch.zeros(self.shape, dtype=dtype)
        rows = np.repeat(np.arange(len(self.indptr) - 1), np.diff(self.indptr))
        flat = made.view(-1, self.shape[2])
        flat[torch.from_numpy(rows), torch.from_numpy(self.indices.astype(np.int64))] = 1
        return made


def events_of(x: Tensor, most: float = 1.0) -> Events | None:
    """Find the ones of an array of zeros and ones.

    Parameters
    ----------
    x : Tensor (time, batch, unit)
        On the CPU, of any type of numbers.
    most : float
        Density above which it is not worth it.

    Returns
    -------
    Events or None
        None where something is neither 0 nor 1, or where there are more ones than asked for.
    """
    shape = (int(x.shape[0]), int(x.shape[1]), int(x.shape[2]))
    flat = x.detach().reshape(-1, shape[2]).contiguous().numpy()
    counts = np.empty(len(flat), np.int64)
    strange: list[int] = []
    parts = _parts(len(flat), 16)
    in_threads(lambda a, b: strange.append(kernels.count(flat, counts, a, b)), parts)
    n_ones = int(counts.sum())
    if any(strange) or n_ones > most * flat.size:
        return None
    indptr = np.zeros(len(flat) + 1, np.int64)
    np.cumsum(counts, out=indptr[1:])
    # one place more, which the loop below may write to when it is done
    indices = np.empty(n_ones + 1, np.uint16 if shape[2] <= 1 << 16 else np.int32)
    in_threads(lambda a, b: kernels.fill(flat, indptr, indices, a, b), parts)
    return Events(shape, indptr, indices[:-1])


def product(events: Events, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x weight + bias for x of events and weight (input, output); (time, batch, output)."""
    n_inputs, n_outputs = weight.shape
    if n_inputs != events.shape[2]:
        raise InvalidArgument(f"events of {events.shape[2]} units meet weights of {n_inputs}")
    y = workspace.empty((*events.shape[:2], n_outputs), weight.dtype)
    start = torch.zeros(n_outputs, dtype=weight.dtype) if bias is None else bias.detach()
    n_blocks = _n_blocks(n_outputs)
    table = weight.detach().contiguous().numpy().reshape(n_inputs, n_blocks, -1)
    sums = y.numpy().reshape(-1, n_blocks, n_outputs // n_blocks)
    first = start.contiguous().numpy().reshape(n_blocks, -1)
    jobs = [(a, b, c) for c in range(n_blocks) for a, b in _parts(len(sums), 2)]
    in_threads(
        lambda a, b, c: kernels.product(events.indptr, events.indices, table, first, sums, a, b, c),
        jobs,
    )
    return y


def weight_gradient(events: Events, grad_y: Tensor) -> Tensor:
    """x^T grad_y for x of events; (input, output)."""
    n_inputs, n_outputs = events.shape[2], grad_y.shape[2]
    n_blocks = _n_blocks(n_outputs)
    grad = torch.zeros((n_inputs, n_outputs), dtype=grad_y.dtype)
    table = grad_y.contiguous().numpy().reshape(-1, n_blocks, n_outputs // n_blocks)
    n_tiles = -(-len(table) // TILE)
    pointers = np.zeros((n_tiles, n_inputs + 1), np.int64)
    rows = np.empty(len(events.indices), np.uint16)
    in_threads(
        lambda a, b: kernels.sort_tiles(events.indptr, events.indices, pointers, rows, a, b),
        _parts(n_tiles, 4),
    )
    sums = grad.numpy().reshape(n_inputs, n_blocks, -1)
    in_threads(
        lambda c: kernels.gradient(pointers, rows, table, sums, c), [(c,) for c in range(n_blocks)]
    )
    return grad


def _n_blocks(n_columns: int) -> int:
    """Number of equal blocks of columns, at least one for each thread; one where none are equal."""
    fewest = max(-(-n_columns // COLUMNS), min(torch.get_num_threads(), n_columns // 64))
    return next((n for n in range(fewest, 4 * fewest) if n_columns % n == 0), 1)


def _parts(n: int, most: int) -> list[tuple[int, int]]:
    cuts = np.linspace(0, n, min(n, most) + 1).astype(int).tolist()
    return list(pairwise(cuts))
