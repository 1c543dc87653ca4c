"""What the command line prints: text from files can neither colour nor steer the terminal."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from unicodedata import category

from rich.console import Console
from rich.segment import Segment, Segments
from rich.text import Text

# Control, formatting (right-to-left, zero width), surrogate, private, line and paragraph ends
_OBEYED = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))


def harmless(text: object) -> str:
    """The text in one line, without characters that a terminal would obey."""
    return _inert(" ".join(str(text).split()))


def _inert(text: str) -> str:
    """Control and formatting characters written out; spaces and line ends stay."""
    return "".join(ascii(c)[1:-1] if category(c) in _OBEYED and c != "\n" else c for c in text)


def problem(text: str, style: str = "red") -> None:
    """Say in one line on stderr what went wrong."""
    sys.stdout.flush()
    Console(stderr=True, highlight=False).print(Text(harmless(text), style=style), soft_wrap=True)


def say(text: str = "", style: str = "") -> None:
    """Print a sentence, wrapped to the terminal."""
    Console(highlight=False).print(Text(_inert(text), style=style))


def copyable(text: str) -> None:
    """Print lines as they are, however narrow the terminal: what is copied must stay whole."""
    Console(highlight=False).print(Text(_inert(text)), soft_wrap=True)


def show(renderable: Any) -> None:
    """Print what rich can draw, such as tables with names from files."""
    console = Console(highlight=False)
    drawn = console.render(renderable)
    inert = [Segment(_inert(s.text), s.style, s.control) for s in drawn]
    console.print(Segments(inert), end="")


def written(**paths: Path | None) -> None:
    """Say where things were written; a path stays in one piece, ready for copying."""
    for what, path in paths.items():
        if path is not None:
            line = Text.assemble(f"{what}: ", (harmless(path), "bold"))
            Console(highlight=False).print(line, soft_wrap=True)
