"""Source code of a population for GPUs: one kernel that does all that a unit does in a step.

Names of equations stand as they are; what the engine adds ends with two underscores. Arguments of a
kernel are pointers, those of numbers too, so that nothing is compiled again for other numbers.
``n__`` says how many elements there are; ``clock`` holds the step and how many this run has done.
"""

from __future__ import annotations

from collections.abc import Iterable

from bregma.dynamics.engines._cpu_part import Part, Scope
from bregma.dynamics.engines._cpu_population import rests_of
from bregma.dynamics.engines._triton_print import TRITON
from bregma.dynamics.language._grammar import names_of
from bregma.dynamics.language._integrate import next_of, noise_of
from bregma.dynamics.language._print import write, write_program
from bregma.dynamics.network._plan import Plan

ELEMENTS = [
    "i__ = tl__.program_id(0) * BLOCK__ + tl__.arange(0, BLOCK__)",
    "here__ = i__ < n__",
]
_AT = " + i__, here__"  # outside of the array a value is anything, and is not stored


def block_of(value: str) -> str:
    """A value for each element, also where it is one number."""
    return f"tl__.broadcast_to({value}, (BLOCK__,))"


def number(scope: Scope, name: str, argument: str, at: str = "") -> str:
    """Line that loads a number, or an element of an array."""
    return f"{name} = tl__.load({scope.array(name, argument)}{at})"


def advance_part(plan: Plan, i: int) -> Part:
    """Variables of all units after a step and its reset, and a mark where a unit spiked."""
    p, scope = plan.populations[i], Scope()
    step = p.step
    assert step is not None
    conditions = [e for e in (step.distance, step.refractory_while) if e is not None]
    resets = [a.value for a in step.reset]
    needed = names_of([a.value for a in step.advance] + conditions + resets) | {*step.states}
    lines = [*ELEMENTS, number(scope, "k__", "clock")]
    lines += load(plan, i, needed - {next_of(n) for n in step.states}, scope)
    rests = rests_of(plan, i)
    if rests:
        lines.append(number(scope, "left__", f"p{i}__left", _AT))
        lines.append("resting__ = left__ > 0")
    lines += write_program(step.advance, TRITON)
    for n in step.states:
        new = next_of(n)
        if rests and n in step.held:
            lines.append(f"{new} = tl__.where(resting__, {n}, {new})")
        lines.append(f"{n} = {block_of(new)}")
    if step.distance is not None:
        lines += _fired(plan, i, rests, scope)
    lines += _poisson(plan, i, scope)
    lines += [f"tl__.store({scope.array(n, f'p{i}_{n}')} + i__, {n}, here__)" for n in step.states]
    return scope.part(lines)


def _fired(plan: Plan, i: int, rests: bool, scope: Scope) -> list[str]:
    """Spikes, refractory times and resets."""
    step = plan.populations[i].step
    assert step is not None
    assert step.distance is not None
    lines = [f"fired__ = here__ & ({write(step.distance, TRITON)} > 0.0)"]
    if rests:
        lines.append("fired__ = fired__ & (left__ <= 0)")
    heard = "fired__"
    if plan.holds_spikes(plan.populations[i].name):
        lines.append(number(scope, "given__", f"p{i}__given", _AT))
        lines.append("fired__ = fired__ | (here__ & (given__ == 1))")
        heard = "(fired__ & (given__ != 0))"
    if rests:
        if step.refractory_while is None:
            lines.append(number(scope, "steps__", f"p{i}__steps"))
            after, stays = "steps__", "tl__.maximum(left__ - 1, 0)"
        else:
            after = "1"
            stays = f"tl__.where(resting__ & {write(step.refractory_while, TRITON)}, 1, 0)"
        lines.append(f"left__ = tl__.where(fired__, {after}, {stays}).to(tl__.int32)")
        lines.append("tl__.store(left____a + i__, left__, here__)")
    for a in step.reset:
        lines.append(f"{a.target} = tl__.where(fired__, {write(a.value, TRITON)}, {a.target})")
    mask, counts = scope.array("mask__", f"p{i}__mask"), scope.array("counts__", f"p{i}__counts")
    return [
        *lines,
        f"tl__.store({mask} + i__, {heard}.to(tl__.uint8), here__)",
        f"tl__.store({counts} + tl__.program_id(0), tl__.sum({heard}.to(tl__.int32), 0))",
    ]


