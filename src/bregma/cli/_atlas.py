"""`bregma atlas`: the static web site of all claims."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bregma.cli._papers import Results


def atlas(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the site.")] = Path("site"),
    results: Results = None,
) -> None:
    """Write a web site of all claims: one page a paper, made from code and results only."""
    from bregma.claims import shipped
    from bregma.cli._show import written
    from bregma.report import atlas as write

    written(atlas=write(out, results=results or shipped()))
