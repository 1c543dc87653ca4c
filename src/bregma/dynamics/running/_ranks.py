"""Processes that run one thing together, by torch.distributed: all go on, or all stop."""

from __future__ import annotations

import atexit
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist

from bregma.errors import InvalidArgument, ProcessFailed

T = TypeVar("T")
Array = np.ndarray
ROOM = 1000  # numbers in a message, at the beginning


class Ranks:
    """The processes of a run, one of which is this.

    Parameters
    ----------
    timeout : float
        Seconds after which a process that does not answer counts as dead.

    Raises
    ------
    InvalidArgument
        If this process was not started together with others, or torch cannot talk to them.
    """

    def __init__(self, timeout: float) -> None:
        if not dist.is_available() or not dist.is_gloo_available():
            raise InvalidArgument("this torch has no gloo, by which processes on CPUs talk")
        self.timeout = timeout
        if not dist.is_initialized():
            if not dist.is_torchelastic_launched():
                raise InvalidArgument(
                    "there are no processes to run in: start the script with torchrun "
                    "--nproc-per-node=4 script.py, or call torch.distributed.init_process_group"
                )
            dist.init_process_group("gloo", timeout=timedelta(seconds=timeout))
            atexit.register(dist.destroy_process_group)  # which cannot be begun a second time
        self.group = dist.new_group(backend="gloo", timeout=timedelta(seconds=timeout))
        self.room = ROOM
        self.number, self.count = dist.get_rank(), dist.get_world_size()

    def together(self, work: Callable[[], T]) -> list[T]:
        """Do something in every process and give all results to everyone.

        Parameters
        ----------
        work : callable
            What this process does.

        Returns
        -------
        list
            Results in the order of the processes.

        Raises
        ------
        ProcessFailed
            If it failed in another process; where it failed here, that error itself.
        """
        mine: Any = None
        error: Exception | None = None
        try:
            mine = work()
        except Exception as failure:
            error = failure
        found: list[Any] = [None] * self.count
        said = "" if error is None else f"{type(error).__name__}: {error}"
        self._talk(lambda: dist.all_gather_object(found, (mine, said), group=self.group))
        if error is not None:
            raise error
        for number, (_, what) in enumerate(found):
            if what:
                raise ProcessFailed(f"process {number} failed: {what}")
        return [result for result, _ in found]

    def exchange(self, work: Callable[[], Array]) -> list[Array]:
        """As `together`, for whole numbers: one message instead of two, mostly.

        Parameters
        ----------
        work : callable
            Gives an array of int64.

        Returns
        -------
        list of array
            Those of all processes.
        """
        mine, error = np.empty(0, np.int64), None
        try:
            mine = work()
        except Exception as failure:
            error = failure
        while True:
            sent = np.zeros(self.room + 1, np.int64)  # how many, then as many as fit
            sent[0] = len(mine) if error is None else -1
            sent[1 : len(mine) + 1] = mine[: self.room]
            found = [torch.empty(self.room + 1, dtype=torch.int64) for _ in range(self.count)]
            message = torch.from_numpy(sent)
            self._talk(partial(dist.all_gather, found, message, group=self.group))
            counts = [int(numbers[0]) for numbers in found]
            if min(counts) < 0:
                self.together(partial(_fail, error))
            if max(counts) <= self.room:
                return [x[1 : n + 1].numpy() for x, n in zip(found, counts, strict=True)]
            self.room = 2 * max(counts)

    def to_first(self, mine: T) -> list[T] | None:
        """Results of all processes in the first one, None in the others."""
        found: list[Any] | None = [None] * self.count if self.number == 0 else None
        self._talk(lambda: dist.gather_object(mine, found, dst=0, group=self.group))
        return found

    def _talk(self, call: Callable[[], None]) -> None:
        try:
            call()
        except RuntimeError as error:
            raise ProcessFailed(
                f"another process died or did not answer within {self.timeout:g} s: {error}"
            ) from error

    def close(self) -> None:
        """Leave the group of this run."""
        dist.destroy_process_group(self.group)


def _fail(error: Exception | None) -> None:
    if error is not None:
        raise error
