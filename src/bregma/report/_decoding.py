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
    counted = {f"n, {what}": f"{count:,}" for what, count in decoding.n.items()}
    rows: dict[str, Any] = {
        "method": decoding.method,
        **counted,
        "null": decoding.exchanged,
        "seed": str(decoding.seed),
        **{
            key: "none" if value is None else str(value) for key, value in decoding.settings.items()
        },
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
        "numbers": None,
        "settings": [{"questions": [course.title], "rows": rows}],
        "software": software(),
        "bibtex": bibtex(decoding.citations),
    }
    return atomic_write_text(path, page(context, [time_course(course)], []))


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
