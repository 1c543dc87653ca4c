"""The lines of a model: differential equations, expressions and declarations, with their units."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sympy

from bregma.dynamics import _units
from bregma.dynamics._functions import FUNCTIONS, dexprel, exprel, spike
from bregma.dynamics._grammar import (
    CONSTANTS,
    Place,
    names_of,
    parse_expression,
    pieces,
    symbol,
)
from bregma.errors import InvalidArgument

if TYPE_CHECKING:
    from pint.util import UnitsContainer

_LEFT = re.compile(r"\s*(?:d(?P<state>\w+?)\s*/\s*dt|(?P<name>\w+))\s*$")
_FLAGS = re.compile(r"\(([a-z]{3,}[a-z ,]*)\)\s*$")
RESERVED = {"t", "dt"}


@dataclass(frozen=True)
class Line:
    """One line of a model.

    kind is "differential" (d name/dt = value), "expression" (name = value) or "declared" (name
    only: a parameter or an input). flags are words in brackets behind the unit.
    """

    kind: str
    name: str
    value: Any
    dimension: UnitsContainer | None
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
    for piece, place in pieces(text):
        line = _line(piece, place, set(flags))
        if line.name in lines:
            place.fail(f"{line.name!r} is defined twice", len(piece) - len(piece.lstrip()))
        lines[line.name] = line
    return _ordered(lines)


def _line(piece: str, place: Place, allowed: set[str]) -> Line:
    body, dimension, flags = piece, None, frozenset[str]()
    colon = piece.find(":")
    last = _FLAGS.search(piece)
    words = [w.strip() for w in last[1].split(",")] if last else []
    if last and (colon >= 0 or set(words) <= allowed):
        for word in words:
            if word not in allowed:
                at = piece.rfind(word)
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
        place.fail("a line is dx/dt = ..., x = ... or x, with an optional : unit", indent)
    name = left["state"] or left["name"]
    if name in RESERVED or name in FUNCTIONS or name in CONSTANTS:
        place.fail(f"{name!r} has a meaning of its own; take another name", indent, len(name))
    if equals < 0:
        if left["state"]:
            place.fail(f"d{name}/dt = ... is missing its right side", indent, len(body.strip()))
        return Line("declared", name, None, dimension, flags, place)
    value = parse_expression(body[equals + 1 :], Place(place.text, place.start + equals + 1))
    if not isinstance(value, sympy.Expr):
        place.fail(
            "a number is needed here, not a condition; where(condition, a, b) makes one", equals + 1
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
            lines[name].place.fail(f"expressions define each other in a circle: {circle}")
        waiting.append(name)
        for other in sorted(names_of([lines[name].value])):
            visit(other)
        waiting.pop()
        done[name] = lines[name]

    for name in lines:
        visit(name)
    return tuple(done.values())


def with_units(expression: Any, defined: Iterable[str]) -> Any:
    """Put the sizes of units in for names such as ``mV`` that nothing else defines."""
    free = names_of([expression]) - set(defined)
    sizes = {symbol(n): sympy.Float(_units.unit(n)[0], 17) for n in free if n in _units.SYMBOLS}
    return expression.subs(sizes) if sizes else expression


class Mismatch(Exception):
    """Two parts of an expression whose units differ."""


def dimension_of(
    expression: Any, known: Mapping[str, UnitsContainer | None]
) -> UnitsContainer | None:
    """Dimension of an expression; None where a part has an unknown one.

    Parameters
    ----------
    expression : sympy expression or condition
        With names that are in `known`, or units.
    known : mapping
        Name to dimension, None where it is not known.

    Returns
    -------
    dimension or None
        None where it cannot be known.

    Raises
    ------
    Mismatch
        Where numbers of different dimensions are added or compared, or stand in functions.
    """
    plain = _units.dimensionless()

    def go(e: Any) -> UnitsContainer | None:
        if e.is_Symbol:
            name = str(e)
            if name in known:
                return known[name]
            return _units.unit(name)[1] if name in _units.SYMBOLS else None
        if e.is_Number or e.is_NumberSymbol:
            return plain
        if e.is_Mul:
            parts = [go(a) for a in e.args]
            if any(p is None for p in parts):
                return None
            total = plain
            for p in parts:
                total = total * p
            return total
        if e.is_Pow:
            base, power = go(e.base), e.exp
            if not power.is_number:
                same([power], plain)
                same([e.base], plain)
                return plain
            return None if base is None else base ** float(power)
        if e.is_Add:
            return same(e.args, None)
        if isinstance(e, sympy.Piecewise):
            for _, condition in e.args:
                go(condition)
            return same([a for a, _ in e.args], None)
        if e.is_Relational:
            same(e.args, None)
            return plain
        if isinstance(e, sympy.logic.boolalg.BooleanFunction):
            for a in e.args:
                go(a)
            return plain
        if isinstance(e, exprel | dexprel | spike) or e.is_Function:
            same(e.args, plain)
        return plain

    def same(parts: Iterable[Any], wanted: UnitsContainer | None) -> UnitsContainer | None:
        first, unknown = None, False
        for part in parts:
            if part.is_zero or part in (sympy.oo, -sympy.oo):
                continue
            found = go(part)
            unknown = unknown or found is None
            if found is None:
                continue
            if wanted is None:
                first, wanted = part, found
            elif found != wanted:
                against = f"{first} is {_units.spelled(wanted)}" if first is not None else (
                    f"{_units.spelled(wanted)} is needed"
                )  # fmt: skip
                raise Mismatch(f"{part} is {_units.spelled(found)}, but {against}")
        return None if unknown else wanted if wanted is not None else plain

    return go(expression)


def check_units(line: Line, known: Mapping[str, UnitsContainer | None]) -> None:
    """Refuse a line whose two sides have different units, or that adds what cannot be added."""
    if line.value is None:
        return
    try:
        right = dimension_of(line.value, known)
    except Mismatch as error:
        line.place.fail(f"units do not match: {error}", _start(line))
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
            _start(line),
        )


def _start(line: Line) -> int:
    text = line.place.text[line.place.start :]
    return text.find("=") + 1 if "=" in text else 0
