"""Exponentials over one step of time are close to 1, where a short polynomial does.

Exponential Euler needs exprel(a dt), in which a dt is mostly small. A block of units for which it
is small goes through a loop with the polynomial, any other block through the whole function.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import sympy

from bregma.dynamics.engines._cpu_part import loop
from bregma.dynamics.language._functions import exprel
from bregma.dynamics.language._grammar import names_of, symbol
from bregma.dynamics.language._print import NUMBA, write, write_program
from bregma.dynamics.language._step import Step

BLOCK = 512  # units that are looked at together
NEAR = 0.5  # largest argument of `exprel_near`
_exprel_near = sympy.Function("exprel_near")
_DIALECT = replace(NUMBA, functions={**NUMBA.functions, _exprel_near: "exprel_near"})


def small_arguments(step: Step) -> list[sympy.Expr]:
    """Arguments of exprel that hold dt, where nothing else in the step costs much.

    Two loops take twice as long to compile, which pays where exprel is most of the work.
    """
    timed = {n for n, e in step.constants.expressions.items() if e.has(symbol("dt"))}
    assigned = {a.target for a in step.advance}
    functions = {
        x
        for a in step.advance
        for x in a.value.atoms(sympy.Function)
        if not isinstance(x, sympy.Piecewise)
    }
    small = [
        x.args[0]
        for x in sorted(functions, key=str)
        if isinstance(x, exprel) and names_of([x]) & timed and not names_of([x]) & assigned
    ]
    return small if len(small) == len(functions) else []


def loops(
    step: Step, small: Sequence[sympy.Expr], checked: Iterable[str], lines: Sequence[str]
) -> list[str]:
    """Loops over all units, in blocks of which each goes the one way or the other.

    Parameters
    ----------
    step : Step
        Whose program is in `lines`.
    small : sequence of expressions
        From `small_arguments`.
    checked : iterable of str
        Lines that load what these need.
    lines : sequence of str
        Of one unit.

    Returns
    -------
    list of str
        Source code.
    """
    near = {exprel(x): _exprel_near(x) for x in small}
    program = [replace(a, value=_replaced(a.value, near)) for a in step.advance]
    swapped = dict(
        zip(write_program(step.advance, NUMBA), write_program(program, _DIALECT), strict=True)
    )
    tests = [f"-F({NEAR}) < {write(x, NUMBA)} < F({NEAR})" for x in small]
    each = "for i__ in range__(begin__, end__):"
    return loop(
        f"for block__ in range__(0, {step.states[0]}__a.size, {BLOCK}):",
        [
            "begin__ = np.uint64(block__)",
            f"end__ = np.uint64(min__(block__ + {BLOCK}, {step.states[0]}__a.size))",
            "far__ = np.int32(0)",
            *loop(each, [*checked, *(f"far__ += np.int32(not ({x}))" for x in tests)]),
            *loop("if far__ == 0:", loop(each, [swapped.get(line, line) for line in lines])),
            *loop("else:", loop(each, lines)),
        ],
    )


def _replaced(value: Any, near: dict[sympy.Expr, sympy.Expr]) -> Any:
    """An expression with other functions in it; sums and products keep their order."""
    if isinstance(value, sympy.Add | sympy.Mul):
        return value.func(*[_replaced(a, near) for a in value.args], evaluate=False)
    return value.xreplace(near)