def _poisson(plan: Plan, i: int, scope: Scope) -> list[str]:
    """Random events from outside."""
    lines = []
    for j, e in enumerate(plan.poisson):
        if e.population == plan.populations[i].name:
            lines += [
                number(scope, "base__", f"p{i}__base"),
                *(number(scope, f"{n}__{j}__", f"e{j}__{n}") for n in ("mean", "weight", "key")),
                f"mean__{j}__ = {block_of(f'mean__{j}__')}",
                f"count__ = random__.poisson_count(mean__{j}__, key__{j}__, base__ + i__, k__, 0)",
                f"more__ = (count__.to(tl__.float64) * weight__{j}__).to(F__)",
                f"{e.variable} = {e.variable} + more__",
            ]
    return lines


def look_part(plan: Plan, i: int, expression: str, out: str) -> Part:
    """Values of an expression of a population for all its units."""
    p, scope = plan.populations[i], Scope()
    assert p.step is not None
    e = p.step.expressions[expression]
    lines = [*ELEMENTS, number(scope, "k__", "clock"), *load(plan, i, names_of([e]), scope)]
    out = scope.array("out__", out)
    return scope.part([*lines, f"tl__.store({out} + i__, {block_of(write(e, TRITON))}, here__)"])


def load(plan: Plan, i: int, names: Iterable[str], scope: Scope) -> list[str]:
    """Lines that give the names in the equations of a population their values."""
    p = plan.populations[i]
    assert p.step is not None
    streams = {noise_of(n): stream for stream, n in enumerate(p.step.noises)}
    lines: list[str] = []
    for n in sorted(names):
        if n == "t":
            lines.append(number(scope, "dt__", "dt"))
            lines.append("t = (k__.to(tl__.float64) * dt__).to(F__)")
        elif n in p.step.inputs:
            lines += _fed(plan, i, n, scope)
        elif n in streams:
            lines += [number(scope, "key__", f"p{i}__key"), number(scope, "base__", f"p{i}__base")]
            drawn = f"random__.normal_64(key__, base__ + i__, k__, {streams[n]}, 0)"
            lines.append(f"{n} = {drawn}.to(F__)")
        elif n in p.constants and p.constants[n].ndim == 0:
            lines.append(number(scope, n, f"p{i}_{n}"))
        elif n in p.constants or n in p.step.states:
            lines.append(number(scope, n, f"p{i}_{n}", _AT))
    return lines


def _fed(plan: Plan, i: int, name: str, scope: Scope) -> list[str]:
    """What is added up to an input: drives, then sums over synapses."""
    p = plan.populations[i]
    lines: list[str] = []
    terms: list[str] = []
    for j, d in enumerate(plan.drives):
        if (d.population, d.variable) == (p.name, name):
            local, at = f"{name}__{len(terms)}__", ""
            if d.values.ndim or not d.always:
                window = ("first", "last", "frame", "frames")
                lines += [number(scope, f"{n}__{j}__", f"d{j}__{n}") for n in window]
                row = f"kernels__.row_of(k__, {', '.join(f'{n}__{j}__' for n in window)})"
                at = f" + {row}" + (f" * n__{_AT}" if d.values.ndim else "")
            lines.append(number(scope, local, f"d{j}", at))
            terms.append(local)
    for j, q in enumerate(plan.projections):
        if q.post == p.name and name in q.sums:
            local = f"{name}__{len(terms)}__"
            lines.append(number(scope, local, f"q{j}__sum_{name}", _AT))
            terms.append(local)
    total = " + ".join(terms) or TRITON.number.format("0.0")
    return [*lines, f"{name} = {block_of(f'({total})')}"]
