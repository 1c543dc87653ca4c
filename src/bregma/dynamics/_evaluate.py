"""Evaluate expressions with tensors, node by node: slow, obviously right, differentiable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sympy
import torch

from bregma.dynamics._functions import dexprel, exprel, spike
from bregma.dynamics._step import Constants

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
    if isinstance(e, spike):
        return spike_with_surrogate(evaluate(e.args[0], values), e.args[1], values)
    args = [evaluate(a, values) for a in e.args]
    if e.is_Add:
        return sum(args[1:], start=args[0])
    if e.is_Mul:
        total = args[0]
        for a in args[1:]:
            total = total * a
        return total
    if e.is_Pow:
        return _power(args[0], e.exp, args[1])
    return _OPERATIONS[e.func](*args)


def prepare(constants: Constants, values: Mapping[str, Any], dt: float) -> dict[str, torch.Tensor]:
    """Compute the constants of a step, in the precision and on the device of the values.

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
    like = next(
        (v for v in tensors.values() if v.is_floating_point()), torch.zeros((), dtype=torch.float64)
    )
    known: dict[str, Any] = {n: v.to(like) for n, v in tensors.items()}
    known["dt"] = torch.as_tensor(dt).to(like)
    linear = constants.linear
    if linear.states:
        known |= _propagators(linear, known, like)
    return {
        name: torch.as_tensor(evaluate(e, known)).to(like)
        for name, e in constants.expressions.items()
    }


def _propagators(linear: Any, known: Mapping[str, Any], like: torch.Tensor) -> dict[str, Any]:
    """Entries of P = exp(A dt) and Q = integral of exp(A s), from one exponential of [[A, 1], [0, 0]]."""
    n = len(linear.states)
    entries = [torch.as_tensor(evaluate(e, known)).to(like) for e in linear.matrix]
    entries = torch.broadcast_tensors(*entries)
    shape = entries[0].shape
    a = torch.stack(entries, dim=-1).reshape(*shape, n, n)
    eye = torch.eye(n).to(like).expand(*shape, n, n)
    top = torch.cat([a * known["dt"], eye * known["dt"]], dim=-1)
    block = torch.cat([top, torch.zeros_like(top)], dim=-2)
    e = torch.linalg.matrix_exp(block)
    found = {}
    for i, to in enumerate(linear.states):
        for j, source in enumerate(linear.states):
            found[linear.propagator(to, source)] = e[..., i, j]
            found[linear.integral(to, source)] = e[..., i, n + j]
    return found


def spike_with_surrogate(distance: Any, surrogate: Any, values: Mapping[str, Any]) -> Any:
    """1 where the distance is above 0, with the surrogate as its derivative."""
    fired = (distance > 0).to(distance.dtype)
    if not distance.requires_grad:
        return fired
    slope = torch.as_tensor(evaluate(surrogate, values)).detach()
    return fired + (distance - distance.detach()) * slope


def _piecewise(e: sympy.Piecewise, values: Mapping[str, Any]) -> Any:
    *cases, (last, _) = e.args
    result = evaluate(last, values)
    for value, condition in reversed(cases):
        holds = evaluate(condition, values)
        if isinstance(holds, bool):
            result = evaluate(value, values) if holds else result
        else:
            chosen = evaluate(value, values)
            tensors = [x for x in (chosen, result) if isinstance(x, torch.Tensor)]
            dtype = tensors[0].dtype if tensors else torch.float64
            result = torch.where(
                holds, torch.as_tensor(chosen, dtype=dtype), torch.as_tensor(result, dtype=dtype)
            )
    return result


def _power(base: Any, exponent: sympy.Expr, value: Any) -> Any:
    if exponent == sympy.Rational(1, 2):
        return torch.sqrt(torch.as_tensor(base))
    if exponent == -1:
        return 1 / base
    if exponent == 2:
        return base * base
    if exponent.is_Integer:
        return base ** int(exponent)
    return base**value


def _exprel(x: Any) -> torch.Tensor:
    x = torch.as_tensor(x)
    small = x.abs() < _SMALL
    safe = torch.where(small, torch.ones_like(x), x)
    series = 1 + x / 2 * (1 + x / 3 * (1 + x / 4 * (1 + x / 5)))
    return torch.where(small, series, torch.expm1(safe) / safe)


def _dexprel(x: Any) -> torch.Tensor:
    x = torch.as_tensor(x)
    small = x.abs() < 0.05  # the difference below loses digits earlier
    safe = torch.where(small, torch.ones_like(x), x)
    series = torch.zeros_like(x)
    for k in range(8, -1, -1):  # sum of (k + 1)/(k + 2)! x^k
        series = series * x + (k + 1) / float(sympy.factorial(k + 2))
    return torch.where(small, series, (torch.exp(safe) - torch.expm1(safe) / safe) / safe)


def _unary(function: Any) -> Any:
    return lambda x: function(torch.as_tensor(x))


_OPERATIONS: dict[Any, Any] = {
    sympy.exp: _unary(torch.exp),
    sympy.log: _unary(torch.log),
    sympy.sin: _unary(torch.sin),
    sympy.cos: _unary(torch.cos),
    sympy.tanh: _unary(torch.tanh),
    sympy.floor: _unary(torch.floor),
    exprel: _exprel,
    dexprel: _dexprel,
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
