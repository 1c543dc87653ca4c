"""One step and its reverse as straight-line programs, for loops over time that are trained.

Names in the programs: of a variable ``x``, ``x`` is its value before the step, ``x__next`` after
the advance, ``x__out`` after the reset; ``distance__`` is above 0 where there is a spike;
``fired__`` and ``resting__`` (refractory) are 1 or 0 and have no derivative; ``spike__`` is the
spike with its surrogate.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import sympy

from bregma.dynamics.language._adjoint import adjoint, adjoint_of
from bregma.dynamics.language._functions import choice, spike
from bregma.dynamics.language._grammar import Assignment, Place, names_of, symbol
from bregma.dynamics.language._integrate import next_of, noise_of
from bregma.dynamics.language._step import Program, Step
from bregma.dynamics.language._surrogate import surrogate_of

DISTANCE, FIRED, RESTING, SPIKE, STAYS = (
    "distance__", "fired__", "resting__", "spike__", "stays__"
)  # fmt: skip
_YES = sympy.Rational(1, 2)  # a condition that is a number is true above this


def out_of(state: str) -> str:
    """Name of a variable's value after the reset."""
    return f"{state}__out"


def gradient_of(name: str) -> str:
    """Name of the derivative of the loss with respect to an input of the step."""
    return f"{name}__grad"


@dataclass(frozen=True, eq=False)
class ScanProgram:
    """A step with its derivatives.

    step : the equations.
    surrogate : derivative of the spike, as text.
    fed : inputs that something feeds; the others are 0.
    detached : whether the reset is taken as a constant where derivatives are taken.
    """

    step: Step
    surrogate: str
    fed: tuple[str, ...]
    detached: bool = True

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """Everything that comes from outside at every step, noise included."""
        clock = ("t",) if "t" in self.step.inputs else ()
        return (*self.fed, *(noise_of(n) for n in self.step.noises), *clock)

    @cached_property
    def constants(self) -> tuple[str, ...]:
        """Names of the constants that the step uses."""
        used = names_of([a.value for a in self.value])
        return tuple(n for n in self.step.constants.names if n in used)

    @property
    def fires(self) -> bool:
        """Whether there are spikes."""
        return self.step.distance is not None

    @property
    def rests(self) -> bool:
        """Whether units can be refractory."""
        return self.step.refractory_while is not None or self.step.refractory_time > 0

    @cached_property
    def advance(self) -> Program:
        """Variables after the advance, then the distance to the threshold."""
        zero = {symbol(n): sympy.Integer(0) for n in self.step.inputs if n not in self.inputs}
        made = []
        for a in self.step.advance:
            state = a.target.removesuffix("__next")
            a = replace(a, value=a.value.xreplace(zero))
            if self.rests and state in self.step.held and a.target == next_of(state):
                free = f"{state}__free"
                made.append(replace(a, target=free))
                a = replace(a, value=_chosen(RESTING, symbol(state), symbol(free)))
            made.append(a)
        if self.step.distance is not None:
            made.append(Assignment(DISTANCE, self.step.distance.xreplace(zero), Place("")))
        if self.step.refractory_while is not None:
            stays = self.step.refractory_while.xreplace(zero)
            value = choice((sympy.Integer(1), stays), (sympy.Integer(0), True))
            made.append(Assignment(STAYS, value, Place("")))
        return tuple(made)

    @cached_property
    def reset(self) -> Program:
        """Variables after the reset, which is a choice between two values."""
        zero = {symbol(n): sympy.Integer(0) for n in self.step.inputs if n not in self.inputs}
        now = {n: symbol(next_of(n)) for n in self.step.states}
        made = []
        for i, a in enumerate(self.step.reset):
            name = f"{a.target}__reset{i}"
            value = a.value.xreplace({symbol(n): e for n, e in now.items()} | zero)
            made.append(Assignment(name, value, a.place))
            now[a.target] = symbol(name)
        for n in self.step.states:
            before, after = symbol(next_of(n)), now[n]
            value = before if before == after else _chosen(FIRED, after, before)
            made.append(Assignment(out_of(n), value, Place("")))
        return tuple(made)

    @property
    def value(self) -> Program:
        """The whole step; ``fired__`` stands between its two parts."""
        return (*self.advance, *self.reset)

    def reverse(self, wanted: Collection[str], given: Sequence[str]) -> Program:
        """Derivatives of a loss by what goes into the step.

        Parameters
        ----------
        wanted : collection of str
            Inputs and constants whose derivatives are wanted; those of the variables always are.
        given : sequence of str
            What the loss sees: ``"spikes"``, or nothing beyond the variables after the step.

        Returns
        -------
        tuple of Assignment
            To run after the values of the step, from ``<x>__out__bar`` of each variable and
            ``spike____bar``; ends with ``<name>__grad``.
        """
        program, outputs = list(self.advance), [out_of(n) for n in self.step.states]
        if self.fires:
            seen = not self.detached or "spikes" in given
            s = spike(symbol(DISTANCE), surrogate_of(self.surrogate, symbol(DISTANCE)))
            if self.rests:
                s = _chosen(RESTING, sympy.Integer(0), s)
            program += [Assignment(SPIKE, s, Place(""))] if seen else []
            outputs += [SPIKE] if "spikes" in given else []
        program += self.reset if self.detached else [self._attached(a) for a in self.reset]
        made = adjoint(program, outputs, [*self.step.states, *wanted])
        same = {symbol(SPIKE): symbol(FIRED)}  # they differ in their slopes alone
        return tuple(replace(a, value=a.value.xreplace(same)) for a in made)

    def _attached(self, a: Assignment) -> Assignment:
        """The reset x + s (reset(x) - x): a choice plus something that is 0 but for its slope."""
        if not isinstance(a.value, choice) or not a.target.endswith("__out"):
            return a
        (after, _), (before, _) = a.value.args
        jump = (symbol(SPIKE) - symbol(FIRED)) * (after - before)
        return replace(a, value=a.value + jump)


