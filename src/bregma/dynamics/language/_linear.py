"""Which equations are linear, and how they act on each other within a step."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import sympy

from bregma.dynamics.language._functions import choice
from bregma.dynamics.language._grammar import names_of, symbol

Expr: TypeAlias = sympy.Expr
Rates: TypeAlias = Mapping[str, Expr]


@dataclass(frozen=True)
class Linear:
    """Variables with x' = A x + r, where A is constant: one step is exact, x(t + dt) = P x + Q r.

    P = exp(A dt) and Q = integral of exp(A s) over s from 0 to dt are computed as numbers once
    A is known; `propagator` and `integral` name their entries.
    """

    states: tuple[str, ...] = ()
    matrix: sympy.Matrix = field(default_factory=lambda: sympy.zeros(0, 0))

    @staticmethod
    def propagator(i: str, j: str) -> str:
        """Name of the entry of P from variable j to variable i."""
        return f"P__{i}__{j}"

    @staticmethod
    def integral(i: str, j: str) -> str:
        """Name of the entry of Q from variable j to variable i."""
        return f"Q__{i}__{j}"

    def reaches(self) -> dict[str, list[str]]:
        """For each variable, the variables that act on it within a step, itself included."""
        n = len(self.states)
        path = [[i == j or self.matrix[i, j] != 0 for j in range(n)] for i in range(n)]
        for k in range(n):
            for i in range(n):
                for j in range(n):
                    path[i][j] = path[i][j] or (path[i][k] and path[k][j])
        return {self.states[i]: [self.states[j] for j in range(n) if path[i][j]] for i in range(n)}


def coefficient_and_rest(rate: Expr, state: str) -> tuple[Expr, Expr] | None:
    """a and b of a rate a x + b that is linear in x; None where it is not written as such."""
    x, zero = symbol(state), sympy.Integer(0)

    def go(e: Expr) -> Any:
        if x not in e.free_symbols:
            return zero, e
        if e == x:
            return sympy.Integer(1), zero
        if e.is_Add:
            parts = [go(a) for a in e.args]
            if None in parts:
                return None
            return sympy.Add(*(p[0] for p in parts)), sympy.Add(*(p[1] for p in parts))
        if e.is_Mul:
            others = [f for f in e.args if x not in f.free_symbols]
            inside = [f for f in e.args if x in f.free_symbols]
            split = go(inside[0]) if len(inside) == 1 else None
            return None if split is None else tuple(sympy.Mul(*others, s) for s in split)
        if isinstance(e, sympy.Piecewise):  # linear where the choice does not depend on x
            splits = [go(value) for value, _ in e.args]
            if None in splits or any(x in condition.free_symbols for _, condition in e.args):
                return None
            conditions = [condition for _, condition in e.args]
            return tuple(
                choice(*((s[k], c) for s, c in zip(splits, conditions, strict=True)))
                for k in (0, 1)
            )
        return None

    return go(rate)


def coefficient(rate: Expr, state: str) -> Expr | None:
    """The a of a rate a x + b; None where there is none."""
    found = coefficient_and_rest(rate, state)
    return None if found is None or found[0] == 0 else found[0]


def linear_part(
    rates: Rates, amplitudes: Rates, changing: Collection[str], held: Collection[str]
) -> Linear:
    """The largest set of variables whose rates are linear in each other and in nothing else."""
    inside = list(rates)
    while True:
        found = {n: _row(n, rates, amplitudes, inside, changing) for n in inside}
        rows = {n: row for n, row in found.items() if row is not None}
        keep = list(rows)
        matrix = sympy.Matrix(len(keep), len(keep), [rows[i][j] for i in keep for j in keep])
        linear = Linear(tuple(keep), matrix)
        # What is held, or jitters within the step, must not act on others during the step
        restless = {*held, *amplitudes}
        seen = linear.reaches()
        after = [n for n in keep if not restless & ({*seen[n]} - {n})]
        if after == inside:
            return linear
        inside = after


def _row(
    state: str, rates: Rates, amplitudes: Rates, inside: Collection[str], changing: Collection[str]
) -> dict[str, Expr] | None:
    """Coefficients of a rate, if it is linear in `inside` and knows nothing else that changes."""
    rest, row = rates[state], {}
    for other in inside:
        split = coefficient_and_rest(rest, other)
        if split is None or names_of([split[0]]) & set(changing):
            return None
        row[other], rest = split
    if names_of([rest]) & set(rates):
        return None
    if state in amplitudes and names_of([amplitudes[state]]) & set(rates):
        return None
    return row
