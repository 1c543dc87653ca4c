"""`bregma verify`: run claims and say what came out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bregma.errors import InvalidArgument

NOT_ALL_HOLD = 3  # exit status when all ran and one claim only partly holds, or fails
CRASHED = 1


def verify(
    slugs: Annotated[
        list[str] | None, typer.Argument(metavar="SLUG...", help="Claims; see bregma papers.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All claims.")] = False,
    room: Annotated[str | None, typer.Option(help="All claims of a room.")] = None,
    budget: Annotated[
        str, typer.Option(help="smoke (10 s each), check (3 min each) or full (paper's scale).")
    ] = "check",
    seeds: Annotated[
        str | None, typer.Option(metavar="1,2,3", help="Seeds; those of the claim otherwise.")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option("-j", "--jobs", help="Seeds at a time; all cores otherwise.")
    ] = None,
    cluster: Annotated[
        str, typer.Option(metavar="tcp://HOST:PORT", help="Dask scheduler that runs the seeds.")
    ] = "",
    results: Annotated[
        Path, typer.Option(metavar="DIR", help="Where results are kept and gone on from.")
    ] = Path("bregma-results"),
) -> None:
    """Run claims: the experiment, its control, and whether the effect clears its bound.

    Exit status: 0 where every claim holds (or ran, for smoke), 3 where one does not, 1 where one
    crashed. Interrupt it whenever you like; the same command goes on where it was.
    """
    from bregma import claims
    from bregma.cli._papers import STYLES, evidence_table
    from bregma.cli._show import say, show, written

    found = claims.verify(
        _asked(slugs or [], everything, room),
        results=results,
        budget=budget,
        seeds=_seeds(seeds),
        jobs=jobs,
        cluster=cluster,
        progress=True,
    )
    words = []
    for slug, result in found.items():
        claim = claims.find(slug)
        word: str = claims.verdict(claim, result)
        if budget == "smoke" and word != "crashed":
            word = "ran"
        words.append(word)
        wall = sum(run.wall_s for run in result.runs.values())
        peak = max((run.peak_mib for run in result.runs.values()), default=0.0)
        say(f"{slug}: {word}", f"bold {STYLES[word]}")
        say(f"{claim.sentence} ({len(result.runs)} seeds, {wall:.0f} s, {peak:.0f} MiB)")
        show(evidence_table(claim, result))
        say()
    written(results=results / budget)
    if "crashed" in words:
        raise typer.Exit(CRASHED)
    if not set(words) <= {"holds", "ran"}:
        raise typer.Exit(NOT_ALL_HOLD)


def _asked(slugs: list[str], everything: bool, room: str | None) -> list[str]:
    from bregma import claims
    from bregma.errors import UnknownName

    if everything + bool(slugs) + (room is not None) != 1:
        raise InvalidArgument("say which claims: SLUG..., --room ROOM or --all")
    if room is None:
        return list(claims.slugs()) if everything else list(dict.fromkeys(slugs))
    rooms = {claims.find(slug).room for slug in claims.slugs()}
    if room not in rooms:
        raise UnknownName.of("room with claims", room, sorted(rooms))
    return [slug for slug in claims.slugs() if claims.find(slug).room == room]


def _seeds(text: str | None) -> list[int] | None:
    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise InvalidArgument(
            f"--seeds {text}: write whole numbers, such as --seeds 1,2,3"
        ) from None
