"""Large buffers that are used again: fresh pages from the system cost more than arithmetic.

A buffer comes back when the last tensor on it is gone, wherever that went in the meantime. Buffers
in use and buffers that wait never take more memory than those in use once took.
"""

from __future__ import annotations

import math
import threading
import weakref

import numpy as np
import torch
from torch import Tensor

_SMALL = 1 << 20  # bytes; below it the allocator of torch is quick


class Workspace:
    """Buffers by size."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a buffer may come back while this thread takes another one
        self._waiting: dict[int, list[np.ndarray]] = {}
        self.in_use = self.waiting = self.peak = 0

    def empty(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """A tensor with any content.

        Parameters
        ----------
        shape : tuple of int
            Its shape.
        dtype : torch.dtype
            Its type of numbers.

        Returns
        -------
        Tensor
            Contiguous, on the CPU.
        """
        n_bytes = math.prod(shape) * dtype.itemsize
        if n_bytes < _SMALL:
            return torch.empty(shape, dtype=dtype)
        memory = self._take(n_bytes)
        array = memory.view()
        weakref.finalize(array, self._give, memory).atexit = False
        return torch.from_numpy(array).view(dtype).view(shape)

    def _take(self, n_bytes: int) -> np.ndarray:
        with self._lock:
            self.in_use += n_bytes
            self.peak = max(self.peak, self.in_use)
            same = self._waiting.get(n_bytes)
            if same:
                self.waiting -= n_bytes
                return same.pop()
            self._shrink()
        return np.empty(n_bytes, np.uint8)

    def _give(self, memory: np.ndarray) -> None:
        with self._lock:
            self.in_use -= memory.nbytes
            self.waiting += memory.nbytes
            self._waiting.setdefault(memory.nbytes, []).append(memory)
            self._shrink()

    def _shrink(self) -> None:
        """Let go of what waits beyond the peak, the sizes first that were not asked for lately."""
        for n_bytes in list(self._waiting):
            same = self._waiting[n_bytes]
            while same and self.in_use + self.waiting > self.peak:
                same.pop()
                self.waiting -= n_bytes
            if not same:
                del self._waiting[n_bytes]


workspace = Workspace()
