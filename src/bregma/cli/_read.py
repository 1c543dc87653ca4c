"""`bregma read`: what is in a file."""

from __future__ import annotations

from typing import Annotated

import typer

from bregma.cli._arguments import Missing, reading


def read(
    path: Annotated[str, typer.Argument(help="A file or folder; FILE::KEY picks an array in it.")],
    missing: Missing = None,
) -> None:
    """Show what is in a recording, a file of dissimilarities or of spikes."""
    import bregma
    from bregma.cli._show import show

    show(bregma.read(path, **reading(missing=missing)))
