"""Threads for compiled loops that release the GIL, as many as torch has."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import torch


@lru_cache(maxsize=1)
def _pool(n_threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(n_threads, thread_name_prefix="bregma")


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
