"""Running claims: seeds side by side, each one saved as soon as it is there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

from bregma._extras import require
from bregma.claims._apart import end_all, run_apart
from bregma.claims._catalogue import find
from bregma.claims._claim import BUDGETS, PILOT, Claim
from bregma.claims._result import Result, cores
from bregma.errors import BregmaError, InvalidArgument, UnknownName
from bregma.run import progress as show_progress


def shipped() -> Path:
    """Folder of the results that come with the package.

    Returns
    -------
    Path
        Made by ``bregma verify --all``; never edited by hand.
    """
    return Path(str(resources.files("bregma.claims") / "results"))


def result_path(folder: str | Path, slug: str, budget: str) -> Path:
    """Where the result of a claim is kept.

    Parameters
    ----------
    folder : str or Path
        Folder of results.
    slug, budget : str
        Which claim, and how much of it.

    Returns
    -------
    Path
        A JSON file.
    """
    return Path(folder) / budget / f"{slug}.json"


def verify(
    slugs: Sequence[str],
    *,
    results: str | Path,
    budget: str = "check",
    seeds: Sequence[int] | None = None,
    jobs: int | None = None,
    cluster: str = "",
    progress: bool = False,
) -> Mapping[str, Result]:
    """Run claims and keep what comes out.

    Kill it whenever you like: seeds that were run with the same code and settings are not run
    again.

    Parameters
    ----------
    slugs : sequence of str
        Which claims.
    results : str or Path
        Folder in which the results are kept.
    budget : str
        ``smoke``, ``check`` or ``full``.
    seeds : sequence of int, optional
        Those of the claim where none are given; the pilot seed alone for ``smoke``.
    jobs : int, optional
        Seeds that run at the same time, each in a process of its own; all cores where it is not
        given.
    cluster : str
        Address of a Dask scheduler that runs the seeds instead, such as ``tcp://host:8786``.
    progress : bool
        Show a bar where stderr is a terminal.

    Returns
    -------
    mapping of str to Result
        Slug -> what came out, in the order of the slugs.

    Raises
    ------
    UnknownName
        If there is no such claim or budget.
    InvalidArgument
        If a kept result is damaged, or jobs or seeds are out of range.
    BregmaError
        If a result cannot be written or the cluster cannot be reached.
    """
    if budget not in BUDGETS:
        raise UnknownName.of("budget", budget, BUDGETS)
    jobs = cores() if jobs is None else jobs
    if jobs < 1 or any(seed < 0 for seed in seeds or ()):
        raise InvalidArgument("jobs must be 1 or more, and seeds 0 or more")
    claims = {slug: find(slug) for slug in slugs}
    found = {slug: kept(claim, budget, results) for slug, claim in claims.items()}
    todo = [
        (slug, seed)
        for slug, claim in claims.items()
        for seed in _seeds(claim, budget, seeds)
        if seed not in found[slug].runs or found[slug].runs[seed].error
    ]
    threads = max(1, cores() // jobs)
    with (
        _workers(jobs, cluster) as pool,
        show_progress[Any](what="verifying", total=len(todo), show=progress) as bar,
    ):
        waiting = {pool.submit(run_apart, slug, budget, seed, threads): slug for slug, seed in todo}
        for done in as_completed(waiting):
            slug = waiting[done]
            found[slug] = found[slug].having(done.result())
            found[slug].save(result_path(results, claims[slug].slug, budget))
            bar.advance(note=slug)
    return found


def kept(claim: Claim, budget: str, folder: str | Path) -> Result:
    """The result that is kept, as far as it was made with the present code and settings.

    Parameters
    ----------
    claim : Claim
        The claim.
    budget : str
        How much of it.
    folder : str or Path
        Folder of results.

    Returns
    -------
    Result
        An empty one where there is none.
    """
    result = Result.load(result_path(folder, claim.slug, budget))
    new = Result.empty(claim, budget)
    return result if result is not None and result.digest == new.digest else new


def _seeds(claim: Claim, budget: str, seeds: Sequence[int] | None) -> Sequence[int]:
    if seeds:
        return seeds
    return (PILOT,) if budget == "smoke" else claim.seeds


@contextmanager
def _workers(jobs: int, cluster: str) -> Iterator[Executor]:
    """Threads that each watch a process, or a Dask cluster; nothing goes on running afterwards."""
    if not cluster:
        pool = ThreadPoolExecutor(jobs)
        try:
            yield pool
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            end_all()
        return
    distributed = require("distributed", "scale")
    try:
        client = distributed.Client(cluster, timeout="10s", set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise BregmaError(f"no Dask scheduler answers at {cluster}: {error}") from error
    with client:
        pool = client.get_executor(pure=False)
        try:
            yield pool
        finally:
            pool.shutdown(wait=False)
