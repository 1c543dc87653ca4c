"""From text to expressions, without running anything that is in the text."""

from __future__ import annotations

import ast
import cmath
import warnings
from dataclasses import dataclass
from typing import Any, NoReturn

import sympy

from bregma.dynamics.language._functions import FUNCTIONS
from bregma.dynamics.language._place import CONSTANTS, Place, symbol
from bregma.errors import nearest

# Limits that no readable equation reaches; beyond them SymPy becomes slow
MOST_LETTERS, MOST_NODES, MOST_LEVELS, MOST_COMPARISONS = 10_000, 2_000, 40, 50
MOST_BITS = 1_100  # of a whole number: a little more than the exponents of a float64
_COMPARE = {ast.Lt: sympy.Lt, ast.LtE: sympy.Le, ast.Gt: sympy.Gt, ast.GtE: sympy.Ge}
_OPERATE = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Pow: "**"}


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
    if not text.strip():
        place.fail("an expression is missing here")
    if len(text) > MOST_LETTERS:
        place.fail(f"an expression of {len(text)} letters is too long; give its parts names")
    # `^` is one letter and `**` two, and Python counts bytes: columns are mapped back
    lead = len(text) - len(text.lstrip())
    columns, source = [], ""
    for i, letter in enumerate(text.strip(), lead):
        new = "**" if letter == "^" else " " if letter.isspace() else letter
        source += new
        columns += [i] * len(new.encode("utf-8", "replace"))
    columns.append(len(text.rstrip()))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's advice about its own literals
            tree = ast.parse(source, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        letters = max(0, (getattr(error, "offset", None) or 1) - 1)
        offset = len(source[:letters].encode("utf-8", "replace"))
        reason = getattr(error, "msg", None) or "it is nested too deeply, or no text"
        place.fail(f"this cannot be read: {reason}", columns[min(offset, len(columns) - 1)])
    reader = _Reader(place, columns)
    reader.check_size(tree)
    try:
        return reader.read(tree)
    except RecursionError:
        place.fail("this is nested too deeply; give its parts names", lead)


@dataclass(frozen=True)
class _Reader:
    place: Place
    columns: list[int]  # of the bytes of what Python reads, in the text of the place

    def fail(self, node: ast.expr, reason: str) -> NoReturn:
        last = len(self.columns) - 1
        start = self.columns[min(node.col_offset, last)]
        stop = self.columns[min(node.end_col_offset or 0, last)]
        self.place.fail(reason, start, max(1, stop - start))

    def check_size(self, tree: ast.expr) -> None:
        """Refuse what is too large, before SymPy sees it."""
        waiting, n_nodes, n_comparisons = [(tree, 0)], 0, 0
        while waiting:
            node, level = waiting.pop()
            n_nodes += 1
            n_comparisons += isinstance(node, ast.Compare)
            if level > MOST_LEVELS:
                self.fail(node, "this is nested too deeply; give its parts names")
            for part in ast.iter_child_nodes(node):
                if isinstance(part, ast.expr):
                    # a + b + c is nested to the left, but flat to a reader
                    flat = isinstance(node, ast.BinOp) and part is node.left
                    waiting.append((part, level if flat else level + 1))
        if n_nodes > MOST_NODES or n_comparisons > MOST_COMPARISONS:
            self.fail(tree, "this is too long; give its parts names")

    def read(self, node: ast.expr) -> Any:
        value = self.meaning(node)
        if isinstance(value, sympy.Expr):
            self.check_value(node, value)
        return value

    def meaning(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant(value=bool()):
                self.fail(node, "conditions are written with <, >, and, or, not")
            case ast.Constant(value=int() as number):
                return sympy.Integer(number)
            case ast.Constant(value=float() as number):
                return sympy.Float(number, 17)
            case ast.Name(id=name):
                return self.name(node, name)
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

    def check_value(self, node: ast.expr, value: sympy.Expr) -> None:
        """Refuse numbers that are not finite and real, and whole numbers without end."""
        factor = value.as_coeff_Mul()[0]
        if (
            factor.is_Rational
            and max(int(factor.p).bit_length(), int(factor.q).bit_length()) > MOST_BITS
        ):
            self.fail(node, "this number is too large")
        if value.is_number:
            try:
                number = complex(value)
            except Exception:  # SymPy has many ways to say that there is no such number
                number = complex("nan")
            if number.imag or not cmath.isfinite(number):
                self.fail(node, "this is not a finite, real number")
        elif isinstance(node, ast.BinOp | ast.Call) and value.has(
            sympy.I, sympy.nan, sympy.zoo, sympy.oo, -sympy.oo
        ):
            self.fail(node, "this is not a finite, real number")

    def name(self, node: ast.expr, name: str) -> sympy.Expr:
        if name in CONSTANTS:
            return CONSTANTS[name]
        if name in FUNCTIONS:
            self.fail(
                node, f"{name} is a function; give it {FUNCTIONS[name][0]} arguments in brackets"
            )
        if "__" in name or name.startswith("_"):
            self.fail(node, f"{name!r}: names have no _ in front and no two in a row")
        return symbol(name)

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
            try:
                parts.append(_COMPARE[type(operator)](a, b))
            except TypeError:  # SymPy finds that a side is no real number
                self.fail(node, "only finite, real numbers can be compared")
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
                if b.is_number and abs(complex(b)) > 64:
                    self.fail(node, "powers above 64 are not supported")
                if a.is_zero and not b.is_positive:
                    self.fail(node, "0 to this power is not defined")
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
            arguments = [self.condition(node.args[0]), *map(self.number, node.args[1:])]
        else:
            arguments = [self.number(a) for a in node.args]
        if name == "exp" and arguments[0].is_number and complex(arguments[0]).real > 709:
            self.fail(node, "this number is too large")
        try:
            return function(*arguments)
        except TypeError:  # SymPy finds that an argument is no real number
            self.fail(node, "only finite, real numbers can be compared")
