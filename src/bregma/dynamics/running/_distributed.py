"""Run one network in several processes.

Each process owns a slice of every population and the synapses into it. A spike takes at least the
shortest delay to arrive, so that a process runs that many steps by itself before it has to know who
fired elsewhere (Morrison et al. 2005, Advancing the boundaries of high-connectivity network
simulation with distributed computing): spikes of steps k to k + d - 1 arrive in step k + d at the
earliest. The engine is that of one process.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from bregma.dynamics.language import _units
from bregma.dynamics.network._network import Network
from bregma.dynamics.network._plan_parts import Plan
from bregma.dynamics.network._state import Outcome, Probe, State, initial_state
from bregma.dynamics.running._part import Part, part_of
from bregma.dynamics.running._ranks import Ranks
from bregma.dynamics.running._simulate import (
    ENGINES,
    PIECE,
    Simulation,
    broken,
    engine_of,
    labelled,
    probes_of,
    whole_steps,
)
from bregma.errors import InvalidArgument, UnknownName, UnstableSimulation
from bregma.run import derive

Array = np.ndarray
Fired = dict[str, tuple[Array, Array]]


def simulate_distributed(
    network: Network,
    duration: float | str,
    *,
    seed: int,
    dt: float | str = "0.1 ms",
    record: Mapping[str, Iterable[str]] | None = None,
    every: float | str | None = None,
    engine: str = "auto",
    dtype: str = "float32",
    timeout: float | str = "5 min",
) -> Simulation | None:
    """Run a network in the processes that torchrun started, each of which calls this.

    Spikes, traces and the state at the end are those of `simulate` with the same seed, up to the
    order in which the first process gathers them. Each process plans its own part: memory for
    synapses is divided among them, while all draw the whole graph. Traces of plasticity that are
    marked (pre) are kept by every process. The first process gathers the results and must have
    room for them.

    Parameters
    ----------
    network : Network
        What to run, the same in every process. Spikes of neurons need a delay of one step or more;
        the longer the shortest delay, the fewer exchanges. Units that fire at random or at given
        times run in every process, so that their spikes need none.
    duration : float or str
        How long, in seconds or with a unit.
    seed : int
        What connections, first values and noise follow from.
    dt : float or str
        Length of a step.
    record : mapping, optional
        Population (or projection) to the names of variables to write down.
    every : float or str, optional
        How often variables are written down; at every step by default.
    engine : {"auto", "cpu", "reference"}
        What runs each part.
    dtype : {"float32", "float64"}
        Precision of variables.
    timeout : float or str
        How long to wait for the slowest process before it counts as dead.

    Returns
    -------
    Simulation or None
        Everything in the first process, None in the others.

    Raises
    ------
    InvalidArgument
        If no processes were started, delays are 0, synapses need variables of presynaptic neurons,
        or processes were given different arguments.
    UnknownName
        No such engine, population or variable.
    UnstableSimulation
        A variable became NaN or infinite.
    ProcessFailed
        Another process failed, died or did not answer.

    References
    ----------
    Morrison, Mehring, Geisel, Aertsen and Diesmann (2005), Advancing the boundaries of
    high-connectivity network simulation with distributed computing. Neural Computation 17.
    """
    engine, step = engine_of(engine), _units.seconds(dt, "dt")
    n_steps = whole_steps(duration, step)
    known = [*network.populations, *(p.label for p in network.projections)]
    for owner in record or {}:
        if owner not in known:
            raise UnknownName.of("population or projection to record", owner, known)
    ranks = Ranks(_units.seconds(timeout, "timeout"))
    made: list[_Run] = []

    def begin() -> tuple[int, int | None, dict[str, int]]:
        part = part_of(network, ranks.number, ranks.count, dt=step, seed=seed, dtype=dtype)
        made.append(_Run(part, engine, record or {}, every))
        sizes = ((p.name, p.size) for p in part.whole.populations)
        settings = derive(seed, n_steps, str(step), dtype, str([*sizes]))
        return settings, part.shortest_delay, part.longest_delays

    said = ranks.together(begin)
    if len({settings for settings, _, _ in said}) > 1:
        raise InvalidArgument("the processes were given different networks, seeds or durations")
    delays = [shortest for _, shortest, _ in said if shortest is not None]
    window = min(delays, default=PIECE)
    if window < 1:
        raise InvalidArgument(
            "spikes between processes need time: give every projection from neurons a delay of "
            f"at least one step ({step:g} s), or better as long as the biology allows"
        )
    run = made[0]
    run.remember({n: max(longest[n] for _, _, longest in said) for n in said[0][2]})
    for first in range(0, n_steps, window):
        n = min(window, n_steps - first)
        checked = first + n == n_steps or first // PIECE != (first + n) // PIECE
        fired = ranks.exchange(partial(run.window, n, checked))
        run.learn(n, fired)
    results = ranks.to_first(run.result())
    ranks.close()
    if results is None:
        return None
    return _joined(run, results, engine)


class _Run:
    """The part of this process: its state, and who fired everywhere of late."""

    def __init__(
        self, part: Part, engine: str, record: Mapping[str, Iterable[str]], every: Any
    ) -> None:
        self.part, self.engine = part, importlib.import_module(ENGINES[engine]).run
        here = {p.name for p in part.plan.populations} | {q.name for q in part.plan.projections}
        wanted = {owner: names for owner, names in record.items() if owner in here}
        self.probes = probes_of(part.plan, wanted, every)
        self.state = initial_state(part.plan)
        self.pieces: list[Outcome] = []
        self.recent: dict[str, Array] = {}
        sizes = [p.size if p.name in part.ghosts else 0 for p in part.whole.populations]
        self.begins = np.append(0, np.cumsum(sizes))  # of populations, in numbers of all units

    def remember(self, longest: Mapping[str, int]) -> None:
        """Make room for as many steps of each population as spikes take to arrive somewhere."""
        sizes = {p.name: p.size for p in self.part.whole.populations}
        self.recent = {n: np.zeros((steps, sizes[n]), bool) for n, steps in longest.items()}

    def window(self, n_steps: int, checked: bool) -> Array:
        """Run some steps; who fired here and is heard elsewhere, as step * all units + unit."""
        heard = {}
        for name, ghost in self.part.ghosts.items():
            rows = len(self.state.values[f"{ghost}.recent"])
            heard[f"{ghost}.recent"] = self.recent[name][len(self.recent[name]) - rows :]
        begin = replace(self.state, values={**self.state.values, **heard})
        outcome = self.engine(self.part.plan, begin, n_steps, tuple(self.probes.values()))
        self.state = outcome.state
        self.pieces.append(replace(outcome, state=State(outcome.state.step, {})))
        if checked:
            self._check()
        found = [np.empty(0, np.int64)]
        for first, p in zip(self.begins, self.part.whole.populations, strict=False):
            if p.name in self.part.ghosts and p.name in outcome.spikes:
                steps, units = outcome.spikes[p.name]
                units = first + self.part.own[p.name][0] + units
                found.append((steps - begin.step) * self.begins[-1] + units)
        return np.concatenate(found)

    def _check(self) -> None:
        wrong = broken(self.state)
        if wrong is None:
            return
        (owner, _, variable), unit = wrong[0].rpartition("."), wrong[1]
        unit += self.part.own.get(owner, (0, 0))[0]
        raise UnstableSimulation(
            f"{variable!r} of {owner!r} became NaN or infinite before step {self.state.step}, "
            f"first in number {unit}: make dt smaller than {self.part.plan.dt:g} s, or look at "
            "the parameters of its equation"
        )

    def learn(self, n_steps: int, fired: list[Array]) -> None:
        """Move on by some steps, in which these fired."""
        steps, units = np.divmod(np.concatenate(fired), max(1, self.begins[-1]))
        for first, p in zip(self.begins, self.part.whole.populations, strict=False):
            rows = self.recent.get(p.name, np.empty(0))
            if not len(rows):
                continue
            rows[:-n_steps] = rows[n_steps:]
            rows[-n_steps:] = False
            mine = (units >= first) & (units < first + p.size)
            rows[len(rows) - n_steps + steps[mine], units[mine] - first] = True

    def result(self) -> dict[str, Any]:
        """What belongs to this process, by name; synapses with the units that they come from."""
        own = {name for name, (begin, end) in self.part.own.items() if begin < end}
        spikes = {}
        for name in own & self.pieces[0].spikes.keys():
            steps, units = (
                np.concatenate([o.spikes[name][i] for o in self.pieces]) for i in (0, 1)
            )
            spikes[name] = steps, units + np.int32(self.part.own[name][0])
        traces = {
            name: (probe, np.concatenate([o.traces[i] for o in self.pieces]))
            for i, (name, probe) in enumerate(self.probes.items())
        }
        rows = {
            q.name: np.repeat(np.arange(len(q.indptr) - 1), np.diff(q.indptr))
            for q in self.part.plan.projections
            if any(n.startswith("syn_") for n in q.variables)
        }
        owners = own | {q.name for q in self.part.plan.projections}
        heard = {f"{p.name}.recent" for p in self.part.plan.populations if p.step is None}
        state = {n: v for n, v in self.state.values.items() if _split(n)[0] in owners or n in heard}
        return {"spikes": spikes, "traces": traces, "rows": rows, "state": state}


def _joined(run: _Run, results: list[dict[str, Any]], engine: str) -> Simulation:
    """What all processes found, as if it were one."""
    whole = run.part.whole
    rows: dict[str, list[Array]] = {}
    for found in results:
        for name, pre in found["rows"].items():
            rows.setdefault(name, []).append(pre)
    order = {n: np.argsort(np.concatenate(pre), kind="stable") for n, pre in rows.items()}

    def together(owner: str, variable: str, parts: list[Array]) -> Array:
        if variable.startswith("pre_"):
            return parts[0]
        if variable == "recent" and whole.population(owner).step is None:
            return max(parts, key=len)
        values = np.concatenate(parts, axis=-1)
        return values[..., order[owner]] if variable.startswith("syn_") else values

    values: dict[str, list[Array]] = {}
    traces: dict[str, tuple[Probe, list[Array]]] = {}
    for found in results:
        for name, value in found["state"].items():
            values.setdefault(name, []).append(value)
        for name, (probe, value) in found["traces"].items():
            traces.setdefault(name, (probe, []))[1].append(value)
    ghosts = {*run.part.ghosts.values()}
    state = {
        n: together(*_split(n), parts) for n, parts in values.items() if _split(n)[0] not in ghosts
    }
    state |= {f"{name}.recent": rows for name, rows in run.recent.items()}
    end = State(run.state.step, state)
    outcome = Outcome(
        spikes=_all_spikes(whole, results),
        traces=tuple(together(p.owner, p.variable, parts) for p, parts in traces.values()),
        state=end,
    )
    probes = {name: probe for name, (probe, _) in traces.items()}
    return labelled(whole, probes, [outcome], end, 0, f"{engine} in {len(results)} processes")


def _split(name: str) -> tuple[str, str]:
    owner, _, variable = name.rpartition(".")
    return owner, variable


def _all_spikes(whole: Plan, results: list[dict[str, Any]]) -> Fired:
    """Spikes of all processes, by step and unit."""
    found = {}
    for p in whole.populations:
        if not p.spikes:
            continue
        parts = [r["spikes"][p.name] for r in results if p.name in r["spikes"]]
        steps, units = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
        order = np.lexsort((units, steps))
        found[p.name] = steps[order], units[order]
    return found
