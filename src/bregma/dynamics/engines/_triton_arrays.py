"""Tensors of a network on a device: what the arguments of its kernels stand for, and back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bregma.dynamics.connect._transpose import transpose
from bregma.dynamics.engines import _cpu_arrays
from bregma.dynamics.engines._cpu_arrays import longest_delay
from bregma.dynamics.engines._cpu_population import rests_of
from bregma.dynamics.engines._triton_synapse import adds, bound_of, sums_of
from bregma.dynamics.language._evaluate import evaluate
from bregma.dynamics.language._grammar import names_of
from bregma.dynamics.network._hold import FREE, SPIKES
from bregma.dynamics.network._network import Spikes
from bregma.dynamics.network._plan import Plan
from bregma.dynamics.network._plan_parts import PopulationPlan, ProjectionPlan, Statement
from bregma.dynamics.network._state import Probe, State

Array = np.ndarray


class Fixed(_cpu_arrays.Fixed):
    """What does not change from run to run, on the device.

    Synapses are sorted by delay, then by presynaptic unit. ``indptr`` (delay, pre + 1) says where
    they lie, so it takes 8 bytes for each presynaptic unit and each delay that there is.
    """

    def __init__(self, plan: Plan, device: torch.device) -> None:
        self.device = device
        super().__init__(plan)
        for j, d in enumerate(plan.drives):
            values = self.values[f"d{j}"]
            self.values[f"d{j}__frames"] = len(values) if np.ndim(values) else 1
            self.values |= {f"d{j}__first": d.first, f"d{j}__last": d.last}
        for j, h in enumerate(plan.holds):
            self.values[f"h{j}__frames"] = len(h.values)
        for i in range(len(plan.populations)):
            if f"p{i}__chance" in self.values:
                self.values[f"p{i}__frames"] = len(self.values[f"p{i}__chance"])
        self._made: dict[str, Tensor] = {}
        self.sources: dict[tuple[tuple[str, str], ...], Any] = {}  # by what is looked at

    def tensor(self, name: str) -> Tensor:
        """The tensor of an argument."""
        if name not in self._made:
            self._made[name] = torch.from_numpy(np.array(self.values[name])).to(self.device)
        return self._made[name]

    def _projection(self, j: int, q: ProjectionPlan, plan: Plan) -> None:
        n_pre = len(q.indptr) - 1
        sources = np.repeat(np.arange(n_pre, dtype=np.int32), np.diff(q.indptr))
        targets, delays, starts = q.targets, np.unique(q.delay), np.asarray(q.indptr)
        if isinstance(q.delay, np.ndarray):
            order = self.order[q.name] = np.lexsort((sources, q.delay))
            row = np.searchsorted(delays, q.delay[order]) * n_pre + sources[order]
            starts = np.searchsorted(row, np.arange(len(delays) * n_pre + 1))
            each = np.arange(len(delays))[:, None] * n_pre + np.arange(n_pre + 1)
            sources, targets, starts = sources[order], targets[order], starts[each]
        own: dict[str, Array | int] = {
            "indptr": starts.astype(np.int64),
            "rows": n_pre + 1,
            "delays": delays.astype(np.int64),
            "sources": sources,
            "targets": targets.astype(np.int32),
        }
        if q.on_post or q.sums:
            incoming = transpose(q.indptr, q.targets, plan.population(q.post).size)
            place = self.as_planned(q, "syn_", np.arange(len(targets)))
            own |= {
                "incoming": incoming.indptr,
                "in_sources": incoming.sources,
                "in_synapses": place[incoming.synapses],
            }
        self.values |= {f"q{j}__{n}": v for n, v in own.items()}
        self.values |= {f"q{j}_{n}": v[()] for n, v in q.constants.items()}
        for name, values in q.fixed.items():
            self.values[f"q{j}_{name}"] = self.sorted(q, name, values)
        for side, statements in (("pre", q.on_pre), ("post", q.on_post)):
            for s in adds(statements):
                self.values[bound_of(plan, j, side, s)] = self._bound(plan, j, s, statements)

    def _bound(self, plan: Plan, j: int, s: Statement, statements: Sequence[Statement]) -> Array:
        """Bits of the largest term where it is known, and of the number of terms; else -1."""
        q = plan.projections[j]
        alike = [a for a in adds(statements) if a.target == s.target]
        ends = self.values[f"q{j}__{'sources' if s.target.startswith('pre_') else 'targets'}"]
        most = int(np.bincount(ends, minlength=1).max(initial=0)) * len(alike)
        largest = [known_bound(self, j, q, a) for a in alike]
        bits = -1
        if None not in largest:
            bits = int(np.float64(max(x for x in largest if x is not None)).view(np.int64))
        return np.array([bits, math.ceil(math.log2(most + 1))], np.int64)


def known_bound(fixed: Fixed, j: int, q: ProjectionPlan, s: Statement) -> float | None:
    """Largest size of what a statement adds, None where that changes."""
    names = names_of([s.value])
    if names - {*q.fixed, *q.constants}:
        return None
    where = {
        "pre": fixed.values[f"q{j}__sources"],
        "post": fixed.values[f"q{j}__targets"],
        "syn": slice(None),
    }
    env: dict[str, Any] = {n: torch.from_numpy(np.asarray(v)) for n, v in q.constants.items()}
    for n in names & set(q.fixed):
        values = fixed.values[f"q{j}_{n}"][where[n.partition("_")[0]]]
        env[n] = torch.from_numpy(np.ascontiguousarray(values))
    terms = torch.as_tensor(evaluate(s.value, env)).double().abs()
    terms = terms[torch.isfinite(terms)]
    return float(terms.max()) * (1 + 1e-6) if terms.numel() else 0.0  # engines round differently


class Run:
    """Tensors of one run: a copy of the state, spikes and traces."""

    def __init__(
        self,
        plan: Plan,
        fixed: Fixed,
        state: State,
        n_steps: int,
        probes: Sequence[Probe],
        room: Mapping[str, int],
    ) -> None:
        self.plan, self.fixed, self.state, self.n_steps = plan, fixed, state, n_steps
        self.room: dict[str, int] = {}
        self.rows_written = [0] * len(probes)
        arrays: dict[str, Array] = {"clock": np.array([state.step, 0], np.int64)}
        for i, p in enumerate(plan.populations):
            arrays |= self._population(i, p, room)
        for j, q in enumerate(plan.projections):
            for n in q.variables:
                given = state.values[f"{q.name}.{n}"]
                arrays[f"q{j}_{n}"] = np.array(fixed.sorted(q, n, given), plan.dtype)
            size = plan.population(q.post).size
            arrays |= {f"q{j}__sum_{n}": np.zeros(size, plan.dtype) for n in q.sums}
            for s in adds((*q.on_pre, *q.on_post)):
                size = plan.population(q.pre if s.target.startswith("pre_") else q.post).size
                arrays[sums_of(plan, j, s)] = np.zeros(size, np.int64)
        for number, probe in enumerate(probes):
            arrays |= self._probe(number, probe)
        self.values = {n: torch.from_numpy(a).to(fixed.device) for n, a in arrays.items()}

    def tensor(self, name: str) -> Tensor:
        """The tensor of an argument."""
        return self.values[name] if name in self.values else self.fixed.tensor(name)

    def _population(self, i: int, p: PopulationPlan, room: Mapping[str, int]) -> dict[str, Array]:
        given, found = self.state.values, {}
        if p.step is not None:
            for n in p.step.states:
                found[f"p{i}_{n}"] = np.array(given[f"{p.name}.{n}"], self.plan.dtype)
            if rests_of(self.plan, i):
                found[f"p{i}__left"] = np.array(given[f"{p.name}.refractory"], np.int32)
        if not p.spikes:
            return found
        recent, units = given[f"{p.name}.recent"].nonzero()
        longest = len(given[f"{p.name}.recent"])
        first = np.zeros(longest + self.n_steps + 1, np.int64)
        first[: longest + 1] = np.searchsorted(recent, np.arange(longest + 1))
        if isinstance(p.source, Spikes):
            steps, planned = self._planned(i, p)
            first[longest:] = len(units) + np.searchsorted(steps, np.arange(self.n_steps + 1))
            units = np.append(units, planned)
        most = max(len(units), room.get(p.name, p.size * (4 + self.n_steps // 100)))
        spikes = np.zeros(most, np.int32)
        spikes[: len(units)] = units
        self.room[p.name] = most
        if self.plan.holds_spikes(p.name):
            found[f"p{i}__given"] = np.full(p.size, FREE, np.int8)
        return found | {
            f"p{i}__mask": np.zeros(p.size, np.uint8),
            f"p{i}__counts": np.zeros(p.size, np.int32),
            f"p{i}__first": first,
            f"p{i}__units": spikes,
        }

    def _planned(self, i: int, p: PopulationPlan) -> tuple[Array, Array]:
        """Steps of this run and units of spikes that are known beforehand."""
        steps = self.fixed.values[f"p{i}__planned_steps"] - self.state.step
        now = (steps >= 0) & (steps < self.n_steps)
        steps, units = steps[now], self.fixed.values[f"p{i}__planned_units"][now]
        if not self.plan.holds_spikes(p.name):
            return steps, units
        fired = np.zeros((self.n_steps, p.size), bool)
        fired[steps, units] = True
        for k in range(self.n_steps):
            for h in self.plan.holds:
                row = h.row(self.state.step + k)
                if (h.population, h.variable) == (p.name, SPIKES) and row is not None:
                    held = row != FREE
                    fired[k, h.units[held]] = row[held]
        steps, units = fired.nonzero()
        return steps, units

    def _probe(self, n: int, probe: Probe) -> dict[str, Array]:
        width, order = 0, None
        for p in self.plan.populations:
            width = p.size if p.name == probe.owner else width
        found = {f"w{n}__values": np.zeros(width, self.plan.dtype)}
        for q in self.plan.projections:
            if q.name == probe.owner:
                width = len(q.variables[probe.variable])
                order = self.fixed.as_planned(q, probe.variable, np.arange(width))
        which = np.arange(width) if probe.units is None else np.asarray(probe.units, np.int64)
        which = which if order is None else order[which]
        begin = self.state.step
        n_samples = (begin + self.n_steps) // probe.every - begin // probe.every
        return found | {
            f"w{n}__which": which,
            f"w{n}__out": np.zeros((n_samples, len(which)), self.plan.dtype),
        }

    # Results

    def spikes_that_need_room(self) -> dict[str, int]:
        """Population -> how long its list should have been."""
        made = {
            p.name: int(self.values[f"p{i}__first"][-1])
            for i, p in enumerate(self.plan.populations)
            if p.spikes
        }
        return {n: m for n, m in made.items() if m > self.room[n]}

    def array(self, name: str) -> Array:
        """Values of a tensor at the end."""
        return self.values[name].cpu().numpy()

    def _list(self, i: int) -> tuple[Array, Array, int]:
        longest = longest_delay(self.plan, self.plan.populations[i].name)
        return self.array(f"p{i}__first"), self.array(f"p{i}__units"), longest

    def spikes(self, i: int) -> tuple[Array, Array]:
        """Steps and units of a population."""
        first, units, longest = self._list(i)
        steps = np.arange(self.state.step, self.state.step + self.n_steps)
        counts = np.diff(first[longest:])
        return np.repeat(steps, counts), units[first[longest] : first[-1]].copy()

    def state_at_end(self) -> State:
        """Where the next run goes on."""
        found: dict[str, Array] = {n: np.array(v) for n, v in self.state.values.items()}
        for i, p in enumerate(self.plan.populations):
            for n in p.step.states if p.step is not None else ():
                found[f"{p.name}.{n}"] = self.array(f"p{i}_{n}")
            if rests_of(self.plan, i):
                found[f"{p.name}.refractory"] = self.array(f"p{i}__left")
            if p.spikes:
                first, units, longest = self._list(i)
                recent = np.zeros((longest, p.size), bool)
                for row in range(longest):
                    at = self.n_steps + row
                    recent[row, units[first[at] : first[at + 1]]] = True
                found[f"{p.name}.recent"] = recent
        for j, q in enumerate(self.plan.projections):
            for n in q.variables:
                values = self.array(f"q{j}_{n}")
                found[f"{q.name}.{n}"] = self.fixed.as_planned(q, n, values)
        return State(self.state.step + self.n_steps, found)
