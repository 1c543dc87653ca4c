"""Reverse mode of straight-line code: the program of its derivatives, taken symbolically."""

from __future__ import annotations

from collections.abc import Sequence

import sympy

from bregma.dynamics.language._functions import derivative
from bregma.dynamics.language._grammar import Assignment, Place, names_of, symbol
from bregma.dynamics.language._step import Program


def adjoint_of(name: str) -> str:
    """Name of the derivative of the loss with respect to a variable of the program."""
    return f"{name}__bar"


def adjoint(
    program: Sequence[Assignment], outputs: Sequence[str], inputs: Sequence[str]
) -> Program:
    """Program that computes the derivatives of a loss with respect to inputs.

    It is to run after the program itself, whose values it uses.

    Parameters
    ----------
    program : sequence of Assignment
        Straight-line code in which no name is assigned twice.
    outputs : sequence of str
        Names whose derivatives ``<name>__bar`` are given; an output may be an input, too.
    inputs : sequence of str
        Names whose derivatives are wanted.

    Returns
    -------
    tuple of Assignment
        Ends with one assignment of ``<input>__grad`` for each input.
    """
    bar: dict[str, sympy.Expr] = {n: symbol(adjoint_of(n)) for n in outputs}
    made: list[Assignment] = []
    for n, a in enumerate(reversed(program)):
        seed = bar.pop(a.target, sympy.Integer(0))
        if seed == 0:
            continue
        if not seed.is_Symbol:
            named = symbol(f"a{n}__")
            made.append(Assignment(str(named), seed, Place("")))
            seed = named
        if not isinstance(a.value, sympy.Expr):  # a condition that was given a name
            continue
        for name in sorted(names_of([a.value])):
            slope = derivative(a.value, symbol(name))
            if slope != 0:
                bar[name] = bar.get(name, sympy.Integer(0)) + seed * slope
    return (
        *made,
        *(Assignment(f"{n}__grad", bar.get(n, sympy.Integer(0)), Place("")) for n in inputs),
    )
