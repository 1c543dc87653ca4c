"""Source code of a population: one pass over its units, then one over those that spiked.

The pass has no branches, so that LLVM makes vector code of it. What only units that spiked need,
the reset and the end of their refractory time, is left to the second pass.
"""

from __future__ import annotations

from collections.abc import Iterable

from bregma.dynamics.engines._cpu_near import loops, small_arguments
from bregma.dynamics.engines._cpu_part import Part, Scope, loop
from bregma.dynamics.language._grammar import names_of
from bregma.dynamics.language._integrate import next_of, noise_of
from bregma.dynamics.language._print import NUMBA, write, write_program
from bregma.dynamics.network._plan import Plan


def advance_part(plan: Plan, number: int) -> Part:
    """Variables of all units after a step, and a mark where a unit spiked."""
    p, scope = plan.populations[number], Scope()
    step = p.step
    assert step is not None
    conditions = [e for e in (step.distance, step.refractory_while) if e is not None]
    needed = names_of([a.value for a in step.advance] + conditions) | {*step.states}
    lines = load(plan, number, needed - {next_of(n) for n in step.states}, scope)
    rests = rests_of(plan, number)
    if rests:
        left = scope.array("left__", f"p{number}__left")
        now = "np.int32(0)" if step.refractory_while is not None else scope.scalar("k__", "now")
        lines.append(f"resting__ = {left}[i__] > {now}")
    lines += write_program(step.advance, NUMBA)
    if rests:
        lines += [
            f"{next_of(n)} = {n} if resting__ else {next_of(n)}"
            for n in step.states
            if n in step.held
        ]
    if step.distance is not None:
        free = " and not resting__" if rests else ""
        lines.append(f"fires__ = {write(step.distance, NUMBA)} > F(0.0){free}")
        if plan.holds_spikes(p.name):
            given = scope.array("given__", f"p{number}__given")
            lines.append(f"fires__ = fires__ or {given}[i__] == 1")
        mask = scope.array("fired__", f"p{number}__mask")
        lines.append(f"{mask}[i__] = fires__")
    lines += [f"{n}__a[i__] = {next_of(n)}" for n in step.states]
    if step.refractory_while is not None:
        stays = write(step.refractory_while, NUMBA)
        lines.append(f"left____a[i__] = np.int32(1) if resting__ and {stays} else np.int32(0)")
    small = small_arguments(step)
    if small:
        return scope.part(loops(step, small, load(plan, number, names_of(small), scope), lines))
    return scope.part(loop(f"for i__ in range__({step.states[0]}__a.size):", lines))


def fire_part(plan: Plan, number: int) -> Part:
    """Units that spiked go to the list of spikes, are reset and become refractory."""
    p, scope = plan.populations[number], Scope()
    step = p.step
    assert step is not None
    targets = dict.fromkeys(a.target for a in step.reset)
    needed = names_of([a.value for a in step.reset]) | {*targets}
    lines = load(plan, number, needed, scope)
    lines += write_program(step.reset, NUMBA)
    lines += [f"{n}__a[i__] = {n}" for n in targets]
    if rests_of(plan, number):
        left = scope.array("left__", f"p{number}__left")
        if step.refractory_while is None:
            steps, now = scope.scalar("steps__", f"p{number}__steps"), scope.scalar("k__", "now")
            lines.append(f"{left}[i__] = {now} + np.int32(1) + {steps}")
        else:
            lines.append(f"{left}[i__] = np.int32(1)")
    units = scope.array("units__", f"p{number}__units")
    spike = [f"{units}[n__] = i__", "n__ += 1"]
    if plan.holds_spikes(p.name):
        lines += loop(f"if {scope.array('given__', f'p{number}__given')}[i__] != 0:", spike)
    else:
        lines += spike
    words = scope.array("words__", f"p{number}__words")
    mask = scope.array("fired__", f"p{number}__mask")
    scope.scalar("n__", f"p{number}__n")
    eight, size = "np.uint64(8)", f"np.uint64({words}.size)"
    unit = loop(
        f"for i__ in range__({eight} * w__, {eight} * w__ + {eight}):",
        [f"if {mask}[i__]:", *(f"    {line}" for line in lines)],
    )
    word = loop(f"for w__ in range__(c__, c__ + {eight}):", loop(f"if {words}[w__] != 0:", unit))
    any_of_64 = " | ".join(f"{words}[c__ + np.uint64({i})]" for i in range(8))
    body = loop(
        f"for c__ in range__(np.uint64(0), {size}, {eight}):", loop(f"if {any_of_64} != 0:", word)
    )
    return scope.part([*body, "return n__"], result=f"p{number}__n")


def look_part(plan: Plan, number: int, expression: str, out: str) -> Part:
    """Values of an expression of a population for all its units."""
    p, scope = plan.populations[number], Scope()
    assert p.step is not None
    e = p.step.expressions[expression]
    target = scope.array("out__", out)
    lines = load(plan, number, names_of([e]), scope)
    lines.append(f"{target}[i__] = {write(e, NUMBA)}")
    return scope.part(loop(f"for i__ in range__({target}.size):", lines))


def rests_of(plan: Plan, number: int) -> bool:
    """Whether units of a population can be refractory."""
    p = plan.populations[number]
    return p.step is not None and (p.refractory_steps > 0 or p.step.refractory_while is not None)


def load(plan: Plan, number: int, names: Iterable[str], scope: Scope) -> list[str]:
    """Lines that give the names in the equations of a population their values at unit i__."""
    p = plan.populations[number]
    assert p.step is not None
    noises = {noise_of(n) for n in p.step.noises}
    lines = []
    for n in sorted(names):
        if n == "t":
            scope.scalar("t", "t")
        elif n in p.step.inputs:
            terms = _feeds(plan, number, n, scope)
            lines.append(f"{n} = {' + '.join(terms) or 'F(0.0)'}")
        elif n in p.constants and p.constants[n].ndim == 0:
            scope.scalar(n, f"p{number}_{n}")
        elif n in p.constants or n in p.step.states or n in noises:
            lines.append(f"{n} = {scope.array(n, f'p{number}_{n}')}[i__]")
    return lines


def _feeds(plan: Plan, number: int, name: str, scope: Scope) -> list[str]:
    """What is added up to an input: drives, then sums over synapses."""
    p = plan.populations[number]
    terms: list[str] = []
    for j, d in enumerate(plan.drives):
        if (d.population, d.variable) == (p.name, name):
            local = f"{name}__{len(terms)}"
            if d.values.ndim == 0:
                terms.append(scope.scalar(local, f"d{j}"))
            else:
                terms.append(scope.array(local, f"d{j}__row") + "[i__]")
    for j, q in enumerate(plan.projections):
        if q.post == p.name and name in q.sums:
            local = f"{name}__{len(terms)}"
            terms.append(scope.array(local, f"q{j}__sum_{name}") + "[i__]")
    return terms
