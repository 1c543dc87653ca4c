"""Synapse: what a spike does to the units that it reaches, and how that changes, as text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import sympy

from bregma.dynamics.language import _units
from bregma.dynamics.language._equations import (
    Line,
    Mismatch,
    check_units,
    dimension_of,
    parse_equations,
)
from bregma.dynamics.language._grammar import (
    Assignment,
    Place,
    names_of,
    parse_expression,
    parse_statements,
    symbol,
)
from bregma.errors import InvalidArgument, UnknownName

if TYPE_CHECKING:
    from bregma.dynamics.language._units import Dimension

PLACES = ("pre", "post")
BUILT_IN = ("t", "dt")


@dataclass(frozen=True, eq=False)
class Synapse:
    """Equations of a connection; every engine compiles them.

    Names are those of the equations and parameters below; ``x_pre`` and ``x_post`` are the
    variable or parameter x of the neuron on that side; any other name is one of the neuron
    behind the synapse.

    Parameters
    ----------
    equations : str
        Lines as for `Neuron`. The flags ``(pre)`` and ``(post)`` say that a variable belongs to the
        presynaptic or postsynaptic unit, so that all of its synapses of this kind share it:
        traces of spike-timing-dependent plasticity. Without a flag each synapse has its own.
    on_pre : str
        Statements at the arrival of a presynaptic spike. Variables of neurons only grow:
        ``"g_e += w"``.
    on_post : str
        Statements at a postsynaptic spike.
    current : mapping
        Input of the postsynaptic neuron to an expression of variables marked (post), which flows
        into it: ``{"I": "g*s*(E - v)"}``. All synapses of the projection share these variables.
    summed : mapping
        Input of the postsynaptic neuron to an expression that is summed over its synapses at every
        step: gap junctions, rate units.
    params : mapping
        Name to value: a number in SI units, text with a unit, one number for each synapse, or an
        expression of ``rand`` and ``randn``, drawn for each synapse, and of the ``weight`` and
        ``delay`` that a matrix or table of connections gives: ``"0.5*nS*weight"``.
    init : mapping
        First values of variables, likewise; 0 where nothing is given.

    Raises
    ------
    InvalidEquation
        Where the text has no meaning; the message points at the place.
    UnknownName
        A value for a name that the text does not have.

    Examples
    --------
    >>> stdp = Synapse(
    ...     \"\"\"dx/dt = -x/tau_plus (pre)
    ...        dy/dt = -y/tau_minus (post)
    ...        w\"\"\",
    ...     on_pre="g_e += w; x += 1; w = clip(w - A_minus*y, 0, w_max)",
    ...     on_post="y += 1; w = clip(w + A_plus*x, 0, w_max)",
    ...     params={"tau_plus": "20 ms", "tau_minus": "20 ms", "A_plus": 0.01, "A_minus": 0.012,
    ...             "w_max": 1.0}, init={"w": 0.5})
    >>> stdp.states, stdp.place_of("x"), stdp.place_of("w")
    (('x', 'y', 'w'), 'pre', 'synapse')
    """

    equations: str = ""
    on_pre: str = ""
    on_post: str = ""
    current: Mapping[str, str] = field(default_factory=dict)
    summed: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    init: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not (self.on_pre or self.on_post or self.current or self.summed):
            raise InvalidArgument(
                "a synapse needs on_pre=, on_post=, current= or summed=, else it does nothing"
            )
        for name in self.init:
            if name not in self.states:
                raise UnknownName.of("variable of the synapse for init", name, self.states)
        for name in self.params:
            if name not in self.used and name not in self.lines:
                raise UnknownName.of("name of params in the synapse", name, sorted(self.used))
        for line in self._raw:
            if line.name in self.params and line.kind != "declared":
                line.place.fail(f"{line.name!r} is defined here, so params cannot give its value")
            if line.name in self.params and line.name in self.states:
                line.place.fail(f"{line.name!r} changes, so its first value belongs to init=")

    # What the text says

    @cached_property
    def _raw(self) -> tuple[Line, ...]:
        return parse_equations(self.equations, PLACES)

    @cached_property
    def lines(self) -> dict[str, Line]:
        """Lines by name; names of units are still names, because a neuron may define them."""
        return {x.name: x for x in self._raw}

    @cached_property
    def states(self) -> tuple[str, ...]:
        """Variables: what has a differential equation, and what statements assign."""
        assigned = {s.target for s in (*self._pre, *self._post)}
        return tuple(
            x.name
            for x in self._raw
            if x.kind == "differential" or (x.kind == "declared" and x.name in assigned)
        )

    @cached_property
    def rates(self) -> dict[str, sympy.Expr]:
        """Time derivative of each variable; 0 where only statements change it."""
        return {
            n: self.written_out(self.lines[n].value)
            if self.lines[n].kind == "differential"
            else sympy.Integer(0)
            for n in self.states
        }

    @cached_property
    def expressions(self) -> dict[str, sympy.Expr]:
        """Expressions by name, written out."""
        found: dict[str, sympy.Expr] = {}
        for line in self.lines.values():
            if line.kind == "expression":
                found[line.name] = line.value.xreplace({symbol(n): e for n, e in found.items()})
        return found

    @cached_property
    def pre_statements(self) -> tuple[Assignment, ...]:
        """Statements at the arrival of a presynaptic spike."""
        return tuple(replace(s, value=self.written_out(s.value)) for s in self._pre)

    @cached_property
    def post_statements(self) -> tuple[Assignment, ...]:
        """Statements at a postsynaptic spike."""
        return tuple(replace(s, value=self.written_out(s.value)) for s in self._post)

    @cached_property
    def sums(self) -> dict[str, sympy.Expr]:
        """Inputs of the postsynaptic neuron that are sums over synapses."""
        return {n: self.written_out(parse_expression(e, Place(e))) for n, e in self.summed.items()}

    @cached_property
    def currents(self) -> dict[str, sympy.Expr]:
        """Inputs of the postsynaptic neuron that its variables marked (post) flow into."""
        parsed = {n: parse_expression(e, Place(e)) for n, e in self.current.items()}
        return {n: self.written_out(e) for n, e in parsed.items()}

    @cached_property
    def used(self) -> frozenset[str]:
        """Every name in the equations, statements and sums."""
        values = [x.value for x in self._raw if x.value is not None]
        values += [s.value for s in (*self._pre, *self._post)]
        texts = [*self.summed.values(), *self.current.values()]
        values += [parse_expression(e, Place(e)) for e in texts]
        targets = {s.target for s in (*self._pre, *self._post)}
        return frozenset(names_of(values) | targets - set(BUILT_IN))

    @cached_property
    def values(self) -> dict[str, Any]:
        """Values of the parameters in SI units; expressions stay text."""
        return {
            n: v if _is_expression(v) else _units.quantity(v)[0] for n, v in self.params.items()
        }

    @cached_property
    def dimensions(self) -> dict[str, Dimension | None]:
        """Dimension of the synapse's own names, None where it is not known."""
        found = {x.name: x.dimension for x in self._raw}
        for name, value in self.params.items():
            if not _is_expression(value):
                found[name] = _units.quantity(value)[1] or found.get(name)
        return found | dict.fromkeys(BUILT_IN, _units.time_dimension())

    def place_of(self, name: str) -> str:
        """Where a variable of the synapse is kept.

        Parameters
        ----------
        name : str
            A variable.

        Returns
        -------
        str
            ``"pre"``, ``"post"`` or ``"synapse"``.
        """
        return next((p for p in PLACES if p in self.lines[name].flags), "synapse")

    def written_out(self, expression: Any) -> Any:
        """An expression without the names of other expressions.

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

    def check_units(self, others: Mapping[str, Dimension | None]) -> None:
        """Refuse statements whose two sides have different units.

        Parameters
        ----------
        others : mapping
            Dimensions of the names that belong to the neurons on both sides.

        Raises
        ------
        InvalidEquation
            Pointing at the statement.
        """
        known = {**others, **self.dimensions}
        for line in self._raw:
            check_units(line, known)
        for s in (*self._pre, *self._post):
            try:
                got, wanted = dimension_of(s.value, known), known.get(s.target)
            except Mismatch as error:
                s.place.fail(f"units do not match: {error}")
            if None not in (got, wanted) and got != wanted and not s.value.is_zero:
                s.place.fail(
                    f"units do not match: {s.target} is {_units.spelled(wanted)}, "
                    f"not {_units.spelled(got)}"
                )

    def with_params(self, **params: Any) -> Synapse:
        """The same equations with other values.

        Parameters
        ----------
        **params : float, str or array
            Name to value; the others stay.

        Returns
        -------
        Synapse
            A new one.
        """
        return replace(self, params={**self.params, **params})

    # Inside

    @cached_property
    def _pre(self) -> tuple[Assignment, ...]:
        return parse_statements(self.on_pre)

    @cached_property
    def _post(self) -> tuple[Assignment, ...]:
        return parse_statements(self.on_post)

    def __repr__(self) -> str:
        rows = [line.strip() for line in self.equations.strip().splitlines() if line.strip()]
        rows += [f"on_pre: {self.on_pre}"] if self.on_pre else []
        rows += [f"on_post: {self.on_post}"] if self.on_post else []
        rows += [f"current into {n}: {e}" for n, e in self.current.items()]
        rows += [f"sum into {n}: {e}" for n, e in self.summed.items()]
        return "Synapse\n  " + "\n  ".join(rows)


def _is_expression(value: Any) -> bool:
    return isinstance(value, str) and not _units.is_quantity(value)
