"""Whether threads find free cores; where they do not, they wait for each other most of the time.

Threads that meet at every step have to run at the same time. Where other programs want the same
cores, each meeting waits for the scheduler, and ten times as long as one thread takes is nothing
unusual. So every run says which share of its time its threads had a core for, and after one with
too small a share networks run on one thread for a while, longer and longer if that goes on.
"""

from __future__ import annotations

import time

FREE = 0.85  # share of the time for which every thread has to have a core
SHORT = 2e-3  # seconds of a run that say nothing
FIRST, LONGEST = 1.0, 64.0  # seconds on one thread after that


class Cores:
    """What is known of the cores of this machine, by the clock."""

    def __init__(self) -> None:
        self._until, self._pause = 0.0, 0.0

    @property
    def free(self) -> bool:
        """Whether to try several threads."""
        return time.monotonic() >= self._until

    def had(self, cpu: float, wall: float, n_threads: int) -> None:
        """Learn from a run.

        Parameters
        ----------
        cpu, wall : float
            Seconds for which its threads had a core, in sum, and that it took.
        n_threads : int
            How many there were.
        """
        if wall < SHORT:
            return
        if cpu >= FREE * wall * n_threads:
            self._pause = 0.0
            return
        self._pause = min(2 * self._pause, LONGEST) if self._pause else FIRST
        self._until = time.monotonic() + self._pause


CORES = Cores()
