"""Simulate: run a network with an engine, in pieces, and give labelled spikes and traces."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bregma.dynamics.engines import _triton
from bregma.dynamics.language import _units
from bregma.dynamics.network._network import Network
from bregma.dynamics.network._plan import Plan, plan, steps_of
from bregma.dynamics.network._state import Outcome, Probe, State, initial_state
from bregma.dynamics.running._memory import check_memory
from bregma.dynamics.running._to_disk import (
    Parts,
    opened_run,
    run_key,
    spike_support,
    spike_units,
    trace,
)
from bregma.errors import InvalidArgument, UnknownName, UnstableSimulation
from bregma.recording import Recording, SpikeTrains
from bregma.run import progress as show_progress

if TYPE_CHECKING:
    import plotly.graph_objects as go

# name -> module with run(plan, state, n_steps, probes) -> Outcome
ENGINES = {
    "cpu": "bregma.dynamics.engines._cpu",
    "triton": "bregma.dynamics.engines._triton",
    "reference": "bregma.dynamics.engines._reference",
}
PIECE = 5000  # steps between two looks at the clock, at the progress bar and for NaN


def engine_of(name: str) -> str:
    """The engine that a name of `ENGINES`, or "auto", stands for."""
    if name not in ("auto", *ENGINES):
        raise UnknownName.of("engine", name, ["auto", *ENGINES])
    return "cpu" if name == "auto" else name


def whole_steps(duration: float | str, dt: float) -> int:
    """Steps of a run, at least one; dt in seconds."""
    n_steps = steps_of(_units.seconds(duration, "duration"), dt, "duration") if dt > 0 else 0
    if n_steps < 1:
        raise InvalidArgument(f"duration={duration!r} is shorter than one step of dt={dt:g} s")
    return n_steps


def engines_here() -> list[str]:
    """Names of the engines that can run on this machine."""
    return [name for name in ENGINES if name != "triton" or _triton.available()]


@dataclass(frozen=True, eq=False)
class Simulation:
    """What came out of a run.

    Parameters
    ----------
    spikes : mapping
        Population to SpikeTrains.
    traces : mapping
        ``"population.variable"`` to Recording (1 presentation, time, unit).
    state : State
        Where the run ended; give it to `simulate` to go on.
    dt : float
        Seconds per step.
    seed : int
        What all randomness followed from.
    engine : str
        What ran it.
    """

    spikes: Mapping[str, SpikeTrains]
    traces: Mapping[str, Recording]
    state: State
    dt: float
    seed: int
    engine: str

    @classmethod
    def load(cls, path: str | Path) -> Simulation:
        """What `simulate` wrote with ``to=``; spikes and traces are read when they are asked for.

        Parameters
        ----------
        path : str or Path
            The folder.

        Returns
        -------
        Simulation
            The run.

        Raises
        ------
        InvalidArgument
            No finished run is there.
        """
        run = opened_run(path)
        return cls(
            run.spikes, run.traces, run.state, *(run.about[n] for n in ("dt", "seed", "engine"))
        )

    @property
    def rates(self) -> dict[str, float]:
        """Mean firing rate of each population in spikes per second."""
        return {n: float(s.rates.mean()) for n, s in self.spikes.items()}

    def plot(self, *, units: int = 100, traces: int = 3) -> go.Figure:
        """Draw spikes, rates and traces over time.

        Parameters
        ----------
        units : int
            Units of each population whose spikes are drawn, evenly chosen.
        traces : int
            Units of each trace that are drawn, evenly chosen.

        Returns
        -------
        plotly.graph_objects.Figure
            Rows of spikes on top, then rates, then traces.

        Raises
        ------
        InvalidArgument
            Nothing was recorded.
        """
        from bregma.dynamics.running._plot import plot_simulation

        if not self.spikes and not self.traces:
            raise InvalidArgument("nothing spikes and nothing was recorded: use record=")
        return plot_simulation(self, units=units, traces=traces)

    def __repr__(self) -> str:
        rates = ", ".join(f"{n} {r:.3g} Hz" for n, r in self.rates.items())
        return f"Simulation({self.state.step * self.dt:g} s; {rates or 'no spikes'})"


def simulate(
    network: Network,
    duration: float | str,
    *,
    seed: int,
    dt: float | str = "0.1 ms",
    record: Mapping[str, Iterable[str]] | None = None,
    every: float | str | None = None,
    engine: str = "auto",
    dtype: str = "float32",
    state: State | None = None,
    progress: bool = False,
    to: str | Path | None = None,
) -> Simulation:
    """Run a network.

    Parameters
    ----------
    network : Network
        What to run.
    duration : float or str
        How long, in seconds or with a unit.
    seed : int
        What connections, first values and noise follow from: the same seed gives the same spikes
        on every engine.
    dt : float or str
        Length of a step.
    record : mapping, optional
        Population (or projection) to the names of variables and expressions to write down.
        Spikes are always recorded.
    every : float or str, optional
        How often variables are written down; at every step by default.
    engine : {"auto", "cpu", "triton", "reference"}
        What runs it: compiled code, which "auto" takes, kernels on a GPU, or PyTorch step by step,
        which is slow and says what is right. Compiled code shares steps that take long enough
        among torch's threads.
    dtype : {"float32", "float64"}
        Precision of variables.
    state : State, optional
        Where an earlier run of the same network, dt and seed ended, to go on from there.
    progress : bool
        Show a bar where stderr is a terminal.
    to : str or Path, optional
        A ``.zarr`` folder to write spikes and traces to, so that memory holds one piece of the run
        only; they are read when they are asked for. Pieces are kept beside it until all is done:
        whatever ended a run, the same call goes on from there and gives the same bits.

    Returns
    -------
    Simulation
        Spikes and traces; what happens in step k is at time (k + 1) dt.

    Raises
    ------
    UnstableSimulation
        A variable became NaN or infinite; the message names the population and the step.
    UnknownName
        No such engine, population or variable.
    InvalidArgument
        A duration or dt that is not positive, or more memory than is free.
    """
    engine, step = engine_of(engine), _units.seconds(dt, "dt")
    n_steps = whole_steps(duration, step)
    record = {o: [n] if isinstance(n, str) else list(n) for o, n in (record or {}).items()}
    stride = 1 if every is None else steps_of(_units.seconds(every, "every"), step, "every")
    check_memory(network, n_steps, max(stride, 1), record if to is None else {}, dtype)
    made = plan(network, dt=step, seed=seed, dtype=dtype)
    return run_plan(
        made, n_steps, record=record, every=every, engine=engine, state=state,
        progress=progress, to=to,
    )  # fmt: skip


def run_plan(
    made: Plan,
    n_steps: int,
    *,
    record: Mapping[str, Iterable[str]],
    every: float | str | None = None,
    engine: str = "cpu",
    state: State | None = None,
    progress: bool = False,
    to: str | Path | None = None,
) -> Simulation:
    """Run a network that has its numbers; the rest is as for `simulate`."""
    probes = probes_of(made, record, every)
    run = importlib.import_module(ENGINES[engine]).run
    now = initial_state(made) if state is None else _checked(state, made)
    begin, end, piece = now.step, now.step + n_steps, PIECE
    parts, pieces = None, []
    if to is not None:
        parts = Parts(to, made, probes, run_key(made, probes, now, n_steps, engine))
        piece, now = parts.piece_steps(PIECE), parts.resume(now)
    with show_progress[Any](what="simulating", total=n_steps, show=progress) as bar:
        bar.advance(now.step - begin)
        while now.step < end:
            n = min(piece, end - now.step)
            outcome = run(made, now, n, tuple(probes.values()))
            _check_finite(made, now, outcome, run)
            if parts is None:
                pieces.append(outcome)
            else:
                parts.add(outcome, now.step)
            now = outcome.state
            bar.advance(n)
    if parts is None:
        return labelled(made, probes, pieces, now, begin, engine)
    spiking = [p.name for p in made.populations if p.spikes]
    about = {"spikes": spiking, "traces": [*probes], "dt": made.dt, "seed": made.seed}
    parts.finish(begin, now, {**about, "engine": engine})
    return Simulation.load(parts.to)


def probes_of(made: Plan, record: Mapping[str, Iterable[str]], every: Any) -> dict[str, Probe]:
    """What to write down, by the names under which it was asked for."""
    stride = 1 if every is None else steps_of(_units.seconds(every, "every"), made.dt, "every")
    if stride < 1:
        raise InvalidArgument(f"every={every!r} is shorter than a step")
    there: dict[str, dict[str, tuple[str, str]]] = {}  # owner -> name -> owner and name of array
    for p in made.populations:
        names = [] if p.step is None else [*p.step.states, *p.step.expressions]
        there[p.name] = {n: (p.name, n) for n in names}
    for q in made.projections:
        there[q.name] = {n.partition("_")[2]: (q.name, n) for n in q.variables}
        there[q.name] |= {n: (q.post, n_post) for n, n_post in q.carried.items()}
    found = {}
    for owner, wanted in record.items():
        if owner not in there:
            raise UnknownName.of("population or projection to record", owner, there)
        for name in [wanted] if isinstance(wanted, str) else wanted:
            if name not in there[owner]:
                raise UnknownName.of(f"variable of {owner!r}", name, there[owner])
            found[f"{owner}.{name}"] = Probe(*there[owner][name], every=stride)
    return found


def _checked(state: State, made: Plan) -> State:
    """Refuse a state of another network."""
    for name, value in initial_state(made).values.items():
        there = state.values.get(name)
        if there is None or there.shape != value.shape:
            raise InvalidArgument(
                f"the state belongs to another network: {name!r} should have the shape "
                f"{value.shape}"
            )
    return state


def _check_finite(made: Plan, before: State, outcome: Outcome, run: Any) -> None:
    """Where a piece ends in NaN, run it again to find the step, the population and the unit."""
    if broken(outcome.state) is None:
        return
    good, bad = 0, outcome.state.step - before.step
    while bad - good > 1:
        middle = (good + bad) // 2
        if broken(run(made, before, middle, ()).state) is None:
            good = middle
        else:
            bad = middle
    name, unit = broken(run(made, before, bad, ()).state) or ("", 0)
    owner, _, variable = name.rpartition(".")
    raise UnstableSimulation(
        f"{variable!r} of {owner!r} became NaN or infinite at step {before.step + bad} "
        f"({(before.step + bad) * made.dt:g} s), first in number {unit}: make dt smaller than "
        f"{made.dt:g} s, or look at the parameters of its equation"
    )


def broken(state: State) -> tuple[str, int] | None:
    for name, value in state.values.items():
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            return name, int(np.argmin(np.isfinite(value)))
    return None


def labelled(
    made: Plan,
    probes: Mapping[str, Probe],
    pieces: list[Outcome],
    end: State,
    begin: int,
    engine: str,
) -> Simulation:
    spikes, traces = {}, {}
    for p in made.populations:
        if not p.spikes:
            continue
        steps = np.concatenate([o.spikes[p.name][0] for o in pieces])
        units = np.concatenate([o.spikes[p.name][1] for o in pieces])
        support = spike_support(begin, end.step, made.dt)
        spikes[p.name] = partial(_trains, (steps + 1) * made.dt, units, p.name, p.size, support)
    for i, (name, probe) in enumerate(probes.items()):
        values = np.concatenate([o.traces[i] for o in pieces])
        traces[name] = trace(name, probe, values, begin, end.step, made.dt)
    return Simulation(_Asked(spikes), traces, end, made.dt, made.seed, engine)


def _trains(times: Any, units: Any, name: str, size: int, support: Any) -> SpikeTrains:
    return SpikeTrains(times, units, units=spike_units(name, size), support=support)


class _Asked(Mapping[str, Any]):
    """What functions make, once it is asked for: labels cost more than a short trial."""

    def __init__(self, makers: Mapping[str, Callable[[], Any]]) -> None:
        self.makers, self.made = dict(makers), dict[str, Any]()

    def __getitem__(self, name: str) -> Any:
        if name not in self.made:
            self.made[name] = self.makers[name]()
        return self.made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.makers)

    def __len__(self) -> int:
        return len(self.makers)
