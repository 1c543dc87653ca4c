"""A small grammar: statements and expressions with their places in the text."""

from __future__ import annotations

import sympy

from bregma.dynamics.language._place import (
    CONSTANTS,
    TAKEN,
    Assignment,
    Place,
    check_name,
    names_of,
    normal,
    symbol,
)
from bregma.dynamics.language._reader import parse_expression

__all__ = [
    "CONSTANTS",
    "TAKEN",
    "Assignment",
    "Place",
    "check_name",
    "names_of",
    "normal",
    "parse_expression",
    "parse_statements",
    "pieces",
    "symbol",
]


def pieces(text: str, separators: str = ";\n") -> list[tuple[str, Place]]:
    """Statements of a text with their places.

    What is behind a # is a comment; a line goes on in the next one while a bracket is open.
    """
    found, start, level, comment = [], 0, 0, False
    kept = []  # the text with comments blanked, so that columns stay
    for letter in text:
        comment = (comment or letter == "#") and letter != "\n"
        kept.append(" " if comment else letter)
    for end, letter in enumerate([*kept, ";"]):
        level += (letter == "(") - (letter == ")" and level > 0)
        if end == len(kept) or (letter in separators and not (letter == "\n" and level > 0)):
            piece, level = "".join(kept[start:end]), 0
            if piece.strip():
                found.append((piece.rstrip(), Place(text, start)))
            start = end + 1
    return found


def parse_statements(text: str) -> tuple[Assignment, ...]:
    """Read statements such as ``"v = v_r; w += b"``.

    Parameters
    ----------
    text : str
        Assignments with =, +=, -=, *= or /=, separated by ; or new lines.

    Returns
    -------
    tuple of Assignment
        In their order.

    Raises
    ------
    InvalidEquation
        Where the text is not in the grammar.
    """
    found = []
    for piece, place in pieces(text):
        sign = piece.find("=")
        if sign < 0:
            place.fail("a statement is needed here, such as v = v_r or w += b", _indent(piece))
        operator = piece[sign - 1] if sign and piece[sign - 1] in "+-*/" else ""
        left = piece[: sign - len(operator)]
        target = normal(left.strip())
        if not target.isidentifier():
            place.fail(
                "a single name is needed before =", _indent(piece), max(1, len(left.strip()))
            )
        check_name(target, place, _indent(piece))
        value = parse_expression(piece[sign + 1 :], Place(place.text, place.start + sign + 1))
        if not isinstance(value, sympy.Expr):
            place.fail("a number is needed here, not a condition", sign + 1, len(piece) - sign - 1)
        old = symbol(target)
        match operator:
            case "+":
                value = old + value
            case "-":
                value = old - value
            case "*":
                value = old * value
            case "/":
                if value.is_zero:
                    place.fail("this divides by zero", sign + 1, len(piece) - sign - 1)
                value = old / value
        found.append(
            Assignment(target, value, place, adds=operator in ("+", "-") and operator != "")
        )
    return tuple(found)


def _indent(piece: str) -> int:
    return len(piece) - len(piece.lstrip())
