"""The intermediate form: what happens to a population in one step, as straight-line code.

Every engine compiles a `Step`. A step of one unit is, in this order:

1. ``advance``: assigns ``<variable>__next`` from variables, inputs, constants and noise;
   variables that are held stay as they are while the unit is refractory;
2. a spike where ``distance`` (of the new values) is above 0 and the unit is not refractory;
3. ``reset``: assigns variables, for units that spiked.

Constants depend on parameters and dt only. They are computed once, before the run.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import sympy

from bregma.dynamics._functions import dexprel, exprel, spike
from bregma.dynamics._grammar import Assignment, Place, names_of, symbol
from bregma.dynamics._integrate import Linear, advance, next_of
from bregma.dynamics._neuron import Neuron
from bregma.errors import InvalidEquation

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


def step_of(neuron: Neuron, fed: Iterable[str] = ()) -> Step:
    """Bring a neuron into the intermediate form.

    Parameters
    ----------
    neuron : Neuron
        The equations.
    fed : iterable of str
        Names that something feeds, beside the declared inputs.

    Returns
    -------
    Step
        What all engines compile.

    Raises
    ------
    InvalidEquation
        A name without a value that nothing feeds.
    """
    fed = set(fed) | set(neuron.inputs)
    check_complete(neuron, fed)
    used = names_of(
        [*neuron.rates.values(), *neuron.amplitudes.values(), *neuron.expressions.values()]
    )
    used |= names_of([neuron.condition] if neuron.spike else [])
    inputs = tuple(sorted(fed & set(neuron.names))) + (("t",) if "t" in used else ())
    made = advance(
        neuron.rates, neuron.amplitudes, varying=inputs, held=neuron.held, method=neuron.method
    )
    hoist = Hoist({*neuron.states, *inputs, *(f"{n}__noise" for n in made.noises)})
    program = hoist.program(made.program)
    after = {symbol(n): symbol(next_of(n)) for n in neuron.states}
    spikes = neuron.spike is not None
    reset = hoist.program(neuron.resets) if spikes else ()
    distance = hoist.expression(neuron.distance) if spikes else None
    stays = neuron.refractory_condition if spikes else None
    return Step(
        states=neuron.states,
        inputs=inputs,
        noises=made.noises,
        advance=program,
        distance=None if distance is None else distance.xreplace(after),
        reset=reset,
        held=neuron.held,
        refractory_time=neuron.refractory_time if spikes else 0.0,
        refractory_while=None if stays is None else hoist.expression(stays).xreplace(after),
        expressions={n: hoist.expression(e) for n, e in neuron.expressions.items()},
        constants=Constants(made.linear, hoist.found),
    )


def check_complete(neuron: Neuron, fed: Collection[str]) -> None:
    """Refuse equations with names that have no value and that nothing feeds."""
    missing = [n for n in neuron.open_names if n not in fed]
    if not missing:
        return
    name, text = missing[0], neuron.equations
    reason = (
        f"{name!r} has no value: give it in params=, feed it, or declare it with a line "
        f"'{name} (input)' (undefined: {', '.join(missing)})"
    )
    import re

    found = re.search(rf"\b{name}\b", text)
    if found:
        Place(text).fail(reason, found.start(), len(name))
    raise InvalidEquation(reason, line=str(neuron.spike or neuron.reset))


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
    """
    assignments = list(program)
    names = (symbol(f"{prefix}{i}__") for i in range(10**6))
    # spike and its surrogate are kept whole: the surrogate is not computed in the forward pass
    shared, values = sympy.cse([a.value for a in assignments], symbols=names, order="none")
    waiting = [Assignment(str(n), v, Place("")) for n, v in shared]
    waiting += [replace(a, value=v) for a, v in zip(assignments, values, strict=True)]
    targets = {a.target: a for a in waiting}
    done: dict[str, Assignment] = {}

    def place(a: Assignment) -> None:
        if a.target in done:
            return
        for name in sorted(names_of([a.value])):
            if name in targets and name != a.target:
                place(targets[name])
        done[a.target] = a

    for a in waiting[len(shared) :]:
        place(a)
    return tuple(done.values())


OWN_FUNCTIONS = (exprel, dexprel, spike)
