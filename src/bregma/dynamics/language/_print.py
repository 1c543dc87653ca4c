"""Print expressions as source code of a language; an engine is a `Dialect` and a loop around it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import sympy

from bregma.dynamics.language._functions import dexprel, exprel, fraction, sigmoid, spike
from bregma.dynamics.language._grammar import Assignment

_COMPARE = {
    sympy.StrictGreaterThan: ">",
    sympy.GreaterThan: ">=",
    sympy.StrictLessThan: "<",
    sympy.LessThan: "<=",
}


@dataclass(frozen=True)
class Dialect:
    """How a language spells what SymPy's printing leaves open.

    number : format of a literal, so that precision is kept, such as ``"F({})"``.
    functions : SymPy function to name.
    where : format of a choice, with c, a and b.
    quotient : format of a division, with a and b.
    conjunction, disjunction, negation : of conditions.
    """

    number: str
    functions: Mapping[Any, str]
    where: str = "({a} if {c} else {b})"
    conjunction: str = " and "
    disjunction: str = " or "
    negation: str = "not ({})"
    quotient: str = "{a}/({b})"


NUMBA = Dialect(
    number="F({})",
    functions={
        sympy.exp: "exp",
        sympy.log: "log",
        sympy.sin: "sin",
        sympy.cos: "cos",
        sympy.tanh: "tanh",
        sympy.floor: "floor",
        "sqrt": "sqrt",
        "pow": "power",
        exprel: "exprel",
        dexprel: "dexprel",
    },
)


def write(expression: Any, dialect: Dialect) -> str:
    """Source code of an expression.

    Parameters
    ----------
    expression : sympy expression or condition
        What to print; spikes become a comparison.
    dialect : Dialect
        The language.

    Returns
    -------
    str
        Bracketed so that it can stand anywhere. The order of operations is SymPy's own order of
        arguments, the same in every dialect.
    """
    e = expression

    def go(part: Any) -> str:
        return write(part, dialect)

    if e.is_Symbol:
        return str(e)
    if e in (sympy.true, sympy.false):
        return str(bool(e))
    if e.is_Number or e.is_NumberSymbol:
        return dialect.number.format(repr(float(e)))
    if e.is_Add:
        return "(" + " + ".join(map(go, e.args)) + ")"
    if e.is_Mul:
        return _product(e, go, dialect)
    if e.is_Pow:
        return _power(e, go, dialect)
    if isinstance(e, spike):
        one, zero = (dialect.number.format(n) for n in ("1.0", "0.0"))
        return dialect.where.format(c=f"{go(e.args[0])} > {zero}", a=one, b=zero)
    if isinstance(e, sympy.Piecewise):
        *cases, (last, _) = e.args
        text = go(last)
        for value, condition in reversed(cases):
            text = dialect.where.format(c=go(condition), a=go(value), b=text)
        return text
    if type(e) in _COMPARE:
        return f"({go(e.lhs)} {_COMPARE[type(e)]} {go(e.rhs)})"
    if isinstance(e, sympy.And):
        return "(" + dialect.conjunction.join(sorted(map(go, e.args))) + ")"
    if isinstance(e, sympy.Or):
        return "(" + dialect.disjunction.join(sorted(map(go, e.args))) + ")"
    if isinstance(e, sympy.ITE):  # what SymPy makes of a condition with a choice in it
        return go(e.to_nnf())
    if isinstance(e, sympy.Not):
        return dialect.negation.format(go(e.args[0]))
    if isinstance(e, sigmoid):
        one = dialect.number.format("1.0")
        below = f"{one} + {go(sympy.exp(-e.args[0], evaluate=False))}"
        return f"({dialect.quotient.format(a=one, b=below)})"
    if isinstance(e, sympy.Abs | sympy.sign):
        x, zero, one = go(e.args[0]), *(dialect.number.format(n) for n in ("0.0", "1.0"))
        below = f"-{x}" if isinstance(e, sympy.Abs) else f"-{one}"
        above = (
            x
            if isinstance(e, sympy.Abs)
            else dialect.where.format(c=f"{x} > {zero}", a=one, b=zero)
        )
        return dialect.where.format(c=f"{x} < {zero}", a=below, b=above)
    return f"{dialect.functions[e.func]}({', '.join(map(go, e.args))})"


def _product(e: sympy.Mul, go: Any, dialect: Dialect) -> str:
    """a b / c d, with a single division."""
    above, below = fraction(e)
    if above and above[0] == -1 and len(above) > 1:
        text = "-" + "*".join(map(go, above[1:]))
    else:
        text = "*".join(map(go, above)) or go(sympy.Integer(1))
    if below:
        text = dialect.quotient.format(a=text, b="*".join(map(go, below)))
    return f"({text})"


def _power(e: sympy.Pow, go: Any, dialect: Dialect) -> str:
    base, exponent = go(e.base), e.exp
    if exponent.is_number and exponent.is_negative:
        below = go(sympy.Pow(e.base, -exponent))
        return f"({dialect.quotient.format(a=go(sympy.Integer(1)), b=below)})"
    if exponent == sympy.Rational(1, 2):
        return f"{dialect.functions['sqrt']}({base})"
    if exponent.is_Integer and exponent <= 4 and (e.base.is_Symbol or len(base) < 200):
        return "(" + "*".join([base] * int(exponent)) + ")"  # compilers compute the base once
    return f"{dialect.functions['pow']}({base}, {go(exponent)})"


def write_program(program: Iterable[Assignment], dialect: Dialect) -> list[str]:
    """Lines of source code of straight-line code.

    Parameters
    ----------
    program : iterable of Assignment
        What to print.
    dialect : Dialect
        The language.

    Returns
    -------
    list of str
        ``name = expression``, one line each.
    """
    return [f"{a.target} = {write(a.value, dialect)}" for a in program]
