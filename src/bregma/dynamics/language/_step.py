"""The intermediate form: what happens to a population in one step, as straight-line code.

Every engine compiles a `Step`. A step of one unit is, in this order:

1. ``advance``: assigns ``<variable>__next`` from variables, inputs, constants and noise;
   variables that are held stay as they are while the unit is refractory;
2. a spike where ``distance`` (of the new values) is above 0 and the unit is not refractory;
3. ``reset``: assigns variables, for units that spiked.

Constants depend on parameters and dt only. They are computed once, before the run.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import sympy

from bregma.dynamics.language import _units
from bregma.dynamics.language._functions import spike
from bregma.dynamics.language._grammar import Assignment, Place, names_of, symbol
from bregma.dynamics.language._integrate import Linear, advance, next_of, noise_of
from bregma.dynamics.language._merged import Merged
from bregma.dynamics.language._neuron import Neuron
from bregma.errors import InvalidArgument

Program = tuple[Assignment, ...]


@dataclass(frozen=True)
class Constants:
    """Numbers that depend on parameters and dt only.

    expressions : name -> expression of parameters, dt and the entries of P and Q of `linear`.
    """

    linear: Linear
    expressions: Mapping[str, sympy.Expr]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the constants."""
        return tuple(self.expressions)


@dataclass(frozen=True)
class Step:
    """One step of a population; see the head of this file.

    states, inputs, noises : names of variables, of what is fed at every step (``t`` included where
    it is used), and of variables with noise (their numbers are called ``<variable>__noise``).
    held : variables that do not move while the unit is refractory.
    refractory_while : condition under which a unit that has spiked stays refractory, or None where
    the number of steps rules.
    expressions : what can be recorded beside the variables, in variables, inputs and constants.
    """

    states: tuple[str, ...]
    inputs: tuple[str, ...]
    noises: tuple[str, ...]
    constants: Constants
    advance: Program
    distance: sympy.Expr | None
    reset: Program
    held: tuple[str, ...]
    refractory_time: float
    refractory_while: Any
    expressions: Mapping[str, sympy.Expr]


def step_of(neuron: Neuron, fed: Iterable[str] = (), merged: Merged | None = None) -> Step:
    """Bring a neuron into the intermediate form.

    Parameters
    ----------
    neuron : Neuron
        The equations.
    fed : iterable of str
        Names that something feeds, beside the declared inputs.
    merged : Merged, optional
        What synapses add to the equations.

    Returns
    -------
    Step
        What all engines compile.

    Raises
    ------
    InvalidEquation
        A name without a value that nothing feeds.
    """
    fed, merged = set(fed) | set(neuron.inputs), merged or Merged()
    check_fed(neuron, fed | set(merged.currents))
    check_complete(neuron, fed | set(merged.currents))

    def into(expressions: Mapping[str, Any]) -> dict[str, Any]:
        return {n: merged.into(e, fed) for n, e in expressions.items()}

    rates, expressions = into({**neuron.rates, **merged.rates}), into(neuron.expressions)
    amplitudes = into(neuron.amplitudes)
    used = names_of(
        [
            *rates.values(),
            *amplitudes.values(),
            *expressions.values(),
            *(a.value for a in neuron.resets),
            neuron.condition,
            neuron.refractory_condition,
        ]
    )
    inputs = tuple(sorted(fed & set(neuron.names))) + (("t",) if "t" in used else ())
    made = advance(rates, amplitudes, varying=inputs, held=neuron.held, method=neuron.method)
    hoist = Hoist({*rates, *inputs, *map(noise_of, made.noises)})
    program = hoist.program(made.program)
    after = {symbol(n): symbol(next_of(n)) for n in rates}
    spikes = neuron.spike is not None
    reset = hoist.program(neuron.resets) if spikes else ()
    distance = hoist.expression(neuron.distance) if spikes else None
    stays = neuron.refractory_condition if spikes else None
    return Step(
        states=tuple(rates),
        inputs=inputs,
        noises=made.noises,
        advance=program,
        distance=None if distance is None else distance.xreplace(after),
        reset=reset,
        held=neuron.held,
        refractory_time=neuron.refractory_time if spikes else 0.0,
        refractory_while=None if stays is None else hoist.expression(stays).xreplace(after),
        expressions={n: hoist.expression(e) for n, e in expressions.items()},
        constants=Constants(made.linear, hoist.found),
    )


def check_fed(neuron: Neuron, fed: Collection[str]) -> None:
    """Refuse to feed what has an equation of its own, or what the text reads as a unit."""
    for name in sorted(fed):
        if name in neuron.states or name in neuron.expressions:
            raise InvalidArgument(f"{name!r} has an equation of its own, so nothing can feed it")
        if name in _units.SYMBOLS and name not in neuron.names:
            raise InvalidArgument(
                f"{name!r} is a unit; to feed it, declare it with a line '{name} (input)'"
            )


