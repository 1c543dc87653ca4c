"""Divide a network among threads: each has a range of every population, and the synapses onto it.

All that is added to a unit is added by one thread, in the order in which a single thread adds it,
so that the number of threads changes no bit. Spikes are all that threads tell each other at every
step. Variables marked (pre) are kept by every thread. Ranges begin where blocks of units begin that
the compiled code looks at together, and at cache lines.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from bregma.dynamics.engines._cpu_near import BLOCK, small_arguments
from bregma.dynamics.engines._cpu_rows import Rows, rows_of_parts
from bregma.dynamics.network._network import Spikes
from bregma.dynamics.network._plan import Plan, PopulationPlan, ProjectionPlan
from bregma.dynamics.network._plan_slice import driven, held, of_post, sliced
from bregma.dynamics.network._state import Outcome, Probe, State

Array = np.ndarray
LINE = 64  # units, of which even single bytes fill a cache line


@dataclass(frozen=True)
class Ranges:
    """Ranges of the units of a population: the first begins with unit 0, each where one ends.

    edges : where they begin, and the number of units.
    owners : which thread has each.
    """

    edges: Array
    owners: Array

    def of(self, thread: int) -> tuple[int, int]:
        """The units of a thread: its first, and the one behind its last."""
        i = int(np.flatnonzero(self.owners == thread)[0])
        return int(self.edges[i]), int(self.edges[i + 1])


class Division:
    """A network in as many parts as there are threads.

    ranges : population -> who has which units.
    plans : of the parts; spikes come from the numbers of units in the whole network.
    """

    def __init__(self, plan: Plan, n_threads: int) -> None:
        self.whole, self.n = plan, n_threads
        self.ranges = _ranges(plan, n_threads)
        self._order: dict[str, list[Array]] = {}
        projections = [self._projections(q) for q in plan.projections]
        self.plans = [self._plan(t, [q[t] for q in projections]) for t in range(n_threads)]

    def _plan(self, t: int, projections: Sequence[ProjectionPlan]) -> Plan:
        whole = self.whole
        own = {name: r.of(t) for name, r in self.ranges.items()}
        return replace(
            whole,
            populations=tuple(sliced(p, *own[p.name]) for p in whole.populations),
            projections=tuple(projections),
            drives=tuple(driven(d, *own[d.population]) for d in whole.drives),
            holds=tuple(held(h, *own[h.population]) for h in whole.holds),
        )

    def _projections(self, q: ProjectionPlan) -> list[ProjectionPlan]:
        """What each thread has of a projection; of first values only how many there are."""
        ranges = self.ranges[q.post]
        arrays = {**q.variables, **q.fixed}
        listed = isinstance(q.delay, np.ndarray) or any(n.startswith("syn_") for n in arrays)
        rows = _rows(q, ranges.edges, listed)
        found = []
        for t in range(self.n):
            indptr, targets, order = rows[int(np.flatnonzero(ranges.owners == t)[0])]
            begin, end = ranges.of(t)
            if listed:
                self._order.setdefault(q.name, []).append(order)
            variables, fixed = of_post(q, begin, end)
            drawn = q.drawn
            if drawn is not None:
                drawn = replace(drawn, begin=drawn.begin + begin, end=drawn.begin + end)
            delay = q.delay[order] if isinstance(q.delay, np.ndarray) else q.delay
            found.append(
                replace(
                    q,
                    indptr=indptr,
                    targets=targets,
                    delay=delay,
                    variables={n: _as_long(v) for n, v in self._listed(q, variables, t).items()},
                    fixed=self._listed(q, fixed, t),
                    drawn=drawn,
                )
            )
        return found

    def _listed(self, q: ProjectionPlan, arrays: Mapping[str, Any], t: int) -> dict[str, Any]:
        """Arrays of which those with a number for each synapse are cut to those of a thread."""
        own = self._order.get(q.name)
        return {
            n: v[own[t]] if own is not None and n.startswith("syn_") else v
            for n, v in arrays.items()
        }

    # State and traces

    @cached_property
    def _cuts(self) -> dict[str, Any]:
        """Name of an array in the state to how it is divided: "all", ranges, or synapses."""
        found: dict[str, Any] = {}
        for p in self.whole.populations:
            names = [*(p.step.states if p.step is not None else ()), "refractory"]
            found |= {f"{p.name}.{n}": self.ranges[p.name] for n in names}
            found[f"{p.name}.recent"] = "all"
        for q in self.whole.projections:
            side = {"syn": self._order.get(q.name), "pre": "all", "post": self.ranges[q.post]}
            found |= {f"{q.name}.{n}": side[n.partition("_")[0]] for n in q.variables}
        return found

    def state(self, state: State, t: int) -> State:
        """What one thread needs of a state."""
        return State(state.step, {n: v[self._which(n, t)] for n, v in state.values.items()})

    def joined(self, state: State, parts: Sequence[State]) -> State:
        """The state of the whole network, in arrays of its own."""
        values = {}
        for n, v in state.values.items():
            if isinstance(self._cuts.get(n, "all"), str):
                values[n] = parts[0].values[n]
                continue
            values[n] = np.empty_like(v)
            for t, part in enumerate(parts):
                values[n][self._which(n, t)] = part.values[n]
        return State(parts[0].step, values)

    def _which(self, name: str, t: int) -> Any:
        """Index of what a thread has of an array of the state."""
        cut = self._cuts.get(name, "all")
        if isinstance(cut, Ranges):
            return slice(*cut.of(t))
        return slice(None) if isinstance(cut, str) else cut[t]

    def probe(self, probe: Probe, t: int) -> tuple[Probe, Array]:
        """What one thread writes down, and in which columns of the trace that is."""
        name = f"{probe.owner}.{probe.variable}"
        cut = self.ranges.get(probe.owner) or self._cuts[name]
        if isinstance(cut, Ranges):
            own = np.arange(*cut.of(t))
        elif isinstance(cut, str):  # every thread has all of it
            width = len(self._projection(probe.owner).variables[probe.variable])
            own = np.arange(width if t == 0 else 0)
        else:
            own = cut[t]
        if probe.units is None:
            return replace(probe, units=np.arange(len(own))), own
        by_number = np.argsort(own, kind="stable")
        place = np.searchsorted(own, probe.units, sorter=by_number)
        here = place < len(own)
        place = by_number[place[here]]
        columns = np.flatnonzero(here)
        mine = own[place] == np.asarray(probe.units)[columns]
        return replace(probe, units=place[mine]), columns[mine]

    def _projection(self, name: str) -> ProjectionPlan:
        return next(q for q in self.whole.projections if q.name == name)

    def outcome(
        self, state: State, parts: Sequence[Outcome], columns: Sequence[Sequence[Array]]
    ) -> Outcome:
        """What all threads have found; `columns` of each thread for each probe."""
        traces = []
        for i, first in enumerate(parts[0].traces):
            width = sum(len(own[i]) for own in columns)
            trace = np.empty((len(first), width), first.dtype)
            for part, own in zip(parts, columns, strict=True):
                trace[:, own[i]] = part.traces[i]
            traces.append(trace)
        ended = self.joined(state, [part.state for part in parts])
        return Outcome(parts[0].spikes, tuple(traces), ended)


def _ranges(plan: Plan, n: int) -> dict[str, Ranges]:
    """About as many units of each population for every thread, and of all of them together."""
    found, taken = {}, np.zeros(n, np.int64)
    for p in plan.populations:
        block = block_of(p)
        n_blocks = -(-p.size // block)
        edges = np.minimum(block * (n_blocks * np.arange(n + 1) // n), p.size)
        sizes = np.diff(edges)
        owners = np.empty(n, np.int64)  # the largest range goes to who has least
        owners[np.argsort(-sizes, kind="stable")] = np.argsort(taken, kind="stable")
        taken[owners] += sizes
        found[p.name] = Ranges(edges, owners)
    return found


def block_of(p: PopulationPlan) -> int:
    """Units that stay together, as what is computed for one depends on all."""
    if p.step is not None and small_arguments(p.step):
        return BLOCK
    return 1 if isinstance(p.source, Spikes) else LINE


def _as_long(values: Array) -> Array:
    """An array of the same shape that takes no memory."""
    return np.broadcast_to(np.zeros((), values.dtype), values.shape)


_known: dict[int, tuple[Array, list[Rows]]] = {}


def _rows(q: ProjectionPlan, edges: Array, listed: bool) -> list[Rows]:
    """Synapses onto each range, kept for as long as the projection: trials have other plans."""
    if id(q) not in _known:
        weakref.finalize(q, _known.pop, id(q), None)
    before, rows = _known.get(id(q), (None, []))
    if before is None or not np.array_equal(before, edges):
        rows = rows_of_parts(q.indptr, q.targets, edges, listed)
        _known[id(q)] = edges, rows
    return rows
