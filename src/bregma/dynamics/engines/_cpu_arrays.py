"""Arrays of a kernel: what its arguments stand for, from a plan and a state, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bregma.dynamics.connect._transpose import transpose
from bregma.dynamics.engines._cpu_drawn import values_of_drawn
from bregma.dynamics.engines._cpu_kernels import enter
from bregma.dynamics.engines._cpu_lazy import lazy_variables, powers
from bregma.dynamics.engines._cpu_population import rests_of
from bregma.dynamics.language import _units
from bregma.dynamics.network._hold import FOREVER
from bregma.dynamics.network._network import Poisson, Spikes
from bregma.dynamics.network._plan import Plan, PopulationPlan, ProjectionPlan
from bregma.dynamics.network._state import Probe, State

Array = np.ndarray


class Fixed:
    """What does not change from run to run: numbers of the plan, and its synapses in order.

    whole : where `plan` is that of one thread, the plan of all, which spikes come from.
    order : projection -> its synapses sorted by row and delay, where delays differ.
    """

    def __init__(self, plan: Plan, whole: Plan | None = None) -> None:
        self.whole = plan if whole is None else whole
        self.order: dict[str, Array] = {}
        self.values: dict[str, Any] = {"dt": plan.dt}
        for i, p in enumerate(plan.populations):
            self._population(i, p, plan)
        for j, q in enumerate(plan.projections):
            self._projection(j, q, plan)
        for j, d in enumerate(plan.drives):
            values = d.values if d.values.ndim else d.values[()]
            self.values[f"d{j}"] = np.atleast_2d(values) if d.values.ndim else values
            self.values[f"d{j}__frame"] = d.frame_steps
            if not d.always:  # the last row is for what lies outside of the window
                rows = np.atleast_2d(values)
                self.values[f"d{j}"] = np.concatenate([rows, np.zeros_like(rows[:1])])
                self.values |= {f"d{j}__first": d.first, f"d{j}__last": d.last}
        for j, e in enumerate(plan.poisson):
            self.values |= {f"e{j}__{n}": getattr(e, n) for n in ("mean", "weight", "key")}
        for j, h in enumerate(plan.holds):
            self.values |= {
                f"h{j}__{n}": getattr(h, n) for n in ("units", "values", "first", "last")
            }
            self.values[f"h{j}__frame"] = h.frame_steps

    def _population(self, i: int, p: PopulationPlan, plan: Plan) -> None:
        own: dict[str, Any] = {
            "size": self.whole.population(p.name).size,
            "key": p.key,
            "base": p.first,
            "steps": np.int32(p.refractory_steps),
            "longest": longest_delay(self.whole, p.name),
        }
        if isinstance(p.source, Poisson):
            rates, frame = p.source.rates, FOREVER
            if rates.ndim == 2:
                frame = max(1, round(_units.seconds(p.source.frame, "frame") / plan.dt))
            chance = (np.atleast_2d(rates) * plan.dt).astype(np.float32)
            own["chance"] = np.ascontiguousarray(np.broadcast_to(chance, (len(chance), p.size)))
            own["frame"] = frame
        if isinstance(p.source, Spikes):
            trains = p.source.trains
            steps = np.round(trains.times / plan.dt).astype(np.int64) - 1
            units = trains.unit_index.astype(np.int64) - p.first
            here = (units >= 0) & (units < p.size)
            pairs = np.unique(np.stack([steps[here], units[here]]), axis=1)
            own["planned_steps"] = np.ascontiguousarray(pairs[0])
            own["planned_units"] = pairs[1].astype(np.uint32)
        self.values |= {f"p{i}__{n}": v for n, v in own.items()}
        self.values |= {f"p{i}_{n}": v[()] if v.ndim == 0 else v for n, v in p.constants.items()}

    def _projection(self, j: int, q: ProjectionPlan, plan: Plan) -> None:
        targets, delay = q.targets, q.delay
        if isinstance(delay, np.ndarray):
            rows = np.repeat(np.arange(len(q.indptr) - 1), np.diff(q.indptr))
            order = self.order[q.name] = np.lexsort((delay, rows))
            targets, delay = targets[order], delay[order]
            self.values[f"q{j}__delay"] = delay
        n_post = plan.population(q.post).size
        small = self.whole.population(q.post).size <= 2**16
        own = {
            "indptr": q.indptr.astype(np.uint64),
            "targets": targets.astype(np.uint16 if small else np.uint32, copy=False),
            "longest": q.longest_delay,
        }
        if q.on_post:
            incoming = transpose(q.indptr, targets.astype(np.int32, copy=False), n_post)
            own["incoming"] = incoming.indptr.astype(np.uint64)
            n_pre, n = len(q.indptr) - 1, len(self._projection_of_all(q.name).targets)
            own["sources"] = incoming.sources.astype(np.uint16 if n_pre <= 2**16 else np.uint32)
            own["synapses"] = incoming.synapses.astype(np.uint32 if n < 2**32 else np.uint64)
        self.values |= {f"q{j}__{n}": v for n, v in own.items()}
        if q.drawn is not None:
            self.values |= values_of_drawn(j, q, plan.dtype)
        self.values |= {f"q{j}_{n}": v[()] for n, v in q.constants.items()}
        for name, values in q.fixed.items():
            self.values[f"q{j}_{name}"] = self.sorted(q, name, values)

    def _projection_of_all(self, name: str) -> ProjectionPlan:
        return next(q for q in self.whole.projections if q.name == name)

    def sorted(self, q: ProjectionPlan, name: str, values: Array) -> Array:
        """Values of synapses in the order of the kernel."""
        if q.name in self.order and name.startswith("syn_"):
            return values[self.order[q.name]]
        return values

    def as_planned(self, q: ProjectionPlan, name: str, values: Array) -> Array:
        """Values of synapses in the order of the plan."""
        if q.name not in self.order or not name.startswith("syn_"):
            return values
        found = np.empty_like(values)
        found[self.order[q.name]] = values
        return found


class Run:
    """Arrays of one run: a copy of the state, spikes and traces."""

    def __init__(
        self, plan: Plan, fixed: Fixed, state: State, n_steps: int, probes: Sequence[Probe]
    ) -> None:
        self.plan, self.fixed, self.begin = plan, fixed, state.step
        self.state, self.n_steps = state, n_steps
        self.values: dict[str, Any] = {"k0": state.step, "end": state.step + n_steps}
        for i, p in enumerate(self.plan.populations):
            self._population(i, p)
        self.lazy = [lazy_variables(plan, j, probes) for j in range(len(plan.projections))]
        for j, q in enumerate(self.plan.projections):
            self._projection(j, q)
        for j, e in enumerate(self.plan.poisson):
            self.values[f"e{j}__numbers"] = np.empty(self.plan.population(e.population).size)
        for n, probe in enumerate(probes):
            self._probe(n, probe)

    def arguments(self, names: Sequence[str], k: int) -> list[Any]:
        """What to call the kernel with."""
        known = {**self.fixed.values, **self.values, "k": k}
        return [known[n] for n in names]

    def _population(self, i: int, p: PopulationPlan) -> None:
        given, dtype = self.state.values, self.plan.dtype
        if p.step is not None:
            for n in p.step.states:
                self.values[f"p{i}_{n}"] = aligned(given[f"{p.name}.{n}"], dtype)
            for n in p.step.noises:
                self.values[f"p{i}_{n}__noise"] = aligned(np.zeros(p.size), dtype)
            if rests_of(self.plan, i):
                self.values[f"p{i}__left"] = aligned(given[f"{p.name}.refractory"], np.int32)
        if not p.spikes:
            return
        if self.plan.holds_spikes(p.name):
            self.values[f"p{i}__given"] = np.empty(p.size, np.int8)
        words = aligned(np.zeros(8 * -(-p.size // 64)), np.uint64)  # whole groups of 64 units
        recent, units = given[f"{p.name}.recent"].nonzero()
        longest = len(given[f"{p.name}.recent"])
        first = np.zeros(longest + self.n_steps + 1, np.int64)
        first[: longest + 1] = np.searchsorted(recent, np.arange(longest + 1))
        size = self.fixed.whole.population(p.name).size
        room = len(units) + size * (4 + self.n_steps // 1000)
        spikes = np.empty(room, np.uint32)
        spikes[: len(units)] = units
        self.values |= {
            f"p{i}__words": words,
            f"p{i}__mask": words.view(np.uint8),
            f"p{i}__first": first,
            f"p{i}__units": spikes,
        }

    def _projection(self, j: int, q: ProjectionPlan) -> None:
        for n in q.variables:
            given = self.state.values[f"{q.name}.{n}"]
            self.values[f"q{j}_{n}"] = aligned(self.fixed.sorted(q, n, given), self.plan.dtype)
        for n, factor in self.lazy[j].items():
            self.values[f"q{j}__last"] = np.zeros(len(q.targets), np.uint32)
            self.values[f"q{j}_{n}__powers"] = powers(factor, self.n_steps).astype(self.plan.dtype)
        whole = self.fixed.whole
        size = {"pre": whole.population(q.pre).size, "post": self.plan.population(q.post).size}
        for n in q.sums:
            self.values[f"q{j}__sum_{n}"] = np.empty(size["post"], self.plan.dtype)
        for s in (*q.on_pre, *q.on_post):
            for name in {str(x) for x in s.value.free_symbols} if s.kind == "add" else ():
                side = name.partition("_")[0]
                if side in size:
                    self.values[f"q{j}__before_{name}"] = np.empty(size[side], self.plan.dtype)
        if q.name in self.fixed.order:
            i = [p.name for p in self.plan.populations].index(q.pre)
            units, first = self.values[f"p{i}__units"], self.values[f"p{i}__first"]
            due, place = np.empty(len(units), np.int32), np.empty(len(units), np.uint64)
            indptr, delay = self.fixed.values[f"q{j}__indptr"], self.fixed.values[f"q{j}__delay"]
            longest = longest_delay(whole, q.pre)
            for row in range(longest):
                at = row - longest
                enter(first[row], first[row + 1], units, due, place, at, 0, indptr, delay)
            self.values |= {f"q{j}__due": due, f"q{j}__place": place}

    def _probe(self, n: int, probe: Probe) -> None:
        width, order = 0, None
        for p in self.plan.populations:
            if p.name == probe.owner:
                width = p.size
                self.values[f"w{n}__values"] = np.empty(width, self.plan.dtype)
        for q in self.plan.projections:
            if q.name == probe.owner:
                width = len(q.variables[probe.variable])
                order = self.fixed.as_planned(q, probe.variable, np.arange(width))
        which = np.arange(width) if probe.units is None else np.asarray(probe.units, np.int64)
        which = which if order is None else order[which]
        n_samples = (self.begin + self.n_steps) // probe.every - self.begin // probe.every
        self.values |= {
            f"w{n}__every": probe.every,
            f"w{n}__which": which,
            f"w{n}__out": np.empty((n_samples, len(which)), self.plan.dtype),
        }

    def grow(self) -> None:
        """Twice as much room for spikes."""
        for name in list(self.values):
            if name.endswith(("__units", "__due", "__place")):
                self.values[name] = np.concatenate([self.values[name]] * 2)

    # Results

    def spikes(self, i: int) -> tuple[Array, Array]:
        """Steps and units of a population."""
        p = self.plan.populations[i]
        first = self.values[f"p{i}__first"][longest_delay(self.fixed.whole, p.name) :]
        steps = np.repeat(np.arange(self.begin, self.begin + self.n_steps), np.diff(first))
        return steps, self.values[f"p{i}__units"][first[0] : first[-1]].astype(np.int32)

    def state_at_end(self) -> State:
        """Where the next run goes on."""
        found: dict[str, Array] = {}
        for i, p in enumerate(self.plan.populations):
            for n in p.step.states if p.step is not None else ():
                found[f"{p.name}.{n}"] = self.values[f"p{i}_{n}"]
            if rests_of(self.plan, i):
                assert p.step is not None
                left = self.values[f"p{i}__left"]
                done = self.n_steps if p.step.refractory_while is None else 0
                found[f"{p.name}.refractory"] = np.maximum(left - done, 0).astype(np.int32)
            if p.spikes:
                found[f"{p.name}.recent"] = self._recent(i, p)
        for j, q in enumerate(self.plan.projections):
            for n in self.lazy[j]:
                waited = self.n_steps - self.values[f"q{j}__last"]
                self.values[f"q{j}_{n}"] *= self.values[f"q{j}_{n}__powers"][waited]
            for n in q.variables:
                found[f"{q.name}.{n}"] = self.fixed.as_planned(q, n, self.values[f"q{j}_{n}"])
        values = {n: found[n] if n in found else np.array(v) for n, v in self.state.values.items()}
        return State(self.begin + self.n_steps, values)

    def _recent(self, i: int, p: PopulationPlan) -> Array:
        whole = self.fixed.whole
        longest = longest_delay(whole, p.name)
        recent = np.zeros((longest, whole.population(p.name).size), bool)
        first, units = self.values[f"p{i}__first"], self.values[f"p{i}__units"]
        for row in range(longest):
            recent[row, units[first[self.n_steps + row] : first[self.n_steps + row + 1]]] = True
        return recent

    def traces(self, n_probes: int) -> tuple[Array, ...]:
        """What was written down."""
        return tuple(self.values[f"w{n}__out"] for n in range(n_probes))


def aligned(values: Array, dtype: Any) -> Array:
    """A copy that begins with a cache line: vectors that lie across two take twice as long."""
    n_bytes = len(values) * np.dtype(dtype).itemsize
    space = np.empty(n_bytes + 64, np.uint8)
    begin = -space.ctypes.data % 64
    found = space[begin : begin + n_bytes].view(dtype)
    found[:] = values
    return found


def longest_delay(plan: Plan, population: str) -> int:
    """How far back spikes of a population are still under way, in steps."""
    return max((q.longest_delay for q in plan.projections if q.pre == population), default=0)
