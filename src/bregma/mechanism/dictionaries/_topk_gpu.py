"""The parts of a step of a TopK dictionary on a GPU, in Triton kernels.

Not measured on a GPU yet: the kernels are tested in Triton's interpreter on the CPU (environment
variable ``TRITON_INTERPRET=1``) and compiled for GPUs without one.
"""

from __future__ import annotations

import torch
import triton
from torch import Tensor

from bregma.mechanism.dictionaries import _topk_gpu_kernels as kernels
from bregma.mechanism.dictionaries._topk_work import SLICE, Adam, Hits


class OnGPU:
    """See `Work`."""

    def select(
        self, x: Tensor, weight: Tensor, bias: Tensor, k: int, half: bool
    ) -> tuple[Tensor, Tensor]:
        """See `Work.select`."""
        by = weight.bfloat16().T if half else weight.T
        best = []
        for part in x.split(SLICE):  # never the drive of all features by all samples
            pre = (part.bfloat16() @ by).float() + bias if half else torch.addmm(bias, part, by)
            best.append(pre.topk(k, sorted=False))
        index = torch.cat([found.indices for found in best]).int()
        value = torch.cat([found.values for found in best]).relu()
        if half:
            kernels.drive[(len(x),)](
                x, weight, bias, index, value, x.shape[1], k, BLOCK=_block(x.shape[1])
            )
        return index, value

    def residuals(
        self, decoder: Tensor, bias: Tensor, y: Tensor, index: Tensor, value: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """See `Work.residuals`."""
        out, slope, squares = torch.empty_like(y), torch.empty_like(value), y.new_empty(len(y))
        kernels.residuals[(len(y),)](
            decoder, bias, y, index, value, 2 / len(y), out, slope, squares, y.shape[1],
            index.shape[1], BLOCK=_block(y.shape[1]),
        )  # fmt: skip
        return out, slope, squares

    def by_feature(self, index: Tensor, value: Tensor, slope: Tensor, n_features: int) -> Hits:
        """See `Work.by_feature`."""
        features = torch.where(value > 0, index, n_features).flatten()  # those not on come last
        features, order = features.sort(stable=True)
        places = torch.arange(n_features + 1, dtype=features.dtype, device=features.device)
        starts = torch.searchsorted(features, places)
        slopes, sums = slope.flatten()[order], slope.new_empty(n_features)
        kernels.sums[(n_features,)](starts, slopes, sums)
        samples = (order // index.shape[1]).int()
        return Hits(starts, samples, value.flatten()[order], slopes, sums)

    def adam_rows(
        self,
        hits: Hits,
        factors: Tensor,
        vectors: Tensor,
        weight: Tensor,
        adam: Adam,
        unit_length: bool,
    ) -> None:
        """See `Work.adam_rows`."""
        n = weight.shape[1]
        kernels.adam_rows[(len(weight),)](
            hits.starts, hits.samples, factors, vectors, weight, adam.mean, adam.square,
            *adam.settings, n, UNIT_LENGTH=unit_length, BLOCK=_block(n),
        )  # fmt: skip


def _block(n: int) -> int:
    return triton.next_power_of_2(n)
