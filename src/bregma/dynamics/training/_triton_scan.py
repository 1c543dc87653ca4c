"""The loop over time on a GPU: tensors and launches of the kernels of `_triton_scan_source`.

All tensors of a call lie on one device. What the way back needs of every step is kept, or that of
one segment at a time where checkpoints are asked for. Derivatives by constants are summed for
each unit inside the kernel and then by torch, always in the same order.

Not measured on a GPU yet: the kernels are tested in Triton's interpreter, where float32 gives the
bits of the CPU, and compiled for GPUs without one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from bregma.dynamics.training._scan_run import Run
from bregma.dynamics.training._triton_scan_source import Kernel, forward_kernel, reverse_kernel

BLOCK = 256  # units that a program of the grid carries


class DeviceRun(Run):
    """The tensors of one call on a GPU."""

    forward_kernel = staticmethod(forward_kernel)
    reverse_kernel = staticmethod(reverse_kernel)

    def room(self, n_steps: int, dtype: torch.dtype) -> Tensor:
        """A tensor (time, batch, unit) with any content."""
        device = next(iter(self.start.values())).device
        return torch.empty((n_steps, *self.shape), dtype=dtype, device=device)

    def _numbers(self) -> dict[str, Any]:
        """Constants stay on the device; nobody waits for them."""
        found: dict[str, Any] = {f"all_{n}": c for n, c in self.constants.items()}
        rest = self.zeros().new_full((1,), self.settings.rest, dtype=torch.int32)
        return found | {"rest": rest}

    def _call(self, kernel: Kernel, n_steps: int, found: Mapping[str, Any]) -> None:
        n_rows, n_units = self.shape
        n = n_rows * n_units
        grid = (-(-n // BLOCK),)
        tensors = [found[name] for name in kernel.arguments]
        kernel.run[grid](*tensors, n_steps, n, n_units, BLOCK__=BLOCK, enable_fp_fusion=False)
