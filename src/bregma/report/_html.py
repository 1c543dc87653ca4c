"""The report: one HTML file that holds everything it shows and asks the network for nothing."""

from __future__ import annotations

import base64
import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from html import unescape
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

import bregma
from bregma._files import atomic_write_text
from bregma.errors import InvalidArgument
from bregma.evidence import EvidenceSet
from bregma.recording import Dissimilarity, Stimuli

from ._figures import bars, time_course
from ._geometry import geometry_section
from ._parts import Section, TimeCourse
from ._summary import summary
from ._tables import (
    best_first,
    ceiling_table,
    count,
    listed,
    numbers_table,
    pair_list,
    pair_tables,
    sentences,
    settings_of,
    subject_table,
)

LIBRARIES = ("numpy", "scipy", "pandas", "xarray", "scikit-learn", "torch", "numba", "plotly")


def html(
    evidences: EvidenceSet,
    *,
    path: str | Path,
    title: str = "",
    rdms: Sequence[Dissimilarity] = (),
    stimuli: Stimuli | None = None,
    categories: Mapping[Any, str] | None = None,
    timecourses: Sequence[TimeCourse] = (),
    sections: Sequence[Section] = (),
) -> Path:
    """Write evidence as one self-contained HTML file.

    Parameters
    ----------
    evidences : EvidenceSet
        The evidence.
    path : str or Path
        Where to write; the file appears whole or not at all.
    title : str
        Heading of the page; made from the names where none is given.
    rdms : sequence of Dissimilarity
        Brain first, then models, each with a `name`; several RDMs in one are averaged.
    stimuli : Stimuli, optional
        Their pictures are shown in the embeddings of the RDMs.
    categories : mapping of stimulus to str, optional
        Orders and labels the RDMs.
    timecourses : sequence of TimeCourse
        Scores over time.
    sections : sequence of Section
        What else to show, such as the effect of a lesion.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InvalidArgument
        When there is no evidence, or an RDM has no name.
    """
    if len(evidences) == 0:
        raise InvalidArgument("there is no evidence to report")
    figures: list[go.Figure] = []

    def place(figure: go.Figure) -> int:
        """Keep a figure for the page; the template names it by its number."""
        figures.append(figure)
        return len(figures) - 1

    first, shown = evidences[0], evidences
    if len(evidences.brains) == 1:  # best on top; several brains keep one order of the models
        shown = EvidenceSet(best_first(evidences))
    geometry = geometry_section(rdms, stimuli, categories, place)
    context: dict[str, Any] = {
        "title": title
        or f"{listed(evidences.models, 4)} compared with {listed(evidences.brains, 4)}",
        "method": first.method,
        "level": f"{100 * first.interval.level:.0f} %",
        "summary": summary(evidences),
        "scores": place(shown.plot()),
        "has_ceiling": any(e.ceiling for e in evidences),
        "has_twins": any(e.system_null for e in evidences),
        "ceilings": sentences(e.ceiling.formula for e in evidences if e.ceiling),
        "ceiling_table": ceiling_table(evidences),
        "pairs": pair_tables(evidences),
        "pair_list": pair_list(evidences),
        "nulls": place(shown.plot("nulls")),
        "exchanged": sentences(e.null.exchanged for e in evidences),
        "twins": sentences(e.system_null.exchanged for e in evidences if e.system_null),
        "arrangements": _arrangements(evidences),
        "geometry": geometry,
        "timecourses": [(c, place(time_course(c))) for c in timecourses],
        "sections": [
            (s, None if s.bars is None else place(bars(s.bars)), _rows(s.table)) for s in sections
        ],
        "numbers": numbers_table(shown),
        "subjects": subject_table(shown),
        "settings": settings_of(evidences),
        "software": software(),
        "bibtex": evidences.cite(),
    }
    thumbnails = geometry["thumbnails"] if geometry else []
    return atomic_write_text(path, page(context, figures, thumbnails))


def templates() -> Environment:
    """The templates of the room; what is put into them is escaped."""
    return Environment(
        loader=PackageLoader("bregma.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def source(name: str) -> str:
    """The text of a style sheet or script of the room."""
    return (resources.files("bregma.report") / "templates" / name).read_text("utf-8")


def page(context: dict[str, Any], figures: list[go.Figure], thumbnails: list[str]) -> str:
    """The whole page: template, style, scripts and the data of the figures."""
    environment = templates()
    scripts = [get_plotlyjs(), source("report.js")]
    hashes = " ".join(f"'sha256-{_sha256(script)}'" for script in scripts)
    legends = [legend(f) for f in figures]
    for figure in figures:
        figure.update_layout(showlegend=False, margin={"t": 26})
    data = {"figures": [json.loads(f.to_json()) for f in figures], "thumbnails": thumbnails}
    # Only these two scripts may run: whatever got past the escaping has no matching hash.
    policy = (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
    return environment.get_template("page.html").render(
        **context,
        policy=policy,
        style=Markup(source("report.css")),
        scripts=[Markup(script) for script in scripts],
        data=Markup(inert_json(data)),
        legends=legends,
        heights=[int(f.layout.height) for f in figures],
    )


def legend(figure: go.Figure) -> list[dict[str, str]]:
    """Colours and names of a figure's traces: as text of the page, it wraps on narrow screens."""
    entries = []
    for trace in figure.data:
        if trace.showlegend is False or not trace.name:
            continue
        shape = "dot" if trace.type == "scatter" and "markers" in trace.mode else "bar"
        if trace.type == "scatter" and trace.mode == "lines":
            colour = edge = trace.fillcolor or trace.line.color
        else:
            colour, edge = trace.marker.color, trace.marker.line.color or trace.marker.color
        entries.append(
            {"name": unescape(trace.name), "colour": colour, "edge": edge, "shape": shape}
        )
    return entries


def inert_json(data: Any) -> str:
    """JSON that no HTML parser takes for markup: neither ``</script>`` nor ``<!--`` is in it."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _sha256(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _rows(table: pd.DataFrame | None) -> dict[str, Any] | None:
    if table is None:
        return None
    rows = [
        [f"{v:.4g}" if isinstance(v, float) else str(v) for v in row]
        for row in table.itertuples(index=False)
    ]
    return {"columns": [str(c) for c in table.columns], "rows": rows, "texts": 1}


def _arrangements(evidences: EvidenceSet) -> str:
    null = evidences[0].null
    return (
        f"{null.values.size:,} draws; {count(null.n_arrangements)} distinct arrangements exist; "
        f"the smallest p that can come out is {null.smallest_p:.2g}"
    )


def software() -> dict[str, str]:
    """Versions of what made the page."""
    versions = {"bregma": bregma.__version__, "Python": platform.python_version()}
    for library in LIBRARIES:
        try:
            versions[library] = metadata.version(library)
        except metadata.PackageNotFoundError:  # torch built from source has no metadata
            versions[library] = "unknown version"
    return versions
