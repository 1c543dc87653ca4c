"""From text to expressions: a small grammar, read without running anything that is in the text."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import sympy

from bregma.dynamics._functions import FUNCTIONS
from bregma.errors import InvalidEquation, nearest

CONSTANTS = {"pi": sympy.pi}
_COMPARE = {ast.Lt: sympy.Lt, ast.LtE: sympy.Le, ast.Gt: sympy.Gt, ast.GtE: sympy.Ge}
_OPERATE = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Pow: "**"}


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
        raise InvalidEquation(
            reason, line=line, number=number, column=position - begin, width=width
        )


def symbol(name: str) -> sympy.Symbol:
    """The variable of that name; all are real numbers."""
    return sympy.Symbol(name, real=True)


@dataclass(frozen=True)
class Assignment:
    """``target = value``; statements such as ``w += b`` are written out."""

    target: str
    value: sympy.Expr
    place: Place
    adds: bool = False  # it was written with += or -=

    @property
    def increment(self) -> sympy.Expr:
        """What is added, where something is added."""
        return sympy.expand(self.value - symbol(self.target))


def parse_expression(text: str, place: Place) -> Any:
    """Read an expression or a condition.

    Parameters
    ----------
    text : str
        Such as ``"(E_L - v + R*I)/tau"`` or ``"v > theta and not u > 1"``; ``^`` is a power.
    place : Place
        Where it stands, for messages.

    Returns
    -------
    sympy expression or condition
        All names are real symbols.

    Raises
    ------
    InvalidEquation
        Where the text is not in the grammar; the message points at the place.
    """
    # `^` is as long as one of the two stars; columns after it are mapped back
    columns: list[int] = []
    source = ""
    for i, letter in enumerate(text):
        new = "**" if letter == "^" else " " if letter in "\n\t" else letter
        source += new
        columns += [i] * len(new)
    columns.append(len(text))
    lead = len(source) - len(source.lstrip())
    if not source.strip():
        place.fail("an expression is missing here")
    try:
        tree = ast.parse(source.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        offset = (getattr(error, "offset", None) or 1) - 1 + lead
        reason = getattr(error, "msg", None) or "nested too deeply"
        place.fail(f"this cannot be read: {reason}", columns[min(offset, len(text))])
    return _Reader(place, columns, lead).read(tree)


@dataclass(frozen=True)
class _Reader:
    place: Place
    columns: list[int]
    lead: int

    def fail(self, node: ast.expr, reason: str) -> NoReturn:
        start = self.columns[min(node.col_offset + self.lead, len(self.columns) - 1)]
        stop = self.columns[min((node.end_col_offset or 0) + self.lead, len(self.columns) - 1)]
        self.place.fail(reason, start, max(1, stop - start))

    def read(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant(value=bool()):
                self.fail(node, "conditions are written with <, >, and, or, not")
            case ast.Constant(value=int() as number):
                return sympy.Integer(number)
            case ast.Constant(value=float() as number):
                return sympy.Float(number, 17)
            case ast.Name(id=name):
                return CONSTANTS.get(name, symbol(name))
            case ast.UnaryOp(op=ast.USub()):
                return -self.number(node.operand)
            case ast.UnaryOp(op=ast.UAdd()):
                return self.number(node.operand)
            case ast.UnaryOp(op=ast.Not()):
                return sympy.Not(self.condition(node.operand))
            case ast.BoolOp():
                parts = [self.condition(value) for value in node.values]
                return sympy.And(*parts) if isinstance(node.op, ast.And) else sympy.Or(*parts)
            case ast.Compare():
                return self.compare(node)
            case ast.BinOp():
                return self.operate(node)
            case ast.Call():
                return self.call(node)
        self.fail(node, f"{type(node).__name__.lower()} has no meaning in an equation")

    def number(self, node: ast.expr) -> sympy.Expr:
        value = self.read(node)
        if not isinstance(value, sympy.Expr):
            self.fail(
                node, "a number is needed here, not a condition; where(condition, a, b) makes one"
            )
        return value

    def condition(self, node: ast.expr) -> Any:
        value = self.read(node)
        if isinstance(value, sympy.Expr):
            self.fail(node, "a condition is needed here, such as v > theta")
        return value

    def compare(self, node: ast.Compare) -> Any:
        sides = [self.number(side) for side in (node.left, *node.comparators)]
        parts = []
        for operator, a, b in zip(node.ops, sides[:-1], sides[1:], strict=True):
            if type(operator) not in _COMPARE:
                self.fail(node, "numbers are compared with <, <=, > and >=")
            parts.append(_COMPARE[type(operator)](a, b))
        return sympy.And(*parts)

    def operate(self, node: ast.BinOp) -> sympy.Expr:
        a, b = self.number(node.left), self.number(node.right)
        match _OPERATE.get(type(node.op)):
            case "+":
                return a + b
            case "-":
                return a - b
            case "*":
                return a * b
            case "/":
                if b.is_zero:
                    self.fail(node, "this divides by zero")
                return a / b
            case "**":
                if b.is_number and abs(b) > 64:
                    self.fail(node, "powers above 64 are not supported")
                return a**b
        self.fail(node, "the operators are + - * / and **")

    def call(self, node: ast.Call) -> sympy.Expr:
        if not isinstance(node.func, ast.Name) or node.keywords:
            self.fail(node, "functions are called by name, with arguments in order")
        name = node.func.id
        if name not in FUNCTIONS:
            near = ", ".join(nearest(name, FUNCTIONS, 3))
            self.fail(node.func, f"there is no function {name!r}; nearest: {near}")
        n_arguments, function = FUNCTIONS[name]
        if len(node.args) != n_arguments:
            self.fail(node, f"{name} takes {n_arguments} arguments, not {len(node.args)}")
        if name == "where":
            return function(self.condition(node.args[0]), *map(self.number, node.args[1:]))
        return function(*map(self.number, node.args))


def pieces(text: str, separators: str = ";\n") -> list[tuple[str, Place]]:
    """Statements of a text with their places; what is behind a # is a comment."""
    found, start = [], 0
    for end in range(len(text) + 1):
        if end == len(text) or text[end] in separators:
            piece = text[start:end].split("#")[0]
            if piece.strip():
                found.append((piece, Place(text, start)))
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
        target = piece[: sign - len(operator)].strip()
        if not target.isidentifier():
            place.fail("a single name is needed before =", _indent(piece), max(1, sign))
        value = parse_expression(piece[sign + 1 :], Place(place.text, place.start + sign + 1))
        if not isinstance(value, sympy.Expr):
            place.fail("a number is needed here, not a condition", sign + 1)
        old = symbol(target)
        match operator:
            case "+":
                value = old + value
            case "-":
                value = old - value
            case "*":
                value = old * value
            case "/":
                value = old / value
        found.append(
            Assignment(target, value, place, adds=operator in ("+", "-") and operator != "")
        )
    return tuple(found)


def _indent(piece: str) -> int:
    return len(piece) - len(piece.lstrip())


def names_of(expressions: Sequence[Any]) -> set[str]:
    """Names of all variables in some expressions."""
    return {str(s) for e in expressions for s in sympy.sympify(e).free_symbols}
