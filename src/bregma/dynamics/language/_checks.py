"""What is checked when a neuron is made, so that mistakes show before anything runs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import sympy

from bregma.dynamics.language import _units
from bregma.dynamics.language._dimensions import Mismatch, dimension_of
from bregma.dynamics.language._equations import check_units
from bregma.dynamics.language._grammar import TAKEN, Assignment, Place, names_of
from bregma.dynamics.language._surrogate import surrogate_of
from bregma.errors import InvalidArgument, UnknownName

if TYPE_CHECKING:
    from bregma.dynamics.language._neuron import Neuron

METHODS = ("auto", "exact", "exponential_euler", "euler", "heun", "milstein", "rk4")
_FLAGS_OF = {"input": "declared", "unless refractory": "differential"}


def check_neuron(neuron: Neuron) -> None:
    """Refuse a neuron whose text, values or units do not fit together."""
    if neuron.method not in METHODS:
        raise UnknownName.of("method", neuron.method, METHODS)
    if not neuron.states and not any(line.kind == "expression" for line in neuron.lines):
        raise InvalidArgument("these equations have neither a variable nor an expression")
    _check_names(neuron)
    _check_values(neuron)
    for line in neuron._raw:
        check_units(line, neuron.dimensions)
    _check_spike(neuron)
    _check_noise(neuron)
    _check_init(neuron)
    _check_shared(neuron)


def _check_names(neuron: Neuron) -> None:
    for what, given in (("params", neuron.params), ("init", neuron.init), ("noise", neuron.noise)):
        there = neuron.names if what == "params" else set(neuron.states)
        for name in given:
            if name in TAKEN:
                raise InvalidArgument(f"{name!r} has a meaning of its own; take another name")
            if name not in there:
                raise UnknownName.of(f"name of {what} in the equations", name, sorted(there))
    for line in neuron._raw:
        if line.name in neuron.params and line.kind != "declared":
            _fail(line.place, f"{line.name!r} is defined here, so params cannot give its value")
        if line.name in neuron.params and "input" in line.flags:
            _fail(line.place, f"{line.name!r} is an input here, so params cannot give its value")
        for flag in line.flags:
            if _FLAGS_OF.get(flag, line.kind) != line.kind:
                _fail(line.place, f"({flag}) has no meaning for {line.name!r}: {_why(flag)}")


def _why(flag: str) -> str:
    kind = {"declared": "a line that is a name only", "differential": "a line dx/dt = ..."}
    return f"it belongs to {kind[_FLAGS_OF[flag]]}"


def _check_values(neuron: Neuron) -> None:
    lengths: dict[int, str] = {}
    for name, value in neuron.values.items():
        array = numbers(value)
        if array.ndim > 1:
            raise InvalidArgument(f"params[{name!r}] has {array.ndim} axes; give one number a unit")
        if not np.isfinite(array).all():
            raise InvalidArgument(f"params[{name!r}] is not finite")
        if array.ndim:
            lengths.setdefault(len(array), name)
    if len(lengths) > 1:
        found = ", ".join(f"{n} for {name!r}" for n, name in lengths.items())
        raise InvalidArgument(f"params have different numbers of values: {found}")


def numbers(value: Any) -> np.ndarray:
    """The numbers of a value that may be a tensor."""
    return np.asarray(value.detach().cpu() if hasattr(value, "detach") else value, np.float64)


def _check_spike(neuron: Neuron) -> None:
    if neuron.spike is None:
        if neuron.reset or neuron.refractory:
            raise InvalidArgument("reset and refractory need spike=, the condition of a spike")
        if neuron.held:
            raise InvalidArgument("a variable is held (unless refractory), but there is no spike=")
        return
    if not isinstance(neuron.condition, sympy.core.relational.Relational):
        raise InvalidArgument(
            f"spike={neuron.spike!r} must be one comparison, such as 'v > theta', so that the "
            "distance to the threshold is known"
        )
    _dimension(neuron._condition, neuron, Place(neuron.spike))
    for statement in neuron.resets:
        if statement.target not in neuron.states:
            _fail(statement.place, f"reset changes variables ({', '.join(neuron.states)}) only")
    for statement in neuron._resets:
        _check_statement(statement, neuron)
    surrogate_of(neuron.surrogate, neuron.distance)
    if neuron.refractory_condition is None:
        refractory = neuron.refractory_time > 0
    else:
        refractory = True
        _dimension(neuron._refractory_condition, neuron, Place(str(neuron.refractory)))
    if neuron.held and not refractory:
        raise InvalidArgument("a variable is held (unless refractory), but refractory= is 0")


def _check_statement(statement: Assignment, neuron: Neuron) -> None:
    got = _dimension(statement.value, neuron, statement.place)
    wanted = neuron.dimensions.get(statement.target)
    if None in (got, wanted) or got == wanted or statement.value.is_zero:
        return
    _fail(
        statement.place,
        f"units do not match: {statement.target} is {_units.spelled(wanted)}, and this is "
        f"{_units.spelled(got)}",
    )


def _check_noise(neuron: Neuron) -> None:
    for name, amplitude in neuron._noise.items():
        text = str(neuron.noise[name])
        if not isinstance(amplitude, sympy.Expr):
            Place(text).fail("the amplitude of noise is a number, not a condition", 0, len(text))
        got, of = _dimension(amplitude, neuron, Place(text)), neuron.dimensions[name]
        if got is None or of is None or amplitude.is_zero:
            continue
        if amplitude.is_number and got == _units.dimensionless():
            continue  # a plain number is in SI units
        if got != of / _units.time_dimension() ** 0.5:
            unit = _units.spelled(of).removeprefix("in ")
            reason = f"units do not match: the noise of {name} is in {unit}/s**0.5, and this is "
            Place(text).fail(reason + _units.spelled(got), 0, len(text))


def _check_init(neuron: Neuron) -> None:
    for name, first in neuron.first.items():
        text = str(neuron.init[name])
        if isinstance(first, sympy.Expr):
            wrong = names_of([first]) & (
                {*neuron.states, *neuron.expressions, *neuron.inputs, "t", "dt"}
            )
            if wrong:
                what = sorted(wrong)[0]
                Place(text).fail(
                    f"first values depend on parameters, rand and randn only, not on {what!r}",
                    max(0, text.find(what)),
                    len(what),
                )
            known = {**neuron.dimensions, "rand": _units.dimensionless()}
            known["randn"] = _units.dimensionless()
            got = _dimension(first, neuron, Place(text), known)
            plain = first.is_number and got == _units.dimensionless()
        elif isinstance(first, sympy.Basic):
            Place(text).fail("a first value is a number, not a condition", 0, len(text))
        else:
            if not np.isfinite(numbers(first)).all():
                raise InvalidArgument(f"init[{name!r}] is not finite")
            got, plain = _units.quantity(neuron.init[name])[1], False
        of = neuron.dimensions[name]
        if None not in (got, of) and got != of and not plain:
            raise InvalidArgument(
                f"init[{name!r}] = {text!r} is {_units.spelled(got)}, and {name} is "
                f"{_units.spelled(of)}"
            )


def _check_shared(neuron: Neuron) -> None:
    """What is the same for all units is made of what is the same for all units."""
    shared = {line.name for line in neuron._raw if "shared" in line.flags}
    single = {n for n, v in neuron.values.items() if numbers(v).ndim == 0}
    for line in neuron._raw:
        if line.name not in shared:
            continue
        if line.kind == "declared":
            if line.name in neuron.params and line.name not in single:
                _fail(line.place, f"{line.name!r} is (shared), so params must give one number")
            continue
        for name in sorted(names_of([line.value]) - shared - single - {"t", "dt"}):
            if name in neuron.names:
                _fail(line.place, f"{line.name!r} is (shared), but {name!r} may differ among units")
        own = line.name in neuron.noise or line.name in {s.target for s in neuron.resets}
        if own or line.name in neuron.held:
            reason = "has noise, is reset or is held, which happens to single units"
            _fail(line.place, f"{line.name!r} is (shared), but it {reason}")
        first = neuron.first.get(line.name, 0.0)
        names = names_of([first])
        if names - single or (not isinstance(first, sympy.Basic) and numbers(first).ndim):
            raise InvalidArgument(f"{line.name!r} is (shared), so init must give one number")


def _dimension(
    expression: Any, neuron: Neuron, place: Place, known: Any = None
) -> _units.Dimension | None:
    try:
        return dimension_of(expression, known or neuron.dimensions)
    except Mismatch as error:
        _fail(place, f"units do not match: {error}")


def _fail(place: Place, reason: str) -> NoReturn:
    """Point at all of a statement."""
    text = re.split(r"[;\n#]", place.text[place.start :])[0]
    indent = len(text) - len(text.lstrip())
    place.fail(reason, indent, len(text.strip()))
