"""Threads for compiled loops that release the GIL, as many as torch has."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from threading import local

import torch

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


@lru_cache(maxsize=1)
def _pool(n_threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(n_threads, thread_name_prefix="bregma-scan")


if hasattr(os, "register_at_fork"):  # threads do not follow a process into its children
    os.register_at_fork(after_in_child=_pool.cache_clear)


def in_threads(function: Callable[..., None], blocks: Sequence[tuple[int, ...]]) -> None:
    """Call a function that releases the GIL for each block, on torch's number of threads."""
    n_threads = min(torch.get_num_threads(), len(blocks))
    if n_threads <= 1:
        for block in blocks:
            function(*block)
    else:
        list(_pool(torch.get_num_threads()).map(lambda block: function(*block), blocks))


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
