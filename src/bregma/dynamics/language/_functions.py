"""Functions that equations may use, beside those that SymPy has with every engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sympy


class exprel(sympy.Function):
    """(exp(x) - 1) / x, which is 1 at 0: in rate functions and in exponential Euler."""

    nargs = 1

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        """Derivative, which is 1/2 at 0."""
        return dexprel(self.args[0])

    @classmethod
    def eval(cls, x: sympy.Expr) -> sympy.Expr | None:
        """Simplify at 0 only."""
        return sympy.Integer(1) if x.is_zero else None

    def _eval_is_real(self) -> bool | None:
        return self.args[0].is_real

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        power = "" if exp is None else f"^{{{exp}}}"
        return rf"\operatorname{{exprel}}{power}\left({printer._print(self.args[0])}\right)"


class dexprel(sympy.Function):
    """Derivative of `exprel`: (exp(x) - exprel(x)) / x."""

    nargs = 1

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        """Second derivative, for second-order methods; not defined at 0."""
        x = self.args[0]
        return (sympy.exp(x) - 2 * dexprel(x)) / x

    def _eval_is_real(self) -> bool | None:
        return self.args[0].is_real


class sigmoid(sympy.Function):
    """1/(1 + exp(-x)), with a derivative that does not overflow."""

    nargs = 1

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        """Derivative in terms of the value."""
        return self * (1 - self)

    def _eval_is_real(self) -> bool | None:
        return self.args[0].is_real

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        power = "" if exp is None else f"^{{{exp}}}"
        return rf"\sigma{power}\left({printer._print(self.args[0])}\right)"


class spike(sympy.Function):
    """1 where its first argument is above 0, else 0; its derivative is its second argument.

    The second argument is the surrogate, an expression that is not computed in the forward pass.
    """

    nargs = 2

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        """The surrogate."""
        return self.args[1] if argindex == 1 else sympy.Integer(0)

    def _eval_is_real(self) -> bool | None:
        return True


class Piecewise(sympy.Piecewise):
    """The value of the first condition that holds; the last one always does.

    SymPy's own class solves its conditions to simplify them, which is slow and moves thresholds
    in floating-point arithmetic. This one stays as it is written. (Printers go by its name.)
    """

    @classmethod
    def eval(cls, *pairs: Any) -> sympy.Expr | None:
        """Simplify where the first condition is known to hold."""
        return pairs[0].expr if pairs[0].cond == True else None  # noqa: E712 (SymPy's true)


choice = Piecewise


class _power(sympy.Function):
    """base**exponent while derivatives are taken: finite at 0, where SymPy's are not."""

    nargs = 2

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        base, exponent = self.args
        if argindex == 1:
            return exponent * base ** (exponent - 1)
        return choice((base**exponent * sympy.log(base), base > 0), (sympy.Integer(0), True))


def derivative(expression: sympy.Expr, name: sympy.Symbol) -> sympy.Expr:
    """Derivative by a variable, almost everywhere: that of floor and of jumps is 0."""
    symbolic = [p for p in expression.atoms(sympy.Pow) if not p.exp.is_number]
    if symbolic:
        expression = expression.replace(
            lambda e: e.is_Pow and not e.exp.is_number, lambda e: _power(e.base, e.exp)
        )
    slope = sympy.diff(expression, name)
    if slope.has(sympy.Derivative, sympy.Subs):
        slope = slope.replace(
            lambda e: isinstance(e, sympy.Derivative | sympy.Subs), lambda e: sympy.Integer(0)
        )
    return slope.replace(_power, sympy.Pow) if symbolic else slope


def fraction(product: sympy.Mul) -> tuple[list[sympy.Expr], list[sympy.Expr]]:
    """Factors above and below a single division line, in the order in which engines multiply."""
    above, below = [], []
    for factor in product.args:
        if factor.is_Pow and factor.exp.is_number and factor.exp.is_negative:
            below.append(sympy.Pow(factor.base, -factor.exp))
        else:
            above.append(factor)
    return above, below


def _where(condition: Any, a: sympy.Expr, b: sympy.Expr) -> sympy.Expr:
    return choice((a, condition), (b, True))


def _clip(x: sympy.Expr, low: sympy.Expr, high: sympy.Expr) -> sympy.Expr:
    return choice((low, x < low), (high, x > high), (x, True))


def _min(a: sympy.Expr, b: sympy.Expr) -> sympy.Expr:
    return choice((a, a < b), (b, True))


def _max(a: sympy.Expr, b: sympy.Expr) -> sympy.Expr:
    return choice((a, a > b), (b, True))


def _step(x: sympy.Expr) -> sympy.Expr:
    return choice((sympy.Integer(1), x > 0), (sympy.Integer(0), True))


def _relu(x: sympy.Expr) -> sympy.Expr:
    return choice((x, x > 0), (sympy.Integer(0), True))


def _sign(x: sympy.Expr) -> sympy.Expr:
    return _step(x) - _step(-x)


def _abs(x: sympy.Expr) -> sympy.Expr:
    return choice((x, x > 0), (-x, True))


# name -> (number of arguments, what it means)
FUNCTIONS: dict[str, tuple[int, Callable[..., sympy.Expr]]] = {
    "exp": (1, sympy.exp),
    "log": (1, sympy.log),
    "sqrt": (1, sympy.sqrt),
    "sin": (1, sympy.sin),
    "cos": (1, sympy.cos),
    "tanh": (1, sympy.tanh),
    "floor": (1, sympy.floor),
    "exprel": (1, exprel),
    "abs": (1, _abs),
    "sign": (1, _sign),
    "sigmoid": (1, sigmoid),
    "relu": (1, _relu),
    "step": (1, _step),
    "min": (2, _min),
    "max": (2, _max),
    "where": (3, _where),
    "clip": (3, _clip),
}
