"""The parts of a step of a TopK dictionary on a GPU, in Triton kernels.

Not measured on a GPU yet: the kernels are tested in Triton's interpreter on the CPU (environment
variable ``TRITON_INTERPRET=1``) and compiled for GPUs without one.
"""

from __future__ import annotations

import torch
import triton
from jaxtyping import Float, Int
from torch import Tensor

from bregma.mechanism.dictionaries import _topk_gpu_kernels as kernels
from bregma.mechanism.dictionaries._topk_work import SLICE, Adam, Hits


class OnGPU:
    """See `Work`."""

    def select(
        self,
        x: Float[Tensor, "sample input"],
        weight: Float[Tensor, "feature input"],
        bias: Float[Tensor, " feature"],
        k: int,
        half: bool,
    ) -> tuple[Int[Tensor, "sample k"], Float[Tensor, "sample k"]]:
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
        self,
        decoder: Float[Tensor, "feature output"],
        bias: Float[Tensor, " output"],
        y: Float[Tensor, "sample output"],
        index: Int[Tensor, "sample k"],
        value: Float[Tensor, "sample k"],
    ) -> tuple[Float[Tensor, "sample output"], Float[Tensor, "sample k"], Float[Tensor, " sample"]]:
        """See `Work.residuals`."""
        out, slope, squares = torch.empty_like(y), torch.empty_like(value), y.new_empty(len(y))
        kernels.residuals[(len(y),)](
            decoder, bias, y, index, value, 2 / len(y), out, slope, squares, y.shape[1],
            index.shape[1], BLOCK=_block(y.shape[1]),
        )  # fmt: skip
        return out, slope, squares

    def by_feature(
        self,
        index: Int[Tensor, "sample k"],
        value: Float[Tensor, "sample k"],
        slope: Float[Tensor, "sample k"],
        n_features: int,
    ) -> Hits:
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
        factors: Float[Tensor, " hit"],
        vectors: Float[Tensor, "sample number"],
        weight: Float[Tensor, "feature number"],
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
