"""Evaluate expressions with tensors, node by node: slow, obviously right, differentiable."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import sympy
import torch

from bregma.dynamics.language._functions import choice, dexprel, exprel, fraction, sigmoid, spike
from bregma.dynamics.language._step import Constants

_SMALL = 1e-3  # below it the series of exprel is exact in double precision


def evaluate(expression: Any, values: Mapping[str, Any]) -> Any:
    """Value of an expression.

    Parameters
    ----------
    expression : sympy expression or condition
        In names that `values` has.
    values : mapping
        Name to tensor or number; shapes broadcast.

    Returns
    -------
    tensor or number
        Booleans for conditions.
    """
    e = expression
    if e.is_Symbol:
        return values[str(e)]
    if e.is_Number or e.is_NumberSymbol:
        return float(e)
    if e in (sympy.true, sympy.false):
        return bool(e)
    if isinstance(e, sympy.Piecewise):
        return _piecewise(e, values)
    if isinstance(e, sympy.ITE):  # what SymPy makes of a condition with a choice in it
        return evaluate(e.to_nnf(), values)
    if isinstance(e, spike):
        return spike_with_surrogate(evaluate(e.args[0], values), e.args[1], values)
    if e.is_Mul:
        above, below = ([evaluate(a, values) for a in side] for side in fraction(e))
        top = _product(above) if above else 1.0
        return top / _product(below) if below else top
    if e.is_Pow:
        return _power(e.base, e.exp, values)
    args = [evaluate(a, values) for a in e.args]
    if e.is_Add:
        return sum(args[1:], start=args[0])
    return _OPERATIONS[e.func](*args)


def _product(factors: list[Any]) -> Any:
    total = factors[0]
    for factor in factors[1:]:
        total = total * factor
    return total


def prepare(constants: Constants, values: Mapping[str, Any], dt: float) -> dict[str, torch.Tensor]:
    """Compute the constants of a step in float64, on the device of the values.

    Parameters
    ----------
    constants : Constants
        What to compute.
    values : mapping
        Parameter to number or tensor of shape () or (unit,); gradients flow through.
    dt : float
        Seconds per step.

    Returns
    -------
    dict
        Name to tensor of shape () or (unit,).
    """
    tensors = {
        n: v if isinstance(v, torch.Tensor) else torch.as_tensor(v, dtype=torch.float64)
        for n, v in values.items()
    }
    devices = [v.device for v in tensors.values() if v.device.type != "cpu"]
    like = torch.zeros((), dtype=torch.float64, device=devices[0] if devices else "cpu")
    known: dict[str, Any] = {n: v.to(like) for n, v in tensors.items()}
    known["dt"] = torch.as_tensor(dt, dtype=torch.float64).to(like)
    linear = constants.linear
    if linear.states:
        known |= _propagators(linear, known, like)
    return {
        name: torch.as_tensor(evaluate(e, known), dtype=like.dtype).to(like)
        for name, e in constants.expressions.items()
    }


def _propagators(linear: Any, known: Mapping[str, Any], like: torch.Tensor) -> dict[str, Any]:
    """Entries of P and Q of `Linear`, from the exponential of [[A dt, dt], [0, 0]]."""
    n = len(linear.states)
    entries = [
        torch.as_tensor(evaluate(e, known), dtype=like.dtype).to(like) for e in linear.matrix
    ]
    entries = torch.broadcast_tensors(*entries)
    shape = entries[0].shape
    a = torch.stack(entries, dim=-1).reshape(*shape, n, n)
    eye = torch.eye(n).to(like).expand(*shape, n, n)
    top = torch.cat([a * known["dt"], eye * known["dt"]], dim=-1)
    block = torch.cat([top, torch.zeros_like(top)], dim=-2)
    e = _matrix_exp(block)
    found = {}
    for i, to in enumerate(linear.states):
        for j, source in enumerate(linear.states):
            found[linear.propagator(to, source)] = e[..., i, j]
            found[linear.integral(to, source)] = e[..., i, n + j]
    return found


def _matrix_exp(x: torch.Tensor) -> torch.Tensor:
    """Scaling, Taylor series, squaring; torch's own is good to 11 digits only for some norms."""
    norm = float(x.detach().abs().sum(-1).max())
    n_squarings = max(0, math.ceil(math.log2(norm) + 1)) if 0 < norm < math.inf else 0
    x = x / 2**n_squarings
    eye = torch.eye(x.shape[-1]).to(x).expand_as(x)
    total = eye
    for k in range(18, 0, -1):
        total = eye + x @ total / k
    for _ in range(n_squarings):
        total = total @ total
    return total


