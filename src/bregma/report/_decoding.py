"""The report of a decoding over time: when the conditions can be told apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bregma._files import atomic_write_text
from bregma.evidence import bibtex
from bregma.geometry import Decoding

from ._figures import time_course
from ._html import page, software
from ._parts import TimeCourse
from ._tables import counted, number, p_value, setting


def decoding_html(decoding: Decoding, *, path: str | Path, title: str = "") -> Path:
    """Write a decoding over time as one self-contained HTML file.

    Parameters
    ----------
    decoding : Decoding
        What `bregma.geometry.decode_over_time` gave.
    path : str or Path
        Where to write; the file appears whole or not at all.
    title : str
        Heading of the page; made from the conditions where none is given.

    Returns
    -------
    Path
        The file.
    """
    course = as_time_course(decoding)
    rows = {
        **{key: setting(value) for key, value in decoding.settings.items()},
        "method": decoding.method,
        **counted(decoding.n),
        "null": decoding.exchanged,
        "seed": str(decoding.seed),
    }
    context: dict[str, Any] = {
        "title": title or course.title,
        "method": decoding.method,
        "summary": [decoding.sentence],
        "scores": None,
        "pairs": [],
        "pair_list": None,
        "geometry": None,
        "timecourses": [(course, 0)],
        "sections": [],
        "numbers": _times_table(decoding),
        "subjects": None,
        "settings": [{"questions": [course.title], "rows": rows}],
        "software": software(),
        "bibtex": bibtex(decoding.citations),
    }
    return atomic_write_text(path, page(context, [time_course(course)], []))


def _times_table(decoding: Decoding) -> dict[str, Any]:
    """The numbers at every time."""
    columns = ["time (s)", "score", "band of chance", "p", "p (corrected)"]
    rows = [
        [
            number(r.time, ".4g"),
            number(r.score),
            f"{number(r.low)} to {number(r.high)}",
            p_value(r.p_pointwise),
            p_value(r.p_value),
        ]
        for r in decoding.to_frame().itertuples()
    ]
    return {"columns": columns, "rows": rows, "texts": 0}


def as_time_course(decoding: Decoding) -> TimeCourse:
    """A decoding as a figure of the report.

    Parameters
    ----------
    decoding : Decoding
        What `bregma.geometry.decode_over_time` gave.

    Returns
    -------
    TimeCourse
        The scores with the band of the permutations at each time.
    """
    classes = [str(c) for c in decoding.classes]
    named = " and ".join(classes) if len(classes) < 4 else f"{len(classes)} conditions"
    return TimeCourse(
        title=f"Telling {named} apart over time",
        times=decoding.times,
        scores={decoding.method: decoding.score},
        measure="balanced accuracy" if decoding.chance else "crossnobis distance",
        band=decoding.band.T,
        band_says=f"{100 * decoding.level:.0f} % of permutations: {decoding.exchanged}",
        chance=decoding.chance,
        above=decoding.significant,
        text=f"The line at the bottom marks times at which the corrected p is at most "
        f"{1 - decoding.level:.2g}.",
    )
