"""The atlas: a static web site of all claims, made from code and results only."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from latex2mathml.converter import convert
from markupsafe import Markup
from plotly.offline import get_plotlyjs

import bregma
from bregma._files import atomic_path
from bregma.claims import WORDS, Claim, Judged, Result, find, judge, kept, slugs, verdict
from bregma.errors import InvalidArgument

from ._atlas_figures import panels, strip
from ._html import inert_json, legend, source, templates

# Only the site's own scripts may run, whatever got past the escaping.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src data: blob:; "
    "base-uri 'none'; form-action 'none'"
)
MARK = "bregma-atlas"  # a file of this name says that a folder is an atlas and may be replaced


@dataclass(frozen=True)
class Entry:
    """A claim with what came out."""

    claim: Claim
    result: Result

    @property
    def word(self) -> str:
        return verdict(self.claim, self.result)

    @property
    def judged(self) -> Sequence[Judged]:
        return judge(self.claim, self.result)

    @property
    def equations(self) -> list[Markup]:
        return [Markup(convert(text, display="block")) for text in self.claim.equations]


def atlas(out: str | Path, *, results: str | Path) -> Path:
    """Write the web site of all claims.

    Parameters
    ----------
    out : str or Path
        Folder of the site; an earlier atlas there is replaced as a whole.
    results : str or Path
        Folder of results of ``bregma verify``.

    Returns
    -------
    Path
        The index page.

    Raises
    ------
    InvalidArgument
        If the folder holds something else than an atlas, or a result is damaged.
    """
    out = Path(out)
    if out.exists() and not (out / MARK).exists() and (out.is_file() or any(out.iterdir())):
        raise InvalidArgument(f"{out} holds other things than an atlas: give an empty folder")
    entries = [Entry(claim, kept(claim, "check", results)) for claim in map(find, slugs())]
    with atomic_path(out) as site:
        (site / "assets").mkdir(parents=True)
        (site / "claims").mkdir()
        _write(site / MARK, f"bregma {bregma.__version__}\n")
        for name in ("report.css", "report.js", "atlas.css", "atlas.js"):
            _write(site / "assets" / name, source(name))
        _write(site / "assets" / "plotly.js", get_plotlyjs())
        _write(site / "index.html", _index(entries))
        for entry in entries:
            _write(site / "claims" / f"{entry.claim.slug}.html", _page(entry))
    return out / "index.html"


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _index(entries: Sequence[Entry]) -> str:
    counts = {word: sum(entry.word == word for entry in entries) for word in WORDS}
    return (
        templates()
        .get_template("atlas_index.html")
        .render(
            policy=POLICY,
            entries=entries,
            counts={word: n for word, n in counts.items() if n},
            filters={
                "room": sorted({e.claim.room for e in entries}),
                "area": sorted({area for e in entries for area in e.claim.area}),
                "species": sorted({kind for e in entries for kind in e.claim.species}),
                "verdict": [word for word in WORDS if counts[word]],
            },
            version=bregma.__version__,
        )
    )


def _page(entry: Entry) -> str:
    claim, result = entry.claim, entry.result
    figures: list[go.Figure] = [strip(part) for part in entry.judged]
    curves = list(panels(result))
    figures += curves
    legends = [legend(figure) for figure in figures]
    for figure in curves:
        figure.update_layout(showlegend=False, margin={"t": 12})
    data = {"figures": [json.loads(figure.to_json()) for figure in figures], "thumbnails": []}
    runs = list(result.runs.values())
    return (
        templates()
        .get_template("atlas_claim.html")
        .render(
            policy=POLICY,
            entry=entry,
            claim=claim,
            judged=entry.judged,
            n_curves=len(curves),
            legends=legends,
            heights=[int(figure.layout.height) for figure in figures],
            data=Markup(inert_json(data)),
            runs=runs,
            facts=_facts(result),
            use=claim.use.strip("\n"),
            version=bregma.__version__,
        )
    )


def _facts(result: Result) -> dict[str, Any]:
    """How it was run."""
    runs = list(result.runs.values())
    if not runs:
        return {}
    return {
        "settings": ", ".join(f"{key} = {value}" for key, value in result.settings.items()),
        "seeds": ", ".join(str(run.seed) for run in runs),
        "wall time": f"{sum(run.wall_s for run in runs):.0f} s for all seeds",
        "peak memory": f"{max(run.peak_mib for run in runs):.0f} MiB",
        "machine": ", ".join(f"{key} {value}" for key, value in runs[-1].machine.items()),
        "versions": ", ".join(f"{key} {value}" for key, value in runs[-1].versions.items()),
        "again": f"bregma verify {result.slug}",
    }
