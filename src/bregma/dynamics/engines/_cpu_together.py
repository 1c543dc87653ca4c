"""Source code of the kernel that each of several threads runs, on its part of a network.

A thread writes its spikes into a box. When all populations are advanced the threads meet, and each
copies the spikes of all boxes to its own list, in the order of the units; from there on it does
what a single thread does. There are two boxes, for even and odd steps: while some still read the
one, others are at most at the step after, and write into the other. Threads meet once more where
variables of presynaptic neurons are read, which other threads may be about to change.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from bregma.dynamics.engines._cpu_part import Part
from bregma.dynamics.engines._cpu_source import Source
from bregma.dynamics.language._grammar import names_of
from bregma.dynamics.network._plan import Plan, ProjectionPlan
from bregma.dynamics.network._state import Probe

_OWN = {"units": "box", "n": "m"}  # the list of spikes and its length, and what a thread adds to it
WHOLE = "whole_"  # how the name of a variable begins that is seen with the units of all threads


class Together(Source):
    """Lines of the kernel of one thread."""

    head = "from bregma.dynamics.engines import _cpu_meet as threads\n"

    def __init__(self, plan: Plan, probes: Sequence[Probe]) -> None:
        super().__init__(plan, probes)
        self.early = any(
            reads_pre(q, [*q.sums.values(), *(a.value for x in q.advance.values() for a in x)])
            for q in plan.projections
        )

    def meet(self) -> list[str]:
        self.use("place", "me")
        return [
            "meeting += 1",
            "if not threads.meet(place, me, meeting):",
            "    return -1",
        ]

    def start(self) -> list[str]:
        return ["meeting = 0"]

    def when_read(self) -> list[str]:
        return self.meet() if self.early else []

    def when_done(self) -> list[str]:
        return self.meet() if self.early else []

    def populations(self) -> list[str]:
        lines = ["half = k & 1"]
        for i in self.spiking:
            self.use(f"p{i}__boxes", f"p{i}__begin", f"p{i}__end")
            lines.append(f"p{i}__box = p{i}__boxes[half, p{i}__begin : p{i}__end]")
            lines.append(f"p{i}__m = 0")
        return lines + super().populations()

    def heard(self, i: int) -> list[str]:
        return []

    def all_heard(self) -> list[str]:
        if not self.spiking:
            return []
        self.use("told")
        lines = [f"told[half, me, {c}] = p{i}__m" for c, i in enumerate(self.spiking)]
        lines += self.meet()
        for c, i in enumerate(self.spiking):
            self.use(f"p{i}__edges", f"p{i}__owners")
            heard = f"p{i}__boxes[half], told[half], {c}, p{i}__edges, p{i}__owners"
            lines.append(f"p{i}__n = threads.gather(p{i}__units, p{i}__n, {heard})")
            lines += super().heard(i)
        return lines

    def own(self, part: Part) -> Part:
        def mine(name: str) -> str:
            number, _, kind = name.rpartition("__")
            return f"{number}__{_OWN[kind]}" if kind in _OWN else name

        names = {n: mine(v) for n, v in part.parameters.items()}
        return replace(part, parameters=names, result=mine(part.result))

    def own_spikes(self, i: int) -> tuple[str, str, str]:
        return f"p{i}__box", "0", f"p{i}__m"

    def array(self, j: int, name: str) -> str:
        return _whole(name, super().array(j, name))

    def call(self, part: Part) -> str:
        names = {n: _whole(n, v) for n, v in part.parameters.items()}
        return super().call(replace(part, parameters=names))

    def events_of_group(self, j: int, group: list[Any], copies: list[str], call: str) -> list[str]:
        q = self.plan.projections[j]
        if not reads_pre(q, [s.value for s in group]):
            return [*copies, call]
        return [*self.meet(), *copies, *(self.meet() if copies else []), call, *self.meet()]


def _whole(name: str, array: str) -> str:
    """The array of all threads, where a name stands for variables of presynaptic neurons."""
    return WHOLE + array if name.startswith("pre_n_") and array[0] == "p" else array


def reads_pre(q: ProjectionPlan, values: Iterable[Any]) -> bool:
    """Whether expressions of a projection have variables of presynaptic neurons in them."""
    known = {*q.fixed, *q.constants}
    return any(n.startswith("pre_n_") and n not in known for n in names_of([*values]))


def shared_variables(plan: Plan) -> set[tuple[int, str]]:
    """Variables that are read as those of presynaptic neurons: number of population, and name."""
    numbers, found = {p.name: i for i, p in enumerate(plan.populations)}, set()
    for q in plan.projections:
        values = [*q.sums.values(), *(s.value for s in (*q.on_pre, *q.on_post))]
        values += [a.value for x in q.advance.values() for a in x]
        for n in names_of(values) - {*q.fixed, *q.constants}:
            if n.startswith("pre_n_"):
                found.add((numbers[q.pre], n.removeprefix("pre_n_")))
    return found


def divisible(plan: Plan) -> bool:
    """Whether threads can share a network: no event changes what belongs to another thread.

    Statements that add to variables of the presynaptic neuron do, and those that change at a
    postsynaptic spike what is marked (pre).
    """
    return not any(
        s.target.startswith("pre_n_") or (s in q.on_post and s.target.startswith("pre_"))
        for q in plan.projections
        for s in (*q.on_pre, *q.on_post)
    )
