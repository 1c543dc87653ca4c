"""What the command line prints: text from files can neither colour nor steer the terminal."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text


@cache
def console(stream: str = "stdout") -> Console:
    """The console of stdout or stderr."""
    return Console(stderr=stream == "stderr", highlight=False)


def harmless(text: object) -> str:
    """The text in one line, without characters that a terminal would obey."""
    one_line = " ".join(str(text).split())
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in one_line)


def problem(text: str, style: str = "red") -> None:
    """Say in one line on stderr what went wrong."""
    sys.stdout.flush()
    Console(stderr=True, highlight=False).print(Text(harmless(text), style=style), soft_wrap=True)


def say(text: str | Text = "", style: str = "") -> None:
    """Print a sentence, wrapped to the terminal."""
    console().print(Text(text, style=style) if isinstance(text, str) else text)


def show(renderable: Any) -> None:
    """Print what rich can draw."""
    console().print(renderable)


def written(what: str, path: str | Path) -> None:
    """Say where something was written; the path stays in one piece, ready for copying."""
    console().print(Text.assemble(f"{what}: ", (harmless(path), "bold")), soft_wrap=True)
