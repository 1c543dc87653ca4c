"""Source code of a projection for GPUs: its variables in time, sums over its synapses, and events.

Synapses lie by delay, then by presynaptic unit: ``indptr`` has a row for each delay that there is.
A program of the grid takes one spike after the other and goes along its row of synapses, block by
block. Statements that follow each other share a kernel where none reads what another adds to.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from bregma.dynamics.engines._cpu_part import Part, Scope, loop
from bregma.dynamics.engines._cpu_synapse import argument_of
from bregma.dynamics.engines._triton_population import ELEMENTS, block_of, number
from bregma.dynamics.engines._triton_print import TRITON
from bregma.dynamics.language._grammar import names_of
from bregma.dynamics.language._print import write, write_program
from bregma.dynamics.network._plan import Plan
from bregma.dynamics.network._plan_parts import Statement

_CLAMPED = [*ELEMENTS, "i__ = tl__.minimum(i__, n__ - 1)"]  # what is read may be an index
_INDEX = {"pre": "pre__", "post": "post__", "syn": "s__"}


def advance_part(plan: Plan, j: int, place: str) -> Part:
    """Variables that are kept at one place, after a step."""
    q, scope = plan.projections[j], Scope()
    program = q.advance[place]
    targets = [a.target.removesuffix("__next") for a in program if a.target.endswith("__next")]
    names = _names(plan, j, names_of([a.value for a in program]) | {*targets})
    side = "syn" if place == "synapse" else place
    lines = [*_CLAMPED, f"{_INDEX[side]} = i__"]
    if side == "syn":
        lines += _ends(j, names, ("sources", "targets"), scope, "i__")
    lines += _load(plan, j, names, scope) + write_program(program, TRITON)
    lines += [f"tl__.store({n}__a + i__, {block_of(f'{n}__next')}, here__)" for n in targets]
    return scope.part(lines)


def _ends(
    j: int, names: Iterable[str], arrays: tuple[str, str], scope: Scope, at: str
) -> list[str]:
    """Lines that give the units on the sides of synapses that names ask for."""
    names = list(names)
    lines = []
    for side, array in zip(("pre", "post"), arrays, strict=True):
        if array and any(n.startswith(f"{side}_") for n in names):
            lines.append(number(scope, f"{side}__", f"q{j}__{array}", f" + {at}"))
    return lines


def sum_part(plan: Plan, j: int, name: str) -> Part:
    """The sum over synapses that an input gets, in the order of the plan."""
    q, scope = plan.projections[j], Scope()
    names = _names(plan, j, names_of([q.sums[name]]))
    near = [n for n in names if n.startswith("post_")]
    inside = [
        "r__ = begin__ + j__",
        "live__ = here__ & (r__ < end__)",
        "r__ = tl__.minimum(r__, last__)",
        number(scope, "s__", f"q{j}__in_synapses", " + r__"),
        *_ends(j, names, ("in_sources", ""), scope, "r__"),
        *_load(plan, j, [n for n in names if n not in near], scope),
        f"value__ = {block_of(write(q.sums[name], TRITON))}",
        "total__ = total__ + tl__.where(live__, value__, 0.0)",
    ]
    lines = [
        *_CLAMPED,
        "post__ = i__",
        *_load(plan, j, near, scope),
        number(scope, "begin__", f"q{j}__incoming", " + i__"),
        "end__ = tl__.load(begin____a + i__ + 1)",
        "last__ = tl__.load(begin____a + n__) - 1",
        "total__ = tl__.zeros((BLOCK__,), F__)",
        *loop("for j__ in range(tl__.max(end__ - begin__, 0).to(tl__.int32)):", inside),
        f"tl__.store({scope.array('out__', f'q{j}__sum_{name}')} + i__, total__, here__)",
    ]
    return scope.part(lines)


# Events


def groups(plan: Plan, j: int, statements: Sequence[Statement]) -> list[list[Statement]]:
    """Statements that may share a kernel, in order."""
    found: list[list[Statement]] = []
    for s in statements:
        read = {argument_of(plan, j, n) for n in _names(plan, j, names_of([s.value]))}
        if (
            found
            and (s.kind == "unit") == (found[-1][0].kind == "unit")
            and not read & {argument_of(plan, j, a.target) for a in adds(found[-1])}
        ):
            found[-1].append(s)
        else:
            found.append([s])
    return found


def adds(group: Iterable[Statement]) -> list[Statement]:
    """Those that add to variables of units, one for each variable and sum."""
    return [s for s in group if s.kind == "add"]


def units_part(plan: Plan, j: int, group: Sequence[Statement], side: str) -> Part:
    """Carry out statements at all units that spiked, or whose spikes arrive."""
    scope = Scope()
    here = _INDEX[side]
    lines = [
        "e__ = b__ + tl__.arange(0, BLOCK__)",
        "here__ = e__ < stop__",
        number(scope, here, f"{_source(plan, j, side)}__units", " + tl__.minimum(e__, stop__ - 1)"),
        *_load(plan, j, _names(plan, j, names_of([s.value for s in group])), scope),
        *_statements(plan, j, group, side, scope),
    ]
    each = "range(begin__ + tl__.program_id(0) * BLOCK__, stop__, tl__.num_programs(0) * BLOCK__)"
    return scope.part([*_spikes(plan, j, side, scope), *loop(f"for b__ in {each}:", lines)])


def rows_part(
    plan: Plan, j: int, group: Sequence[Statement], side: str, bounds: Collection[int] = ()
) -> Part:
    """Carry out statements at all synapses of units that spiked, or whose spikes arrive.

    With `bounds`, numbers of statements of the group, only find how large what they add can be.
    """
    scope = Scope()
    wanted = [s for i, s in enumerate(group) if not bounds or i in bounds or s.kind == "synapse"]
    names = _names(plan, j, names_of([s.value for s in wanted]))
    near = [n for n in names if n.startswith(f"{side}_")]
    far = [n for n in names if n not in near]
    index = far + [s.target for s in adds(group)]
    if side == "pre":
        indptr = scope.array("indptr__", f"q{j}__indptr")
        row = [
            number(scope, "rows__", f"q{j}__rows"),
            f"row__ = {indptr} + tl__.program_id(1) * rows__ + pre__",
        ]
        place = ["s__ = r__", *_ends(j, index, ("", "targets"), scope, "s__")]
    else:
        row = [f"row__ = {scope.array('incoming__', f'q{j}__incoming')} + post__"]
        place = _ends(j, index, ("in_sources", ""), scope, "r__")
        if any(n.startswith("syn_") for n in [*far, *(s.target for s in group)]):
            place.append(number(scope, "s__", f"q{j}__in_synapses", " + r__"))
    inside = [
        "r__ = b__ + tl__.arange(0, BLOCK__)",
        "here__ = r__ < end__",
        "r__ = tl__.minimum(r__, end__ - 1)",
        *place,
        *_load(plan, j, far, scope),
    ]
    if bounds:
        inside += _bounds(plan, j, group, side, bounds, scope)
    else:
        inside += _statements(plan, j, group, side, scope)
    each = [
        number(scope, _INDEX[side], f"{_source(plan, j, side)}__units", " + e__"),
        *row,
        "end__ = tl__.load(row__ + 1)",
        *_load(plan, j, near, scope),
        *loop("for b__ in range(tl__.load(row__), end__, BLOCK__):", inside),
    ]
    before = _spikes(plan, j, side, scope)
    if not bounds:
        for s in adds(group):
            bound = scope.array(f"{s.target}__bound", bound_of(plan, j, side, s))
            before.append(f"{s.target}__up, {s.target}__down = kernels__.powers({bound})")
    first = "begin__ + tl__.program_id(0)"
    return scope.part(
        [*before, *loop(f"for e__ in range({first}, stop__, tl__.num_programs(0)):", each)]
    )


def _spikes(plan: Plan, j: int, side: str, scope: Scope) -> list[str]:
    """Where the spikes lie in the list that arrive now, of which ``n__`` fit."""
    source = _source(plan, j, side)
    delay = "0"
    if side == "pre":
        delay = f"tl__.load({scope.array('delays__', f'q{j}__delays')} + tl__.program_id(1))"
    first = scope.array("first__", f"{source}__first")
    return [
        number(scope, "now__", "clock", " + 1"),
        number(scope, "longest__", f"{source}__longest"),
        f"at__ = {first} + longest__ + now__ - {delay}",
        "begin__ = tl__.load(at__)",
        "stop__ = tl__.minimum(tl__.load(at__ + 1), n__)",
    ]


def _statements(
    plan: Plan, j: int, group: Sequence[Statement], side: str, scope: Scope
) -> list[str]:
    """Compute, store what is assigned, and sum what is added."""
    lines = []
    for s in group:
        index = _INDEX[s.target.partition("_")[0]]
        target = scope.array(s.target, argument_of(plan, j, s.target))
        if s.kind == "add":
            sums = scope.array(f"{s.target}__sums", sums_of(plan, j, s))
            how = "near" if index == _INDEX[side] else "far"
            lines += [
                f"value__ = {block_of(write(s.value, TRITON))}",
                f"kernels__.add_{how}({sums}, {target}, {index}, value__, {s.target}__up, here__)",
            ]
        else:
            lines.append(f"{s.target} = {block_of(write(s.value, TRITON))}")
            lines.append(f"tl__.store({target} + {index}, {s.target}, here__)")
    return lines


def _bounds(
    plan: Plan, j: int, group: Sequence[Statement], side: str, bounds: Collection[int], scope: Scope
) -> list[str]:
    """Compute what would be added, and let its bound cover it."""
    lines = []
    for i, s in enumerate(group):
        if s.kind == "synapse":
            lines.append(f"{s.target} = {block_of(write(s.value, TRITON))}")
        elif i in bounds:
            bound = scope.array(f"{s.target}__bound", bound_of(plan, j, side, s))
            lines.append(f"value__ = {block_of(write(s.value, TRITON))}")
            lines.append(f"kernels__.widen({bound}, value__, here__)")
    return lines


def sums_of(plan: Plan, j: int, s: Statement) -> str:
    """Name of the sums of what is added to a variable."""
    return f"{argument_of(plan, j, s.target)}__sums"


def bound_of(plan: Plan, j: int, side: str, s: Statement) -> str:
    """Name of the bound of what a projection adds to a variable at events of one side."""
    return f"q{j}__{side}_{argument_of(plan, j, s.target)}__bound"


def _source(plan: Plan, j: int, side: str) -> str:
    q = plan.projections[j]
    population = q.pre if side == "pre" else q.post
    return f"p{[p.name for p in plan.populations].index(population)}"


def _names(plan: Plan, j: int, names: Iterable[str]) -> list[str]:
    """Those of some names that stand for arrays and numbers of the plan."""
    q = plan.projections[j]
    known = {*q.constants, *q.fixed, *q.variables}
    return sorted(n for n in names if n in known or "_n_" in n)


def _load(plan: Plan, j: int, names: Iterable[str], scope: Scope) -> list[str]:
    """Lines that give names their values at the indices pre__, post__ and s__."""
    lines = []
    for n in names:
        single = n in plan.projections[j].constants
        at = "" if single else f" + {_INDEX[n.partition('_')[0]]}"
        lines.append(number(scope, n, argument_of(plan, j, n), at))
    return lines
