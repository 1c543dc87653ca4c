"""The reference engine: eager PyTorch, one operation after the other, slow and obviously right."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from bregma.dynamics.language import _units
from bregma.dynamics.language._evaluate import evaluate
from bregma.dynamics.language._grammar import names_of
from bregma.dynamics.language._integrate import next_of, noise_of
from bregma.dynamics.network._hold import FREE, SPIKES
from bregma.dynamics.network._network import Poisson, Spikes
from bregma.dynamics.network._plan import Plan, PopulationPlan, ProjectionPlan, Statement
from bregma.dynamics.network._state import Outcome, Probe, State, width_of
from bregma.dynamics.randomness import _random

Tensor = torch.Tensor


def run(plan: Plan, state: State, n_steps: int, probes: Sequence[Probe] = ()) -> Outcome:
    """Run a network for some steps.

    Parameters
    ----------
    plan : Plan
        The network with its numbers.
    state : State
        Where to begin; it is not changed.
    n_steps : int
        How many steps.
    probes : sequence of Probe
        What to write down.

    Returns
    -------
    Outcome
        Spikes, traces and the state at the end.
    """
    world = _World(plan.stored, state)
    world.hold(state.step)
    spikes: dict[str, list[Any]] = {p.name: [] for p in plan.populations if p.spikes}
    traces: list[list[np.ndarray]] = [[] for _ in probes]
    for k in range(state.step, state.step + n_steps):
        fired = world.advance(k)
        world.deliver(k, fired)
        world.hold(k + 1)
        for name, which in fired.items():
            units = which.nonzero()[:, 0].numpy().astype(np.int32)
            spikes[name].append((np.full(len(units), k, np.int64), units))
        for probe, trace in zip(probes, traces, strict=True):
            if (k + 1) % probe.every == 0:
                trace.append(world.look(probe, k + 1))
    return Outcome(
        spikes={
            n: (
                np.concatenate([np.empty(0, np.int64), *(s for s, _ in found)]),
                np.concatenate([np.empty(0, np.int32), *(u for _, u in found)]),
            )
            for n, found in spikes.items()
        },
        traces=tuple(
            np.stack(t) if t else np.empty((0, width_of(plan, p)), plan.dtype)
            for p, t in zip(probes, traces, strict=True)
        ),
        state=State(state.step + n_steps, {n: v.numpy().copy() for n, v in world.values.items()}),
    )


class _World:
    """The tensors of a run: those of the state, and the synapses."""

    def __init__(self, plan: Plan, state: State) -> None:
        self.plan = plan
        self.values = {n: torch.from_numpy(np.array(v)) for n, v in state.values.items()}
        self.dtype = torch.from_numpy(np.empty(0, plan.dtype)).dtype
        self.synapses = {
            q.name: (
                torch.from_numpy(np.repeat(np.arange(len(q.indptr) - 1), np.diff(q.indptr))),
                torch.from_numpy(q.targets.astype(np.int64)),
            )
            for q in plan.projections
        }
        self.planned = {
            p.name: planned_spikes(p, plan.dt)
            for p in plan.populations
            if isinstance(p.source, Spikes)
        }

    # Time

    def advance(self, k: int) -> dict[str, Tensor]:
        """Advance everything by one step; who fired."""
        sums = {q.name: self._sums(q) for q in self.plan.projections if q.sums}
        traces = {q.name: self._advanced(q) for q in self.plan.projections}
        fired = {}
        for p in self.plan.populations:
            if p.step is None:
                given = self._given(p, k)
                fired[p.name] = torch.where(given == FREE, self._source(p, k), given == 1)
                continue
            which = self._population(p, k, sums)
            if which is not None:
                fired[p.name] = which
        for name, new in traces.items():
            self.values |= {f"{name}.{n}": v for n, v in new.items()}
        return fired

    def _population(
        self, p: PopulationPlan, k: int, sums: Mapping[str, Mapping[str, Tensor]]
    ) -> Tensor | None:
        step = p.step
        assert step is not None
        env = self._environment(p, k, sums)
        for stream, n in enumerate(step.noises):
            drawn = _random.normal(p.key, p.numbers, k, stream, dtype=self.plan.dtype)
            env[noise_of(n)] = torch.from_numpy(drawn)
        for a in step.advance:
            env[a.target] = evaluate(a.value, env)
        refractory = self.values[f"{p.name}.refractory"]
        resting = refractory > 0
        for n in step.states:
            new = torch.as_tensor(env[next_of(n)], dtype=self.dtype).broadcast_to(p.size)
            env[next_of(n)] = torch.where(resting, env[n], new) if n in step.held else new
        for n in step.states:
            self.values[f"{p.name}.{n}"] = env[n] = env[next_of(n)].clone()
        if step.distance is None:
            return None
        fired = (torch.as_tensor(evaluate(step.distance, env)) > 0).broadcast_to(p.size) & ~resting
        given = self._given(p, k)
        fired = fired | (given == 1)
        if step.refractory_while is None:
            left = torch.clamp(refractory - 1, min=0)
            after = torch.full_like(refractory, p.refractory_steps)
        else:
            stays = torch.as_tensor(evaluate(step.refractory_while, env))
            left = (resting & stays).to(refractory.dtype)
            after = torch.ones_like(refractory)
        self.values[f"{p.name}.refractory"] = torch.where(fired, after, left)
        for a in step.reset:
            new = torch.as_tensor(evaluate(a.value, env), dtype=self.dtype)
            env[a.target] = torch.where(fired, new, env[a.target])
            self.values[f"{p.name}.{a.target}"] = env[a.target]
        return fired & (given != 0)

    def _given(self, p: PopulationPlan, k: int) -> Tensor:
        """Who is to spike (1) or not (0) at a step, where this is held."""
        given = np.full(p.size, FREE, np.int8)
        for h in self.plan.holds:
            row = h.row(k)
            if (h.population, h.variable) == (p.name, SPIKES) and row is not None:
                held = row != FREE
                given[h.units[held]] = row[held]
        return torch.from_numpy(given)

    def hold(self, n_done: int) -> None:
        """Set the variables that are held after some steps."""
        for h in self.plan.holds:
            row = h.row(n_done)
            if h.variable == SPIKES or row is None:
                continue
            held = ~np.isnan(row)
            values = self.values[f"{h.population}.{h.variable}"].clone()
            values[torch.from_numpy(h.units[held])] = torch.from_numpy(row[held])
            self.values[f"{h.population}.{h.variable}"] = values

    def _environment(
        self, p: PopulationPlan, k: int, sums: Mapping[str, Mapping[str, Tensor]]
    ) -> dict[str, Any]:
        """Constants, variables and inputs of a population at the beginning of a step."""
        assert p.step is not None
        env: dict[str, Any] = {n: torch.from_numpy(np.asarray(c)) for n, c in p.constants.items()}
        env |= {n: self.values[f"{p.name}.{n}"] for n in p.step.states}
        env |= {n: torch.zeros(p.size, dtype=self.dtype) for n in p.step.inputs}
        if "t" in p.step.inputs:
            env["t"] = torch.full((p.size,), k * self.plan.dt, dtype=self.dtype)
        for d in self.plan.drives:
            if d.population == p.name and d.first <= k < d.last:
                values = d.values
                if values.ndim == 2:
                    values = values[min((k - d.first) // d.frame_steps, len(values) - 1)]
                env[d.variable] = env[d.variable] + torch.from_numpy(np.asarray(values))
        for q in self.plan.projections:
            if q.post == p.name and q.sums:
                for n, total in sums[q.name].items():
                    env[n] = env[n] + total
        return env

    def _source(self, p: PopulationPlan, k: int) -> Tensor:
        """Who fires at random, or because it is written so."""
        if isinstance(p.source, Poisson):
            return torch.from_numpy(poisson_fires(p, k, self.plan.dt))
        fired = torch.zeros(p.size, dtype=torch.bool)
        if k in self.planned[p.name]:
            fired[torch.from_numpy(self.planned[p.name][k].astype(np.int64))] = True
        return fired

    def _advanced(self, q: ProjectionPlan) -> dict[str, Tensor]:
        """Variables of a projection after a step, from the values at its beginning."""
        found = {}
        for place, program in q.advance.items():
            env = self._of_projection(q, names_of([a.value for a in program]), place)
            for a in program:
                env[a.target] = evaluate(a.value, env)
            for name in q.variables:
                if next_of(name) in env:
                    new = torch.as_tensor(env[next_of(name)], dtype=self.dtype)
                    found[name] = new.broadcast_to(self.values[f"{q.name}.{name}"].shape)
        return found

    def _sums(self, q: ProjectionPlan) -> dict[str, Tensor]:
        env = self._of_projection(q, names_of(list(q.sums.values())), "synapse")
        _, post = self.synapses[q.name]
        size = self.plan.population(q.post).size
        found = {}
        for n, e in q.sums.items():
            each = torch.as_tensor(evaluate(e, env), dtype=self.dtype).broadcast_to(post.shape)
            found[n] = torch.zeros(size, dtype=self.dtype).index_add(0, post, each)
        return found

    # Events

    def deliver(self, k: int, fired: Mapping[str, Tensor]) -> None:
        """Deliver what arrives at the end of a step, and remember who fired."""
        for d in self.plan.poisson:
            numbers = self.plan.population(d.population).numbers
            count = _random.poisson_count(d.mean, d.key, numbers, k, 0)
            name = f"{d.population}.{d.variable}"
            self.values[name] = self.values[name] + torch.from_numpy(
                (count * d.weight).astype(self.plan.dtype)
            )
        past = {n: torch.cat([self.values[f"{n}.recent"], f[None]]) for n, f in fired.items()}
        for q in self.plan.projections:
            if q.on_pre:
                rows = past[q.pre]  # the newest is last
                delay = torch.as_tensor(np.asarray(q.delay), dtype=torch.int64)
                active = rows[len(rows) - 1 - delay, self.synapses[q.name][0]]
                units = rows[len(rows) - 1 - int(q.delay)] if delay.ndim == 0 else None
                self._events(q, q.on_pre, "pre", active, units)
        for q in self.plan.projections:
            if q.on_post:
                active = fired[q.post][self.synapses[q.name][1]]
                self._events(q, q.on_post, "post", active, fired[q.post])
        for n, rows in past.items():
            self.values[f"{n}.recent"] = rows[1:]

    def _events(
        self,
        q: ProjectionPlan,
        statements: Sequence[Statement],
        side: str,
        active: Tensor,
        units: Tensor | None,
    ) -> None:
        """Carry out statements at all active synapses, one statement after the other."""
        pre, post = (ends[active] for ends in self.synapses[q.name])
        synapses = active.nonzero()[:, 0]
        for s in statements:
            name = self._name(q, s.target)
            if s.kind == "unit":
                assert units is not None  # a plan has none where delays differ
                env = self._of_projection(q, names_of([s.value]), side)
                new = torch.as_tensor(evaluate(s.value, env), dtype=self.dtype)
                self.values[name] = torch.where(units, new, self.values[name])
                continue
            where = {"pre": pre, "post": post, "syn": synapses}
            env = self._of_projection(q, names_of([s.value]), "synapse", where)
            target = where[s.target.partition("_")[0]]
            value = torch.as_tensor(evaluate(s.value, env), dtype=self.dtype).broadcast_to(
                target.shape
            )
            change = (
                self.values[name].index_add if s.kind == "add" else self.values[name].index_copy
            )
            self.values[name] = change(0, target, value)

    # Names

    def _name(self, q: ProjectionPlan, array: str) -> str:
        """Name in the state of an array of the plan."""
        place, _, variable = array.partition("_n_")
        if variable and place in ("pre", "post"):
            return f"{q.pre if place == 'pre' else q.post}.{variable}"
        return f"{q.name}.{array}"

    def _of_projection(
        self,
        q: ProjectionPlan,
        needed: Collection[str],
        place: str,
        where: Mapping[str, Tensor] | None = None,
    ) -> dict[str, Any]:
        """Values of the names that are needed, at every unit of one side, or at (some) synapses."""
        env: dict[str, Any] = {n: torch.from_numpy(np.asarray(c)) for n, c in q.constants.items()}
        if where is None and place == "synapse":
            pre, post = self.synapses[q.name]
            where = {"pre": pre, "post": post, "syn": torch.arange(len(pre))}
        arrays = {n: torch.from_numpy(np.asarray(v)) for n, v in q.fixed.items()}
        arrays |= {n: self.values[f"{q.name}.{n}"] for n in q.variables}
        for side, population in (("pre", q.pre), ("post", q.post)):
            step = self.plan.population(population).step
            for n in () if step is None else step.states:
                arrays[f"{side}_n_{n}"] = self.values[f"{population}.{n}"]
        for n in set(arrays) & set(needed):
            array, side = arrays[n], n.partition("_")[0]
            if where is not None:
                env[n] = array[where[side]]
            elif side == place:
                env[n] = array
        return env

    # Looking

    def look(self, probe: Probe, k: int) -> np.ndarray:
        """Values at the beginning of a step of what a probe asks for."""
        name = f"{probe.owner}.{probe.variable}"
        if name in self.values:
            value = self.values[name]
        else:
            p = self.plan.population(probe.owner)
            assert p.step is not None
            sums = {q.name: self._sums(q) for q in self.plan.projections if q.sums}
            env = self._environment(p, k, sums)
            value = torch.as_tensor(
                evaluate(p.step.expressions[probe.variable], env), dtype=self.dtype
            )
            value = value.broadcast_to(p.size)
        array = value.numpy()
        return (array if probe.units is None else array[probe.units]).copy()


def poisson_fires(p: PopulationPlan, k: int, dt: float) -> np.ndarray:
    """Which Poisson units fire at a step: a uniform number below rate dt, in single precision."""
    assert isinstance(p.source, Poisson)
    rates = p.source.rates
    if rates.ndim == 2:
        frame = max(1, round(_units.seconds(p.source.frame, "frame") / dt))
        rates = rates[min(k // frame, len(rates) - 1)]
    chance = (rates * dt).astype(np.float32)
    return _random.uniform(p.key, p.numbers, k, 0, dtype=np.float32) < chance


def planned_spikes(p: PopulationPlan, dt: float) -> dict[int, np.ndarray]:
    """Units that fire at each step, where spikes are given: at the step that ends nearest."""
    assert isinstance(p.source, Spikes)
    steps = np.round(p.source.trains.times / dt).astype(np.int64) - 1
    order = np.argsort(steps, kind="stable")
    at, first = np.unique(steps[order], return_index=True)
    parts = np.split(p.source.trains.unit_index[order], first[1:]) if len(at) else []
    return {int(k): units for k, units in zip(at, parts, strict=True)}
