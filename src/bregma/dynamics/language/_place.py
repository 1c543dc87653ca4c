"""Names, places in a text, and assignments: what the reader and its users share."""

from __future__ import annotations

import keyword
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NoReturn

import sympy

from bregma.dynamics.language._functions import FUNCTIONS
from bregma.errors import InvalidEquation

CONSTANTS = {"pi": sympy.pi}
MOST_SHOWN = 120  # letters of a line in a message
# Names of generated code; anything with two underscores is generated, too
TAKEN = {"F", "power", "np", "math", "random", "kernel", "inline", "tl", "triton", "torch"}


@dataclass(frozen=True)
class Place:
    """A part of a text, for messages that point at it."""

    text: str
    start: int = 0

    def fail(self, reason: str, at: int = 0, width: int = 1) -> NoReturn:
        """Raise an error that points at a column of this part."""
        position = self.start + at
        begin = self.text.rfind("\n", 0, position) + 1
        end = self.text.find("\n", position)
        line = self.text[begin : end if end >= 0 else None]
        number = self.text.count("\n", 0, position) + 1
        column = position - begin
        cut = max(0, column - MOST_SHOWN // 2) if len(line) > MOST_SHOWN else 0
        shown = "".join(c if c.isprintable() else " " for c in line[cut : cut + MOST_SHOWN])
        raise InvalidEquation(reason, line=shown, number=number, column=column - cut, width=width)


def symbol(name: str) -> sympy.Symbol:
    """The variable of that name; all are real numbers."""
    return sympy.Symbol(name, real=True)


@dataclass(frozen=True)
class Assignment:
    """``target = value``; statements such as ``w += b`` are written out."""

    target: str
    value: Any  # an expression; a condition where one is computed once for several uses
    place: Place
    adds: bool = False  # it was written with += or -=

    @property
    def increment(self) -> sympy.Expr:
        """What is added, where something is added."""
        return self.value - symbol(self.target)


def check_name(name: str, place: Place, at: int = 0) -> None:
    """Refuse names that mean something else, or that generated code uses."""
    if name in FUNCTIONS or name in CONSTANTS or name in TAKEN or keyword.iskeyword(name):
        place.fail(f"{name!r} has a meaning of its own; take another name", at, len(name))
    if "__" in name or name.startswith("_"):
        place.fail(f"{name!r}: names have no _ in front and no two in a row", at, len(name))


def normal(name: str) -> str:
    """A name as Python reads it: the two signs for micro, for example, are one letter."""
    return unicodedata.normalize("NFKC", name)


def names_of(expressions: Iterable[Any]) -> set[str]:
    """Names of all variables in some expressions."""
    return {s.name for e in expressions if isinstance(e, sympy.Basic) for s in e.free_symbols}