def _chosen(flag: str, yes: sympy.Expr, no: sympy.Expr) -> sympy.Expr:
    return choice((yes, symbol(flag) > _YES), (no, True))


def needed(program: Iterable[Assignment], targets: Collection[str]) -> Program:
    """The assignments that some targets depend on, in their order."""
    kept, live = [], set(targets)
    for a in reversed(list(program)):
        if a.target in live:
            kept.append(a)
            live |= names_of([a.value])
    return tuple(reversed(kept))


def free_names(program: Iterable[Assignment]) -> set[str]:
    """Names that a program uses before it assigns them."""
    found: set[str] = set()
    made: set[str] = set()
    for a in program:
        found |= names_of([a.value]) - made
        made.add(a.target)
    return found


BAR_OF_SPIKE = adjoint_of(SPIKE)


@dataclass(frozen=True)
class Backwards:
    """One step of a loop back over time.

    advance, reset : what of the step has to be computed again.
    back : derivatives, ending with ``<name>__grad``.
    live : names that the three use before they assign them, or that mark what they use.
    """

    advance: Program
    reset: Program
    back: Program
    live: frozenset[str]


def backwards(
    program: ScanProgram, wanted: Sequence[str], given: Collection[str], after: bool = False
) -> Backwards:
    """What a loop back over time computes for the derivatives by `wanted` inputs and constants.

    It knows the variables before each step; or those `after` the advance, which it need not compute
    again then.
    """
    made = program.reverse(wanted, sorted(set(given) & {"spikes"}))
    back = needed(made, [gradient_of(n) for n in (*program.step.states, *wanted)])
    live = free_names(back)
    live |= free_names(needed(program.reset, live))
    if FIRED in live:
        live.add(DISTANCE)
    known = {next_of(n) for n in program.step.states} if after else set()
    advance = needed([a for a in program.advance if a.target not in known], live)
    reset = needed(program.reset, live)
    return Backwards(advance, reset, back, frozenset(live | free_names([*advance, *reset])))


@dataclass(frozen=True)
class Keeping:
    """What a run keeps for its way back.

    states : variables that are kept at every step.
    inputs : inputs that the way back reads again.
    after : whether variables are kept as they are after the advance, rather than before the step.
    """

    states: tuple[str, ...]
    inputs: frozenset[str]
    after: bool


@lru_cache(maxsize=256)
def keeping(program: ScanProgram, wanted: frozenset[str], outputs: tuple[str, ...]) -> Keeping:
    """The least that is enough for derivatives by what is `wanted` (nothing: none are taken).

    Where the derivatives of a step depend on variables after the advance alone, as with all that is
    linear between spikes, neither the input nor anything else has to be kept.
    """
    states, inputs = program.step.states, frozenset(program.inputs)
    by = [n for n in (*program.inputs, *program.constants) if n in wanted]
    if not set(outputs) & set(states):
        live = backwards(program, by, outputs, after=True).live if wanted else frozenset()
        if not live & (inputs - {"t"} | set(states)):
            return Keeping(tuple(n for n in states if next_of(n) in live), live & inputs, True)
    live = backwards(program, by, outputs).live if wanted else frozenset()
    kept = tuple(n for n in states if n in live | set(outputs))
    return Keeping(kept, live & inputs, False)
