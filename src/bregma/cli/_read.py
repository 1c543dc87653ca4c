"""`bregma read`: what is in a file."""

from __future__ import annotations

from typing import Annotated

import typer


def read(
    path: Annotated[str, typer.Argument(help="A file or folder; FILE::KEY picks an array in it.")],
) -> None:
    """Show what is in a recording, a file of dissimilarities or of spikes."""
    import bregma
    from bregma.cli._show import show

    show(bregma.read(path))
