"""How many threads a run may use, and blocks of a matrix for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import local

import torch

from bregma.run._threads import in_threads

WIDTH = 8192
_share = local()


def n_threads_here() -> int:
    """How many threads one run may use: torch's number, or the share of it in `at_most`."""
    return max(1, min(torch.get_num_threads(), getattr(_share, "most", torch.get_num_threads())))


@contextmanager
def at_most(n_threads: int) -> Iterator[None]:
    """What this thread runs uses no more threads than that: others run beside it."""
    before = getattr(_share, "most", None)
    _share.most = n_threads
    try:
        yield
    finally:
        if before is None:
            del _share.most
        else:
            _share.most = before


def in_blocks(function: Callable[[int, int, int, int], None], n_rows: int, n_units: int) -> None:
    """Call a function for blocks (first row, last row, first unit, last unit) that cover all."""
    width = max(256, min(WIDTH, -(-n_rows * n_units // torch.get_num_threads())))
    rows, units = max(1, width // n_units), min(width, n_units)
    in_threads(
        function,
        [
            (b, min(b + rows, n_rows), u, min(u + units, n_units))
            for b in range(0, n_rows, rows)
            for u in range(0, n_units, units)
        ],
    )