def check_complete(neuron: Neuron, fed: Collection[str]) -> None:
    """Refuse equations with names that have no value and that nothing feeds."""
    missing = [n for n in neuron.open_names if n not in fed]
    if not missing:
        return
    name = missing[0]
    reason = (
        f"{name!r} has no value: give it in params=, feed it, or declare it with a line "
        f"'{name} (input)' (undefined: {', '.join(missing)})"
    )
    texts = (neuron.equations, neuron.spike, neuron.reset, neuron.refractory)
    for text in map(str, (*texts, *neuron.noise.values(), *neuron.init.values())):
        found = re.search(rf"\b{re.escape(name)}\b", re.sub(r"#.*", _blank, text))
        if found:
            Place(text).fail(reason, found.start(), len(name))
    raise InvalidArgument(reason)


def _blank(comment: re.Match[str]) -> str:
    return " " * len(comment[0])


class Hoist:
    """Take out of expressions what does not change from step to step, and give it a name.

    Parameters
    ----------
    varying : collection of str
        Names that change; everything else is a parameter.
    """

    def __init__(self, varying: Collection[str]) -> None:
        self.varying = set(varying)
        self.found: dict[str, sympy.Expr] = {}
        self._names: dict[sympy.Expr, sympy.Symbol] = {}

    def program(self, program: Iterable[Assignment]) -> Program:
        """The same assignments with constants named; their targets are varying from then on."""
        made = []
        for a in program:
            made.append(replace(a, value=self.expression(a.value)))
            self.varying.add(a.target)
        return tuple(made)

    def expression(self, e: Any) -> Any:
        """The same expression with its constant parts named."""
        if self._constant(e):
            return e if e.is_Number else self._name(e)
        if e.is_Symbol or not e.args:
            return e
        if e.is_Add or e.is_Mul:
            fixed = [a for a in e.args if self._constant(a)]
            if len(fixed) > 1 or (fixed and not fixed[0].is_Number):
                rest = [self.expression(a) for a in e.args if not self._constant(a)]
                return e.func(self._name(e.func(*fixed)), *rest)
        return e.func(*[self.expression(a) for a in e.args])

    def _constant(self, e: Any) -> bool:
        return isinstance(e, sympy.Expr) and not names_of([e]) & self.varying

    def _name(self, e: sympy.Expr) -> sympy.Expr:
        if e.is_Number:
            return e
        if e not in self._names:
            self._names[e] = symbol(str(e) if e.is_Symbol else f"c{len(self._names)}__")
            self.found[str(self._names[e])] = e
        return self._names[e]


def common_parts(program: Iterable[Assignment], prefix: str = "s") -> Program:
    """The same assignments with what they share computed once.

    Parameters
    ----------
    program : iterable of Assignment
        Straight-line code in which no name is assigned twice.
    prefix : str
        How new names begin.

    Returns
    -------
    tuple of Assignment
        Each shared part stands before the first assignment that uses it.

    Raises
    ------
    ValueError
        A name that is assigned twice, or whose old value is read by another assignment.
    """
    assignments = list(program)
    _check_single(assignments)
    # A surrogate is not computed in the forward pass, so nothing is taken out of it
    hidden: dict[sympy.Expr, sympy.Expr] = {}

    def hide(e: sympy.Expr) -> sympy.Expr:
        name = hidden.setdefault(e.args[1], symbol(f"surrogate{len(hidden)}__"))
        return spike(e.args[0], name)

    values = [a.value.replace(lambda e: isinstance(e, spike), hide) for a in assignments]
    names = (symbol(f"{prefix}{i}__") for i in count())
    shared, values = sympy.cse(values, symbols=names, order="none")
    back = {name: e for e, name in hidden.items()}
    parts = {str(n): Assignment(str(n), v.xreplace(back), Place("")) for n, v in shared}
    done: dict[str, Assignment] = {}

    def place(a: Assignment) -> None:
        for name in sorted(names_of([a.value])):
            if name in parts and name not in done:
                place(parts[name])
        done[a.target] = a

    for a, value in zip(assignments, values, strict=True):
        place(replace(a, value=value.xreplace(back)))
    return tuple(done.values())


def _check_single(assignments: list[Assignment]) -> None:
    targets = [a.target for a in assignments]
    reads = [names_of([a.value]) for a in assignments]
    for n, name in enumerate(targets):
        readers = [i for i, names in enumerate(reads) if name in names]
        old = any(i <= n for i in readers)
        if targets.count(name) > 1 or (old and any(i != n for i in readers)):
            raise ValueError(f"the value of {name!r} changes within the program")
