"""The parts of a step of a TopK dictionary on the CPU, in compiled loops on several threads."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import Tensor

from bregma.mechanism.dictionaries import _topk_kernels as kernels
from bregma.mechanism.dictionaries._topk_work import SLICE, Adam, Hits
from bregma.run._threads import in_threads

ROWS = 128  # samples or features of one piece of work


class OnCPU:
    """See `Work`."""

    def __init__(self) -> None:
        self._pre = self._out = torch.empty(0, 0)

    def select(
        self, x: Tensor, weight: Tensor, bias: Tensor, k: int, half: bool
    ) -> tuple[Tensor, Tensor]:
        """See `Work.select`."""
        index = torch.empty(len(x), k, dtype=torch.int32)
        value = torch.empty(index.shape)
        if self._pre.shape != (SLICE, len(weight)):
            self._pre = torch.empty(SLICE, len(weight))
        by = weight.bfloat16().T if half else weight.T
        for first in range(0, len(x), SLICE):
            part = x[first : first + SLICE]
            pre, at, to = self._pre[: len(part)], index[first:].numpy(), value[first:].numpy()
            if half:
                pre.copy_(part.bfloat16() @ by).add_(bias)
            else:
                torch.addmm(bias, part, by, out=pre)
            _each(partial(kernels.select, pre.numpy(), at, to), len(part))
            if half:
                given = part.numpy(), weight.detach().numpy(), bias.detach().numpy()
                _each(partial(kernels.drive, *given, at, to), len(part))
        return index, value

    def residuals(
        self, decoder: Tensor, bias: Tensor, y: Tensor, index: Tensor, value: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """See `Work.residuals`."""
        if self._out.shape != y.shape:
            self._out = torch.empty(y.shape)
        slope, squares = torch.empty(value.shape), torch.empty(len(y))
        given = [t.detach().numpy() for t in (decoder, bias, y, index, value)]
        made = self._out.numpy(), slope.numpy(), squares.numpy()
        _each(partial(kernels.residuals, *given, np.float32(2 / len(y)), *made), len(y))
        return self._out, slope, squares

    def by_feature(self, index: Tensor, value: Tensor, slope: Tensor, n_features: int) -> Hits:
        """See `Work.by_feature`."""
        found = kernels.by_feature(index.numpy(), value.numpy(), slope.numpy(), n_features)
        return Hits(*map(torch.from_numpy, found))

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
        tensors = hits.starts, hits.samples, factors, vectors, weight, adam.mean, adam.square
        given = [t.detach().numpy() for t in tensors]
        settings = tuple(map(np.float32, adam.settings))
        _each(partial(kernels.adam_rows, *given, settings, unit_length), len(weight))


def _each(work: partial[None], n: int) -> None:
    in_threads(work, [(first, min(first + ROWS, n)) for first in range(0, n, ROWS)])
