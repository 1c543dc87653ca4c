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

    def _latex(self, printer: Any) -> str:
        return rf"\operatorname{{exprel}}\left({printer._print(self.args[0])}\right)"


class dexprel(sympy.Function):
    """Derivative of `exprel`: (exp(x) - exprel(x)) / x."""

    nargs = 1

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        """Second derivative, for second-order methods; not defined at 0."""
        x = self.args[0]
        return (sympy.exp(x) - 2 * dexprel(x)) / x

    def _eval_is_real(self) -> bool | None:
        return self.args[0].is_real


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


def _sigmoid(x: sympy.Expr) -> sympy.Expr:
    return 1 / (1 + sympy.exp(-x))


def _where(condition: Any, a: sympy.Expr, b: sympy.Expr) -> sympy.Expr:
    return sympy.Piecewise((a, condition), (b, True))


def _clip(x: sympy.Expr, low: sympy.Expr, high: sympy.Expr) -> sympy.Expr:
    return sympy.Piecewise((low, x < low), (high, x > high), (x, True))


def _min(a: sympy.Expr, b: sympy.Expr) -> sympy.Expr:
    return sympy.Piecewise((a, a < b), (b, True))


def _max(a: sympy.Expr, b: sympy.Expr) -> sympy.Expr:
    return sympy.Piecewise((a, a > b), (b, True))


def _step(x: sympy.Expr) -> sympy.Expr:
    return sympy.Piecewise((sympy.Integer(1), x > 0), (sympy.Integer(0), True))


def _relu(x: sympy.Expr) -> sympy.Expr:
    return sympy.Piecewise((x, x > 0), (sympy.Integer(0), True))


def _sign(x: sympy.Expr) -> sympy.Expr:
    return _step(x) - _step(-x)


def _abs(x: sympy.Expr) -> sympy.Expr:
    return sympy.Piecewise((x, x > 0), (-x, True))


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
    "sigmoid": (1, _sigmoid),
    "relu": (1, _relu),
    "step": (1, _step),
    "min": (2, _min),
    "max": (2, _max),
    "where": (3, _where),
    "clip": (3, _clip),
}
