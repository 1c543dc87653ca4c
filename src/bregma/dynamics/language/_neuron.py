"""Neuron: the equations of one kind of unit, as text."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any

import sympy

from bregma.dynamics.language import _units
from bregma.dynamics.language._checks import METHODS, check_neuron
from bregma.dynamics.language._dimensions import Mismatch, dimension_of
from bregma.dynamics.language._equations import Line, parse_equations, with_units
from bregma.dynamics.language._grammar import (
    Assignment,
    Place,
    names_of,
    parse_expression,
    parse_statements,
    symbol,
)
from bregma.dynamics.language._look import latex, plain
from bregma.errors import InvalidArgument

__all__ = ["METHODS", "Neuron"]
FLAGS = ("unless refractory", "input", "shared")
BUILT_IN = ("t", "dt")  # seconds since the beginning, seconds per step


@dataclass(frozen=True, eq=False)
class Neuron:
    """Equations of a unit; every engine compiles them.

    Parameters
    ----------
    equations : str
        One line each: ``dx/dt = ...``, ``y = ...``, or ``z`` alone for a parameter or an input;
        then, optionally, ``: unit`` and flags: ``(unless refractory)`` holds a variable while
        the unit is refractory, ``(input)`` is 0 where nothing feeds it, ``(shared)`` is the same
        for all units.
    spike : str, optional
        Condition of a spike, such as ``"v > theta"``; ``>=`` means the same.
    reset : str
        Statements that follow a spike, such as ``"v = v_r; w += b"``.
    refractory : str or float
        How long (``"5 ms"``), or while which condition holds (``"v > -20*mV"``), the unit cannot
        spike again.
    params : mapping
        Name to value: a number in SI units, text with a unit (``"20 ms"``), or one number for
        each unit.
    init : mapping
        Variable to its first value, as for params, or an expression of parameters and of
        ``rand`` (uniform in 0 to 1) and ``randn`` (standard normal), drawn for each unit. 0 where
        nothing is given.
    surrogate : str
        Derivative of a spike in training, see `surrogate_of`; a function of the distance to the
        threshold in SI units.
    noise : mapping
        Variable to the amplitude of the white noise in its rate: dx = f dt + g dW (Itô).
    method : {"auto", "exact", "exponential_euler", "euler", "heun", "milstein", "rk4"}
        How a step in time is made. "auto" is exact for what is linear, exponential Euler for what
        is linear once the rest is held, Heun for the rest.

    Raises
    ------
    InvalidEquation
        Where the text has no meaning; the message points at the place.
    UnknownName
        A value for a name that the text does not have.

    Examples
    --------
    >>> lif = Neuron("dv/dt = (E_L - v + R*I)/tau", spike="v > theta", reset="v = E_L",
    ...              params={"E_L": 0, "theta": 1, "R": 1, "tau": "20 ms"})
    >>> lif.states, lif.open_names
    (('v',), ('I',))
    """

    equations: str
    spike: str | None = None
    reset: str = ""
    refractory: str | float = 0.0
    params: Mapping[str, Any] = field(default_factory=dict)
    init: Mapping[str, Any] = field(default_factory=dict)
    surrogate: str = "atan"
    noise: Mapping[str, str | float | int] = field(default_factory=dict)
    method: str = "auto"

    def __post_init__(self) -> None:
        for what in ("params", "init", "noise"):  # later changes of the caller's own have no effect
            object.__setattr__(self, what, dict(getattr(self, what)))
        check_neuron(self)

    # What the text says

    @cached_property
    def _raw(self) -> tuple[Line, ...]:
        return parse_equations(self.equations, FLAGS)

    @cached_property
    def lines(self) -> tuple[Line, ...]:
        """The lines, with units as numbers."""
        return tuple(replace(line, value=self._si(line.value)) for line in self._raw)

    @cached_property
    def states(self) -> tuple[str, ...]:
        """Variables that have a differential equation, in the order of the text."""
        return tuple(line.name for line in self._raw if line.kind == "differential")

    @cached_property
    def names(self) -> frozenset[str]:
        """Every name that is a variable, expression, parameter or input."""
        defined = {line.name for line in self._raw}
        used = names_of([x.value for x in self._raw if x.value is not None])
        used |= names_of([self._condition]) if self.spike is not None else set()
        used |= names_of([s.value for s in self._resets])
        used |= names_of([self._refractory_condition, *self._noise.values()])
        used |= names_of([e for e in self.first.values() if isinstance(e, sympy.Basic)])
        units = {n for n in used - defined - set(self.params) if n in _units.SYMBOLS}
        return frozenset((used | defined) - units - set(BUILT_IN) - {"rand", "randn"})

    @cached_property
    def expressions(self) -> dict[str, sympy.Expr]:
        """Expressions by name, written out in variables, parameters and inputs."""
        found: dict[str, sympy.Expr] = {}
        for line in self.lines:
            if line.kind == "expression":
                found[line.name] = line.value.xreplace({symbol(n): e for n, e in found.items()})
        return found

    @cached_property
    def rates(self) -> dict[str, sympy.Expr]:
        """Time derivative of each variable, without noise, written out."""
        return {x.name: self.written_out(x.value) for x in self.lines if x.kind == "differential"}

    @cached_property
    def amplitudes(self) -> dict[str, sympy.Expr]:
        """Amplitude of the noise of each variable that has some, written out."""
        return {n: self.written_out(self._si(e)) for n, e in self._noise.items()}

    @cached_property
    def condition(self) -> Any:
        """Condition of a spike, written out; None where there are no spikes."""
        return None if self.spike is None else self.written_out(self._si(self._condition))

    @cached_property
    def distance(self) -> sympy.Expr:
        """How far a unit is above its threshold: a spike is where this is above 0."""
        c = self.condition
        return c.lhs - c.rhs if isinstance(c, sympy.Gt | sympy.Ge) else c.rhs - c.lhs

    @cached_property
    def resets(self) -> tuple[Assignment, ...]:
        """Statements that follow a spike, written out."""
        return tuple(replace(s, value=self.written_out(self._si(s.value))) for s in self._resets)

    @cached_property
    def held(self) -> tuple[str, ...]:
        """Variables that do not move while the unit is refractory."""
        return tuple(x.name for x in self._raw if "unless refractory" in x.flags)

    @cached_property
    def refractory_time(self) -> float:
        """Seconds without spikes after a spike; 0 where a condition rules."""
        if self.refractory_condition is not None:
            return 0.0
        duration = _units.seconds(self.refractory, "refractory")
        if duration < 0:
            raise InvalidArgument(f"refractory must not be negative, it is {self.refractory!r}")
        return duration

    @cached_property
    def refractory_condition(self) -> Any:
        """Condition under which a unit that has spiked stays refractory, or None."""
        c = self._refractory_condition
        return self.written_out(self._si(c)) if isinstance(c, sympy.logic.boolalg.Boolean) else None

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """Names that are declared as inputs: 0 where nothing feeds them."""
        return tuple(x.name for x in self._raw if "input" in x.flags)

    @cached_property
    def open_names(self) -> tuple[str, ...]:
        """Names without a value, to be given in params or to be fed."""
        known = {x.name for x in self._raw if x.kind != "declared" or "input" in x.flags}
        return tuple(sorted(self.names - known - set(self.params)))

    @cached_property
    def values(self) -> dict[str, Any]:
        """Values of the parameters in SI units."""
        return {name: _units.quantity(value)[0] for name, value in self.params.items()}

    @cached_property
    def first(self) -> dict[str, Any]:
        """First values: numbers in SI units, or expressions of parameters, rand and randn."""
        found = {}
        for name, given in self.init.items():
            if isinstance(given, str) and not _units.is_quantity(given):
                found[name] = parse_expression(given, Place(given))
            else:
                found[name] = _units.quantity(given)[0]
        return found

    @cached_property
    def dimensions(self) -> dict[str, _units.Dimension | None]:
        """Dimension of every name, None where the text and the values do not say."""
        found: dict[str, _units.Dimension | None] = dict.fromkeys(self.names)
        found |= dict.fromkeys(BUILT_IN, _units.time_dimension())
        declared = {x.name: x for x in self._raw if x.dimension is not None}
        found |= {n: x.dimension for n, x in declared.items()}
        for name, value in self.params.items():
            given = _units.quantity(value)[1]
            if given is not None and name in declared and given != declared[name].dimension:
                declared[name].place.fail(
                    f"{name} is {_units.spelled(declared[name].dimension)} here, but params gives "
                    f"{value!r}"
                )
            found[name] = given if given is not None else found[name]
        for line in self._raw:  # expressions without a unit have that of their right side
            if line.kind == "expression" and line.dimension is None:
                with suppress(Mismatch):  # check_units points at it
                    found[line.name] = dimension_of(line.value, found)
        return found

    # Making others from it

    def with_params(self, **params: Any) -> Neuron:
        """The same equations with other values.

        Parameters
        ----------
        **params : float, str or array
            Name to value; the others stay.

        Returns
        -------
        Neuron
            A new one.
        """
        return replace(self, params={**self.params, **params})

    def written_out(self, expression: Any) -> Any:
        """An expression in variables, parameters and inputs only.

        Parameters
        ----------
        expression : sympy expression or condition
            What to write out.

        Returns
        -------
        sympy expression or condition
            The same without the names of the text's own expressions.
        """
        return expression.xreplace({symbol(n): e for n, e in self.expressions.items()})

    # Inside

    def _si(self, expression: Any) -> Any:
        return None if expression is None else with_units(expression, self._defined)

    @cached_property
    def _defined(self) -> frozenset[str]:
        return frozenset({x.name for x in self._raw} | set(self.params) | set(BUILT_IN))

    @cached_property
    def _condition(self) -> Any:
        text = self.spike or ""
        return parse_expression(text, Place(text))

    @cached_property
    def _resets(self) -> tuple[Assignment, ...]:
        return parse_statements(self.reset)

    @cached_property
    def _refractory_condition(self) -> Any:
        if not isinstance(self.refractory, str) or not any(c in self.refractory for c in "<>"):
            return sympy.Integer(0)
        return parse_expression(self.refractory, Place(self.refractory))

    @cached_property
    def _noise(self) -> dict[str, Any]:
        return {n: parse_expression(str(g), Place(str(g))) for n, g in self.noise.items()}

    # How it looks

    def latex(self) -> str:
        """The equations in LaTeX.

        Returns
        -------
        str
            An ``aligned`` environment, one line for each equation.
        """
        return latex(self)

    def _repr_latex_(self) -> str:
        return f"$${self.latex()}$$"

    def __repr__(self) -> str:
        return plain(self)

    def __getstate__(self) -> dict[str, Any]:  # what was worked out is worked out again
        return {f.name: getattr(self, f.name) for f in fields(self)}
