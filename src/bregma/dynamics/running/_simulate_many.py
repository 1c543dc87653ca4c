"""Many runs at once: trials of one network, or networks with other parameters, on several cores."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

import torch

from bregma.dynamics.engines._threads import at_most
from bregma.dynamics.network._network import Network
from bregma.dynamics.running._simulate import Simulation, simulate
from bregma.errors import InvalidArgument
from bregma.run import progress as show_progress


def simulate_many(
    network: Network | Sequence[Network],
    duration: float | str,
    *,
    seeds: Iterable[int],
    n_jobs: int | None = None,
    progress: bool = False,
    **options: Any,
) -> list[Simulation]:
    """Run a network from several seeds, or several networks, at the same time.

    The runs share this process: compiled code does not hold the interpreter, so that each run
    has a core for itself, and torch's threads are divided among runs where there are more of them
    than runs at a time. What comes out does not depend on how many threads there are.

    Parameters
    ----------
    network : Network or sequence of Network
        One for all seeds, or one for each.
    duration : float or str
        How long, in seconds or with a unit.
    seeds : iterable of int
        One for each run.
    n_jobs : int, optional
        How many runs at a time; as many as there are cores by default.
    progress : bool
        Show a bar where stderr is a terminal.
    **options
        What `simulate` takes.

    Returns
    -------
    list of Simulation
        In the order of the seeds.

    Raises
    ------
    InvalidArgument
        Another number of networks than of seeds, or no job at all.
    """
    seeds = list(seeds)
    networks = [network] * len(seeds) if isinstance(network, Network) else list(network)
    if len(networks) != len(seeds):
        raise InvalidArgument(f"there are {len(networks)} networks, but {len(seeds)} seeds")
    n_jobs = (os.cpu_count() or 1) if n_jobs is None else n_jobs
    if n_jobs < 1:
        raise InvalidArgument(f"n_jobs must be 1 or more, not {n_jobs}")
    share = max(1, torch.get_num_threads() // max(1, min(n_jobs, len(seeds))))
    with (
        ThreadPoolExecutor(n_jobs) as pool,
        show_progress[Any](what="simulating", total=len(seeds), show=progress) as bar,
    ):
        runs = [
            pool.submit(_one, share, n, duration, seed=seed, **options)
            for n, seed in zip(networks, seeds, strict=True)
        ]
        try:
            for done in as_completed(runs):
                done.result()
                bar.advance()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        return [run.result() for run in runs]


def _one(n_threads: int, network: Network, duration: float | str, **options: Any) -> Simulation:
    """One run on its share of the threads."""
    with at_most(n_threads):
        return simulate(network, duration, **options)
