"""`bregma tour`: the main job from beginning to end, with nothing to download."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def tour(
    report: Annotated[
        Path, typer.Option(metavar="FILE", help="Where to write the HTML report.")
    ] = Path("bregma-tour.html"),
    open_report: Annotated[
        bool, typer.Option("--open", help="Open the report in a browser.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="What all randomness follows from.")] = 0,
) -> None:
    """Watch bregma at work: images, a brain, four models, evidence, a lesion, a report."""