def spike_with_surrogate(distance: Any, surrogate: Any, values: Mapping[str, Any]) -> Any:
    """1 where the distance is above 0, with the surrogate as its derivative."""
    fired = (distance > 0).to(distance.dtype)
    if not distance.requires_grad:
        return fired
    slope = torch.as_tensor(evaluate(surrogate, values)).detach()
    return fired + (distance - distance.detach()) * slope


def _piecewise(e: sympy.Expr, values: Mapping[str, Any]) -> Any:
    *cases, (last, _) = e.args
    if not cases:
        return evaluate(last, values)
    (value, condition), others = cases[0], e.args[1:]
    holds = evaluate(condition, values)
    if not isinstance(holds, torch.Tensor):
        return evaluate(value, values) if holds else evaluate(_choice(others), values)
    # Where a branch is not taken its derivatives are cut, or those that are infinite give NaN
    a = evaluate(value, _where(holds, values))
    b = evaluate(_choice(others), _where(~holds, values))
    like = next((x for x in (a, b) if isinstance(x, torch.Tensor)), torch.zeros(()).double())
    return torch.where(holds, *(torch.as_tensor(x, dtype=like.dtype).to(like) for x in (a, b)))


def _choice(pairs: Any) -> Any:
    return pairs[0][0] if len(pairs) == 1 else choice(*pairs)


def _where(holds: torch.Tensor, values: Mapping[str, Any]) -> Mapping[str, Any]:
    return {
        n: torch.where(holds, v, v.detach())
        if isinstance(v, torch.Tensor) and v.requires_grad
        else v
        for n, v in values.items()
    }


def _power(base: sympy.Expr, exponent: sympy.Expr, values: Mapping[str, Any]) -> Any:
    if exponent.is_number and exponent.is_negative:
        return 1.0 / _power(base, -exponent, values)
    x = evaluate(base, values)
    if exponent == 1:
        return x
    if exponent == sympy.Rational(1, 2):
        return _real(torch.sqrt)(x)
    if exponent.is_Integer and exponent <= 4:
        return _product([x] * int(exponent))
    y = evaluate(exponent, values)
    return torch.pow(x, y) if isinstance(x, torch.Tensor) or isinstance(y, torch.Tensor) else x**y


def _real(function: Any) -> Any:
    """A function of tensors that takes Python numbers, too, in full precision."""

    def call(x: Any) -> Any:
        if isinstance(x, torch.Tensor):
            return function(x)
        return float(function(torch.tensor(x, dtype=torch.float64)))

    return call


def _exprel(x: torch.Tensor) -> torch.Tensor:
    small = x.abs() < _SMALL
    safe = torch.where(small, torch.ones_like(x), x)
    series = 1 + x / 2 * (1 + x / 3 * (1 + x / 4 * (1 + x / 5)))
    return torch.where(small, series, torch.expm1(safe) / safe)


def _dexprel(x: torch.Tensor) -> torch.Tensor:
    small = x.abs() < 0.5  # the difference below loses digits
    safe = torch.where(small, torch.ones_like(x), x)
    series = torch.zeros_like(x)
    for k in range(15, -1, -1):  # sum of (k + 1)/(k + 2)! x^k
        series = series * x + (k + 1) / math.factorial(k + 2)
    return torch.where(small, series, (torch.exp(safe) - torch.expm1(safe) / safe) / safe)


_OPERATIONS: dict[Any, Any] = {
    sympy.exp: _real(torch.exp),
    sympy.log: _real(torch.log),
    sympy.sin: _real(torch.sin),
    sympy.cos: _real(torch.cos),
    sympy.tanh: _real(torch.tanh),
    sympy.floor: _real(torch.floor),
    sympy.Abs: _real(torch.abs),
    sympy.sign: _real(torch.sign),
    sigmoid: _real(torch.sigmoid),
    exprel: _real(_exprel),
    dexprel: _real(_dexprel),
    sympy.StrictGreaterThan: lambda a, b: a > b,
    sympy.GreaterThan: lambda a, b: a >= b,
    sympy.StrictLessThan: lambda a, b: a < b,
    sympy.LessThan: lambda a, b: a <= b,
    sympy.And: lambda *parts: _fold(parts, lambda a, b: a & b),
    sympy.Or: lambda *parts: _fold(parts, lambda a, b: a | b),
    sympy.Not: lambda a: (not a) if isinstance(a, bool) else ~a,
}


def _fold(parts: Any, operation: Any) -> Any:
    total = parts[0]
    for part in parts[1:]:
        total = operation(total, part)
    return total
