"""`bregma papers`: which claims there are, what each says, and how it came out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bregma.errors import InvalidArgument, UnknownName

if TYPE_CHECKING:
    from rich.console import RenderableType

    from bregma.claims import Claim, Result

Results = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Folder of results; those that come with bregma otherwise."),
]
STYLES = {
    "holds": "green",
    "partly": "yellow",
    "fails": "red",
    "crashed": "red",
    "open": "dim",
    "ran": "green",
}


def papers(
    search: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SEARCH | show SLUG]", help="Words to look for, or one to show."),
    ] = None,
    room: Annotated[str | None, typer.Option(help="Only those of a room.")] = None,
    status: Annotated[
        str | None, typer.Option(help="Only those that: holds, partly, fails, crashed, open.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print a table in Markdown.")
    ] = False,
    results: Results = None,
) -> None:
    """List the papers whose claims can be run, or show one: bregma papers show SLUG."""
    from bregma.claims import find, kept, shipped, slugs

    folder = results or shipped()
    words = search or []
    if words[:1] == ["show"]:
        if len(words) != 2:
            raise InvalidArgument("write: bregma papers show SLUG")
        claim = find(words[1])
        return _show(claim, kept(claim, "check", folder), as_json)
    pairs = [(claim, kept(claim, "check", folder)) for claim in map(find, slugs())]
    chosen = _chosen(pairs, words, room, status)
    if markdown:
        print("\n".join(_markdown(chosen)))
    else:
        _print_list(chosen, as_json)


def _chosen(
    pairs: list[tuple[Claim, Result]], words: list[str], room: str | None, status: str | None
) -> list[tuple[Claim, Result]]:
    from bregma.claims import WORDS, verdict

    rooms = sorted({claim.room for claim, _ in pairs})
    if room is not None and room not in rooms:
        raise UnknownName.of("room with claims", room, rooms)
    if status is not None and status not in WORDS:
        raise UnknownName.of("status", status, WORDS)
    return [
        (claim, result)
        for claim, result in pairs
        if room in (None, claim.room)
        and (status is None or verdict(claim, result) == status)
        and all(word.lower() in claim.text for word in words)
    ]


def as_dict(claim: Claim, result: Result) -> dict[str, object]:
    """A claim and its verdict as JSON has it."""
    from bregma.claims import judge, verdict

    paper = claim.paper
    return {
        "slug": claim.slug,
        "room": claim.room,
        "title": paper.title,
        "authors": paper.authors,
        "year": paper.year,
        "url": paper.url,
        "sentence": claim.sentence,
        "verdict": verdict(claim, result),
        "seeds": sorted(result.runs),
        "expectations": [
            {
                "expect": str(part.expect),
                "says": part.expect.says,
                "measured": list(part.measured),
                "reference": list(part.reference),
                "beyond_bound": [part.size.low, part.size.high],
                "effect_size": part.effect_size,
                "verdict": part.verdict,
            }
            for part in judge(claim, result)
        ],
    }


def _markdown(pairs: list[tuple[Claim, Result]]) -> list[str]:
    """The table of docs/claims.md: each claim, its centre and what was measured."""
    from bregma.claims import judge, verdict

    lines = [
        "| claim | verdict | centre of the claim | measured | held against |",
        "|---" * 5 + "|",
    ]
    for claim, result in pairs:
        measured, against = "", ""
        for part in judge(claim, result)[:1]:
            measured = f"{part.measured.mean():.3g}"
            against = f"{part.reference.mean():.3g}"
        centre = claim.expects[0]
        cells = (claim.slug, verdict(claim, result), f"`{centre}`", measured, against)
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _print_list(pairs: list[tuple[Claim, Result]], as_json: bool) -> None:
    from rich.table import Table
    from rich.text import Text

    from bregma.claims import verdict
    from bregma.cli._show import say, show

    if as_json:
        print(json.dumps([as_dict(*pair) for pair in pairs], indent=1))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("claim", "room", "verdict", "what it says"):
        table.add_column(name, overflow="fold", no_wrap=name in ("claim", "verdict"))
    for claim, result in pairs:
        word = verdict(claim, result)
        table.add_row(claim.slug, claim.room, Text(word, STYLES[word]), claim.sentence)
    show(table)
    say(f"{len(pairs)} claims. One of them: bregma papers show SLUG; run it: bregma verify SLUG")


def _show(claim: Claim, result: Result, as_json: bool) -> None:
    from bregma.claims import verdict
    from bregma.cli._show import copyable, say, show

    if as_json:
        print(json.dumps(as_dict(claim, result), indent=1))
        return
    paper = claim.paper
    say(paper.title, "bold")
    say(f"{paper.authors} ({paper.year}), {paper.url}\n")
    say(claim.sentence)
    say(f"\nShown on: {claim.systems}")
    for name, control in claim.controls.items():
        say(f"Control '{name}': {control}")
    say("\nMechanism", "bold")
    for equation in claim.equations:
        copyable(f"  {equation}")
    word = verdict(claim, result)
    say(f"\nVerdict: {word}", STYLES[word])
    if result.runs:
        show(evidence_table(claim, result))
    say("\nOn your own data", "bold")
    copyable(claim.use.strip("\n"))


def evidence_table(claim: Claim, result: Result) -> RenderableType:
    """Evidence for each expectation (of few seeds: what was measured), and what crashed."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from bregma.claims import judge

    crashes = [
        Text(f"seed {run.seed} crashed:\n{run.error.strip()}", "red")
        for run in result.runs.values()
        if run.error
    ]
    judged = judge(claim, result)
    if not judged:
        measured = [
            Text(f"seed {seed}: {', '.join(f'{k} {v:.4g}' for k, v in run.measures.items())}")
            for seed, run in result.runs.items()
            if not run.error
        ]
        return Group(*measured, *crashes)
    table = Table.grid(padding=(0, 2))
    for part in judged:
        mean = (part.size.low + part.size.high) / 2
        effect = "" if part.effect_size is None else f"; {part.effect_size:.1f} SD"
        table.add_row(Text(part.verdict, STYLES[part.verdict]), Text(part.expect.says, "bold"))
        table.add_row(
            "",
            f"{part.expect}: {part.measured.mean():.4g} against {part.reference.mean():.4g}, "
            f"beyond the bound by {mean:.3g} [{part.size.low:.3g}, {part.size.high:.3g}]{effect}",
        )
    return Group(table, *crashes)
