"""The unit of an expression, from those of its names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import sympy

from bregma.dynamics.language import _units
from bregma.dynamics.language._functions import spike


class Mismatch(Exception):
    """Two parts of an expression whose units differ."""


def dimension_of(
    expression: Any, known: Mapping[str, _units.Dimension | None]
) -> _units.Dimension | None:
    """Dimension of an expression; None where a part has an unknown one.

    Parameters
    ----------
    expression : sympy expression or condition
        With names that are in `known`, or units.
    known : mapping
        Name to dimension, None where it is not known.

    Returns
    -------
    dimension or None
        None where it cannot be known.

    Raises
    ------
    Mismatch
        Where numbers of different dimensions are added or compared, or stand in functions.
    """
    plain = _units.dimensionless()

    def go(e: Any) -> _units.Dimension | None:
        if e.is_Symbol:
            name = str(e)
            if name in known:
                return known[name]
            return _units.unit(name)[1] if name in _units.SYMBOLS else None
        if e.is_Number or e.is_NumberSymbol:
            return plain
        if e.is_Mul:
            total: _units.Dimension | None = plain
            for part in [go(a) for a in e.args]:  # all of them, for what is wrong inside
                total = None if total is None or part is None else total * part
            return total
        if e.is_Pow:
            base, power = go(e.base), e.exp
            if not power.is_number:
                same([power], plain)
                same([e.base], plain)
                return plain
            return None if base is None else base ** float(power)
        if e.is_Add:
            return same(e.args, None)
        if isinstance(e, sympy.Piecewise):
            for _, condition in e.args:
                go(condition)
            return same([a for a, _ in e.args], None)
        if e.is_Relational:
            same(e.args, None)
            return plain
        if isinstance(e, sympy.logic.boolalg.BooleanFunction):
            for a in e.args:
                go(a)
            return plain
        if isinstance(e, sympy.Abs):
            return go(e.args[0])
        if e.is_Function and not isinstance(e, spike | sympy.sign):
            same(e.args, plain)
        return plain

    def same(parts: Iterable[Any], wanted: _units.Dimension | None) -> _units.Dimension | None:
        first, unknown = None, False
        for part in parts:
            if part.is_zero or part in (sympy.oo, -sympy.oo):
                continue
            found = go(part)
            unknown = unknown or found is None
            if found is None:
                continue
            if wanted is None:
                first, wanted = part, found
            elif found != wanted:
                against = f"{first} is {_units.spelled(wanted)}" if first is not None else (
                    f"{_units.spelled(wanted)} is needed"
                )  # fmt: skip
                raise Mismatch(f"{part} is {_units.spelled(found)}, but {against}")
        if wanted is not None:  # a valid sum has the dimension of any of its parts
            return wanted
        return None if unknown else plain

    return go(expression)
