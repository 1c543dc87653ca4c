"""Processes that run one thing together, by torch.distributed: all go on, or all stop."""

from __future__ import annotations

import atexit
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import torch.distributed as dist

from bregma.errors import InvalidArgument, ProcessFailed

T = TypeVar("T")


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
