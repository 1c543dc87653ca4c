"""Several processes train one module: each takes its share of every batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist

from bregma.errors import InvalidArgument


@dataclass(frozen=True)
class Team:
    """The processes that `torchrun` started, or this one alone."""

    rank: int = 0
    size: int = 1

    @classmethod
    def now(cls) -> Team:
        """The processes of `torch.distributed`, where it was initialised."""
        if dist.is_available() and dist.is_initialized():
            return cls(dist.get_rank(), dist.get_world_size())
        return cls()

    def share(self, batch: Any) -> tuple[Any, float]:
        """This process's examples of a batch, and which part of the batch they are."""
        if self.size == 1:
            return batch, 1.0
        n = _length(batch)
        if n < self.size:
            raise InvalidArgument(f"a batch of {n} examples is too small for {self.size} processes")
        first, last = n * self.rank // self.size, n * (self.rank + 1) // self.size
        return _rows(batch, slice(first, last)), (last - first) / n

    def same_start(self, module: torch.nn.Module) -> None:
        """Give all processes the weights and buffers of the first."""
        if self.size > 1:
            for tensor in (*module.parameters(), *module.buffers()):
                dist.broadcast(tensor.data, src=0)

    def add_up(self, tensors: list[torch.Tensor]) -> None:
        """Replace tensors by their sum over the processes, in one message."""
        if self.size > 1 and tensors:
            flat = torch.cat([tensor.flatten() for tensor in tensors])
            dist.all_reduce(flat)
            parts = flat.split([tensor.numel() for tensor in tensors])
            for tensor, part in zip(tensors, parts, strict=True):
                tensor.copy_(part.view_as(tensor))

    def first_says(self, question: Callable[[], bool], on: torch.device) -> bool:
        """The answer of the first process, so that all do the same."""
        if self.size == 1:
            return question()
        answer = torch.tensor(int(self.rank == 0 and question()), device=on)
        dist.broadcast(answer, src=0)
        return bool(answer)

    def wait(self) -> None:
        """Go on when all are here."""
        if self.size > 1:
            dist.barrier()


def _length(batch: Any) -> int:
    if isinstance(batch, dict):
        return _length(next(iter(batch.values())))
    return len(batch) if isinstance(batch, torch.Tensor) else _length(batch[0])


def _rows(batch: Any, rows: slice) -> Any:
    if isinstance(batch, torch.Tensor):
        return batch[rows]
    if isinstance(batch, dict):
        return {name: _rows(part, rows) for name, part in batch.items()}
    if isinstance(batch, list | tuple):
        return type(batch)(_rows(part, rows) for part in batch)
    raise InvalidArgument(
        f"a batch holds a {type(batch).__name__}; several processes can share tensors, and "
        "tuples, lists and dicts of them"
    )
