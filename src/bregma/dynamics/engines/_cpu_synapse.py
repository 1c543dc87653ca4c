"""Source code of a projection: its variables in time, sums over its synapses, and events.

Statements at an event mean: the first at all synapses that have the event, then the second, and so
on. They share a loop where nobody can tell the difference, that is where no array that one of them
writes is read or written by the other at synapses of other units.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from bregma.dynamics.engines._cpu_part import Part, Scope, loop
from bregma.dynamics.language._grammar import names_of
from bregma.dynamics.language._print import NUMBA, write, write_program
from bregma.dynamics.network._plan import Plan, Statement

AHEAD = 4  # spikes
OTHER = {"pre": "post", "post": "pre"}
_INDEX = {"pre": "pre__", "post": "post__", "syn": "s__"}
_ALL_ROWS = "for pre__ in range__(np.uint64(0), np.uint64(indptr____a.size - 1)):"
_ROW = "for s__ in range__(indptr____a[pre__], indptr____a[pre__ + np.uint64(1)]):"


def argument_of(plan: Plan, number: int, name: str) -> str:
    """What the kernel calls an array or number that a projection names."""
    q = plan.projections[number]
    side, _, of = name.partition("_n_")
    if of and name not in q.constants and name not in q.fixed:
        population = q.pre if side == "pre" else q.post
        return f"p{[p.name for p in plan.populations].index(population)}_{of}"
    return f"q{number}_{name}"


def advance_part(plan: Plan, number: int, place: str, lazy: Collection[str] = ()) -> Part | None:
    """Variables that are kept at one place, after a step; None where all of them can wait."""
    q, scope = plan.projections[number], Scope()
    program = [a for a in q.advance[place] if a.target.removesuffix("__next") not in lazy]
    if not program:
        return None
    targets = [a.target.removesuffix("__next") for a in program if a.target.endswith("__next")]
    names = _names(plan, number, names_of([a.value for a in program]) | {*targets})
    side = "syn" if place == "synapse" else place
    own = [n for n in names if n.partition("_")[0] == side or n in q.constants]
    lines = write_program(program, NUMBA)
    lines += [f"{n}__a[{_INDEX[side]}] = {n}__next" for n in targets]
    if len(own) == len(names):
        lines = _load(plan, number, names, scope) + lines
        return scope.part(loop(f"for {_INDEX[side]} in range__({targets[0]}__a.size):", lines))
    return _every_synapse(plan, number, names, lines, scope)


def sum_part(plan: Plan, number: int, name: str) -> Part:
    """The sum over synapses that an input of the postsynaptic neuron gets."""
    q, scope = plan.projections[number], Scope()
    total = scope.array("total__", f"q{number}__sum_{name}")
    lines = [f"{total}[post__] = {total}[post__] + {write(q.sums[name], NUMBA)}"]
    names = _names(plan, number, names_of([q.sums[name]]))
    part = _every_synapse(plan, number, names, lines, scope, uses_post=True)
    return Part(f"{total}[:] = F(0.0)\n{part.body}", part.parameters)


def _every_synapse(
    plan: Plan,
    number: int,
    names: list[str],
    lines: list[str],
    scope: Scope,
    uses_post: bool = False,
) -> Part:
    before = _load(plan, number, [n for n in names if n.startswith("pre_")], scope)
    inside = _load(plan, number, [n for n in names if not n.startswith("pre_")], scope)
    if uses_post or any(n.startswith("post_") for n in names):
        inside.insert(0, f"post__ = {scope.array('targets__', f'q{number}__targets')}[s__]")
    scope.array("indptr__", f"q{number}__indptr")
    return scope.part(loop(_ALL_ROWS, before + loop(_ROW, inside + lines)))


# Events


def groups(
    plan: Plan, number: int, statements: Sequence[Statement], side: str
) -> list[list[Statement]]:
    """Statements that may share a loop over the events, in order."""
    found: list[list[Statement]] = []
    for s in statements:
        if found and all(_independent(plan, number, s, other, side) for other in found[-1]):
            found[-1].append(s)
        else:
            found.append([s])
    return found


def _independent(plan: Plan, number: int, a: Statement, b: Statement, side: str) -> bool:
    shared = _uses(plan, number, a), _uses(plan, number, b)
    for statement, other in ((a, shared[1]), (b, shared[0])):
        written = argument_of(plan, number, statement.target)
        places = {p for uses in shared for name, p in uses if name == written}
        if written in {name for name, _ in other} and places not in ({"syn"}, {side}):
            return False
    return True


def _uses(plan: Plan, number: int, s: Statement) -> set[tuple[str, str]]:
    """Arrays that a statement reads or writes, and by which index."""
    names = _names(plan, number, names_of([s.value]) | {s.target})
    return {(argument_of(plan, number, n), n.partition("_")[0]) for n in names}


def snapshots(plan: Plan, number: int, group: Sequence[Statement]) -> list[str]:
    """Names under which statements read what they add to under another name.

    In a population that projects to itself ``pre_n_v`` and ``post_n_v`` are one array. Events of
    one step do not see each other, so such a name is read from a copy.
    """
    found = set()
    for s in group:
        if s.kind == "add":
            target = argument_of(plan, number, s.target)
            found |= {
                n
                for n in _names(plan, number, names_of([s.value]))
                if n != s.target and argument_of(plan, number, n) == target
            }
    return sorted(found)


def events_part(
    plan: Plan,
    number: int,
    group: Sequence[Statement],
    side: str,
    last: bool = True,
    lazy: Collection[str] = (),
) -> Part:
    """Carry out statements at the events of a step, which are those of a slice of spikes.

    `last` says that no further statements follow, so that spikes that arrive at different times
    at different synapses can be moved on to their next synapse. Variables that are `lazy` are
    brought up to date first.
    """
    q, scope = plan.projections[number], Scope()
    spikes = scope.array("units__", f"{_source(plan, number, side)}__units")
    scope.scalar("begin__", "begin")
    scope.scalar("stop__", "stop")
    copied = {n: f"q{number}__before_{n}" for n in snapshots(plan, number, group)}
    if side == "pre" and not isinstance(q.delay, int):
        return _delayed_part(plan, number, group, last, scope, copied, lazy)
    if side == "pre":
        ends = scope.array("indptr__", f"q{number}__indptr")
        first = f"post__ = {scope.array('targets__', f'q{number}__targets')}[s__]"
        row = f"for s__ in range__({ends}[pre__], {ends}[pre__ + np.uint64(1)]):"
    lines = [f"{side}__ = np.uint64({spikes}[e__])"]
    if side == "pre":
        lines += _look_ahead(plan, number, group, ends, scope)
    run: list[Statement] = []
    for s in [*group, None]:
        if s is not None and s.kind != "unit":
            run.append(s)
            continue
        if run:
            names = _names(plan, number, _needed(run))
            near = [
                n for n in names if n.startswith(f"{side}_") and n not in {r.target for r in run}
            ]
            lines += _load(plan, number, near, scope, copied)
            far = [n for n in names if n not in near]
            inside = _statements(plan, number, run, far, scope, copied, lazy)
            uses_other = any(x.startswith(f"{OTHER[side]}_") for x in names)
            if side == "pre":
                lines += loop(row, ([first] if uses_other else []) + inside)
            else:
                lines += _incoming_row(number, names, inside, scope)
            run = []
        if s is not None:
            lines += _statements(plan, number, [s], _names(plan, number, _needed([s])), scope, {})
    return scope.part(loop("for e__ in range__(begin__, stop__):", lines))


def _look_ahead(
    plan: Plan, number: int, group: Sequence[Statement], ends: str, scope: Scope
) -> list[str]:
    """Ask for the row of a spike that comes soon: its targets, and what its synapses have."""
    names = _names(plan, number, _needed(group))
    arrays = [
        scope.array(n, argument_of(plan, number, n))
        for n in names
        if n.startswith("syn_") and n not in plan.projections[number].constants
    ]
    if any(n.startswith("post_") for n in names):
        arrays.append("targets____a")
    if not arrays:
        return []
    lines = [f"ahead__ = {ends}[units____a[min__(e__ + {AHEAD}, stop__ - 1)]]"]
    for array in arrays:
        lines.append(f"prefetch__({array}, ahead__)")
        lines.append(f"prefetch__({array}, ahead__ + np.uint64(64 // {array}.itemsize))")
    return lines


def _incoming_row(number: int, names: Iterable[str], inside: list[str], scope: Scope) -> list[str]:
    """A loop over the synapses that a unit receives."""
    ends = scope.array("incoming__", f"q{number}__incoming")
    head = []
    if any(n.startswith("syn_") for n in names):
        head.append(f"s__ = {scope.array('synapses__', f'q{number}__synapses')}[r__]")
    if any(n.startswith("pre_") for n in names):
        head.append(f"pre__ = {scope.array('sources__', f'q{number}__sources')}[r__]")
    return loop(
        f"for r__ in range__({ends}[post__], {ends}[post__ + np.uint64(1)]):", head + inside
    )


def _delayed_part(
    plan: Plan,
    number: int,
    group: Sequence[Statement],
    last: bool,
    scope: Scope,
    copied: dict[str, str],
    lazy: Collection[str],
) -> Part:
    """Each spike keeps its place in its row of synapses, which is sorted by delay."""
    for name in ("due", "place", "indptr", "delay", "targets"):
        scope.array(f"{name}__", f"q{number}__{name}")
    scope.scalar("k__", "now")
    names = _names(plan, number, _needed(group))
    near = [n for n in names if n.startswith("pre_") and n not in {s.target for s in group}]
    inside = ["post__ = targets____a[s__]"]
    far = [n for n in names if n not in near]
    inside += _statements(plan, number, group, far, scope, copied, lazy)
    lines = [
        "pre__ = np.uint64(units____a[e__])",
        "s__ = place____a[e__]",
        "row_end__ = indptr____a[pre__ + np.uint64(1)]",
        "delay__ = delay____a[s__]",
        *_load(plan, number, near, scope, copied),
        *loop(
            "while s__ < row_end__ and delay____a[s__] == delay__:",
            [*inside, "s__ += np.uint64(1)"],
        ),
    ]
    if last:
        lines += [
            "place____a[e__] = s__",
            "due____a[e__] = k__ + delay____a[s__] - delay__ if s__ < row_end__ else np.int32(-1)",
        ]
    each = loop("if due____a[e__] == k__:", lines)
    return scope.part(loop("for e__ in range__(begin__, stop__):", each))


def _source(plan: Plan, number: int, side: str) -> str:
    q = plan.projections[number]
    population = q.pre if side == "pre" else q.post
    return f"p{[p.name for p in plan.populations].index(population)}"


# Names


def _needed(statements: Sequence[Statement]) -> set[str]:
    return names_of([s.value for s in statements]) | {s.target for s in statements}


def _names(plan: Plan, number: int, names: Iterable[str]) -> list[str]:
    """Those of some names that stand for arrays and numbers of the plan."""
    q = plan.projections[number]
    return sorted(
        n for n in names if n in q.constants or n in q.fixed or n in q.variables or "_n_" in n
    )


def _load(
    plan: Plan,
    number: int,
    names: Iterable[str],
    scope: Scope,
    copied: dict[str, str] | None = None,
) -> list[str]:
    """Lines that give names their values at the indices pre__, post__ and s__."""
    lines = []
    for n in names:
        argument = (copied or {}).get(n) or argument_of(plan, number, n)
        if n in plan.projections[number].constants:
            scope.scalar(n, argument)
        else:
            lines.append(f"{n} = {scope.array(n, argument)}[{_INDEX[n.partition('_')[0]]}]")
    return lines


def _statements(
    plan: Plan,
    number: int,
    statements: Sequence[Statement],
    names: list[str],
    scope: Scope,
    copied: dict[str, str],
    lazy: Collection[str] = (),
) -> list[str]:
    """Load what is needed, compute, and store what was assigned."""
    waiting = [*lazy] if {*lazy} & {*names} else []  # all of a synapse are brought up to date
    lines = _load(plan, number, sorted({*names, *waiting}), scope, copied)
    if waiting:
        last, now = scope.array("last__", f"q{number}__last"), scope.scalar("done__", "done")
        lines += [f"wait__ = {now} - {last}[s__]", f"{last}[s__] = {now}"]
        lines += [
            f"{n} = {n} * {scope.array(n + '__powers', f'q{number}_{n}__powers')}[wait__]"
            for n in waiting
        ]
    for s in statements:
        increment = f"{s.target} + " if s.kind == "add" else ""
        lines.append(f"{s.target} = {increment}{write(s.value, NUMBA)}")
    for target in dict.fromkeys([*(s.target for s in statements), *waiting]):
        lines.append(f"{target}__a[{_INDEX[target.partition('_')[0]]}] = {target}")
    return lines
