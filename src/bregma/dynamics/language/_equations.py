"""The lines of a model: differential equations, expressions and declarations, with their units."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import sympy

from bregma.dynamics.language import _units
from bregma.dynamics.language._dimensions import Mismatch, dimension_of
from bregma.dynamics.language._grammar import (
    Place,
    check_name,
    names_of,
    normal,
    parse_expression,
    pieces,
    symbol,
)
from bregma.errors import InvalidArgument

_LEFT = re.compile(r"\s*(?:d(?P<state>\w+?)\s*/\s*dt|(?P<name>\w+))\s*$")
_FLAGS = re.compile(r"(?<![*/^\w])\(([a-z]{3,}[a-z ,]*)\)\s*$")
RESERVED = {"t", "dt", "rand", "randn"}
MOST_LINES = 300
MOST_PARTS = 20_000  # of an expression with all names written out


@dataclass(frozen=True)
class Line:
    """One line of a model.

    kind is "differential" (d name/dt = value), "expression" (name = value) or "declared" (name
    only: a parameter or an input). flags are words in brackets behind the unit.
    """

    kind: str
    name: str
    value: Any
    dimension: _units.Dimension | None
    flags: frozenset[str]
    place: Place


def parse_equations(text: str, flags: Iterable[str]) -> tuple[Line, ...]:
    """Read the lines of a model.

    Parameters
    ----------
    text : str
        Lines ``dx/dt = ...``, ``y = ...`` and ``z``, each with an optional unit and flags:
        ``dv/dt = (E - v)/tau : volt (unless refractory)``.
    flags : iterable of str
        The flags that have a meaning here.

    Returns
    -------
    tuple of Line
        Expressions are ordered so that each comes after what it is made of.

    Raises
    ------
    InvalidEquation
        Lines that cannot be read, names that are defined twice or in a circle.
    """
    lines: dict[str, Line] = {}
    for n, (piece, place) in enumerate(pieces(text)):
        if n >= MOST_LINES:
            place.fail(f"a model has at most {MOST_LINES} lines")
        line = _line(piece, place, set(flags))
        if line.name in lines:
            at = len(piece) - len(piece.lstrip())
            place.fail(f"{line.name!r} is defined twice", at, len(piece.strip()))
        lines[line.name] = line
    return _ordered(lines)


def _line(piece: str, place: Place, allowed: set[str]) -> Line:
    body, dimension, flags = piece, None, frozenset[str]()
    colon = piece.find(":")
    last = _FLAGS.search(piece)
    words = [" ".join(w.split()) for w in last[1].split(",")] if last else []
    if last and (colon >= 0 or set(words) <= allowed):
        for word in words:
            if word not in allowed:
                at = max(0, piece.rfind(word))
                place.fail(f"the flag {word!r} is none of {sorted(allowed)}", at, len(word))
        flags, body = frozenset(words), piece[: last.start()]
    if colon >= 0:
        body, name = body[:colon], body[colon + 1 :].strip()
        if not name:
            place.fail("behind : a unit is expected, and flags in brackets", colon)
        try:
            dimension = _units.unit(name)[1]
        except InvalidArgument as error:
            place.fail(str(error), piece.find(name, colon), len(name))
    equals = body.find("=")
    left = _LEFT.match(body if equals < 0 else body[:equals])
    indent = len(body) - len(body.lstrip())
    if not left or not (left["state"] or left["name"]).isidentifier():
        width = len((body if equals < 0 else body[:equals]).strip())
        place.fail("a line is dx/dt = ..., x = ... or x, with an optional : unit", indent, width)
    name = normal(left["state"] or left["name"])
    at = left.start("state") if left["state"] else indent
    if name in RESERVED:
        place.fail(f"{name!r} has a meaning of its own; take another name", at, len(name))
    check_name(name, place, at)
    if equals < 0:
        if left["state"]:
            place.fail(f"d{name}/dt = ... is missing its right side", indent, len(body.strip()))
        return Line("declared", name, None, dimension, flags, place)
    value = parse_expression(body[equals + 1 :], Place(place.text, place.start + equals + 1))
    if not isinstance(value, sympy.Expr):
        place.fail(
            "a number is needed here, not a condition; where(condition, a, b) makes one",
            equals + 1,
            len(body) - equals - 1,
        )
    kind = "differential" if left["state"] else "expression"
    return Line(kind, name, value, dimension, flags, place)


def _ordered(lines: Mapping[str, Line]) -> tuple[Line, ...]:
    """Expressions after what they are made of; the rest in the order of the text."""
    done: dict[str, Line] = {n: line for n, line in lines.items() if line.kind != "expression"}
    waiting: list[str] = []

    def visit(name: str) -> None:
        if name in done or name not in lines:
            return
        if name in waiting:
            circle = " -> ".join([*waiting[waiting.index(name) :], name])
            place = lines[name].place
            text = place.text[place.start :]
            indent = len(text) - len(text.lstrip())
            place.fail(f"expressions define each other in a circle: {circle}", indent, len(name))
        waiting.append(name)
        for other in sorted(names_of([lines[name].value])):
            visit(other)
        waiting.pop()
        done[name] = lines[name]

    for name in lines:
        visit(name)
    _check_length(done.values())
    return tuple(done.values())


def _check_length(lines: Iterable[Line]) -> None:
    """Refuse lines that become too long once names are replaced by what they stand for."""
    length: dict[str, int] = {}
    for line in sorted(lines, key=lambda line: line.kind != "expression"):  # a stable order
        if line.value is None:
            continue
        n = _length(line.value, length)
        if n > MOST_PARTS:
            start = _start(line)
            line.place.fail("this is too long once all its names are written out", start)
        if line.kind == "expression":
            length[line.name] = n


def _length(expression: Any, of_names: Mapping[str, int]) -> int:
    if expression.is_Symbol:
        return of_names.get(str(expression), 1)
    return 1 + sum(_length(part, of_names) for part in expression.args)


def with_units(expression: Any, defined: Iterable[str]) -> Any:
    """Put the sizes of units in for names such as ``mV`` that nothing else defines."""
    free = names_of([expression]) - set(defined)
    sizes = {symbol(n): _size(n) for n in free if n in _units.SYMBOLS}
    return expression.xreplace(sizes) if sizes else expression


@lru_cache(maxsize=64)
def _size(unit: str) -> sympy.Rational:
    """Exact, so that mV/mV is 1."""
    return sympy.Rational(repr(_units.unit(unit)[0]))


def check_units(line: Line, known: Mapping[str, _units.Dimension | None]) -> None:
    """Refuse a line whose two sides have different units, or that adds what cannot be added."""
    if line.value is None:
        return
    try:
        right = dimension_of(line.value, known)
    except Mismatch as error:
        line.place.fail(f"units do not match: {error}", *_right_side(line))
    left = known.get(line.name)
    if left is None or right is None or line.value.is_zero:
        return
    if line.kind == "differential":
        left = left / _units.time_dimension()
    if left != right:
        rate = " per time" if line.kind == "differential" else ""
        line.place.fail(
            f"units do not match: {line.name} is {_units.spelled(known[line.name])}, so its right "
            f"side must be that{rate}, and it is {_units.spelled(right)}",
            *_right_side(line),
        )


def _right_side(line: Line) -> tuple[int, int]:
    """Column and width of what stands behind =."""
    start = _start(line)
    text = line.place.text[line.place.start + start :].split(";")[0].split("\n")[0]
    text = text.split("#")[0].split(":")[0]
    indent = len(text) - len(text.lstrip())
    return start + indent, max(1, len(text.strip()))


def _start(line: Line) -> int:
    text = line.place.text[line.place.start :]
    return text.find("=") + 1 if "=" in text else 0
