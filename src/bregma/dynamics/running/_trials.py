"""Trials: one network that is run many times, with other stimuli and other noise."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from bregma.dynamics.language import _units
from bregma.dynamics.network._hold import Hold, hold_plan
from bregma.dynamics.network._network import Drive, Network, Poisson, Population
from bregma.dynamics.network._plan import drive_plan, plan
from bregma.dynamics.network._plan_parts import Plan
from bregma.dynamics.running._simulate import Simulation, engine_of, run_plan, whole_steps
from bregma.errors import InvalidArgument, UnknownName
from bregma.run import derive


class Trials:
    """A network that begins anew at each trial: connections and first values stay, noise does not.

    Parameters
    ----------
    network : Network
        What to run.
    seed : int
        What connections and first values follow from.
    dt : float or str
        Length of a step.
    engine : str
        What runs it, as for `simulate`.
    dtype : {"float32", "float64"}
        Precision of variables.

    Examples
    --------
    >>> from bregma.dynamics import Network, Poisson, Population, Trials
    >>> trials = Trials(Network({"P": Population(Poisson(0), 3)}), seed=0, dt="1 ms")
    >>> shown = {"P": Poisson([0, 1000, 0])}
    >>> trials.run("10 ms", trial=["cat", 0], sources=shown).spikes["P"].counts.tolist()
    [0, 10, 0]
    """

    def __init__(
        self,
        network: Network,
        *,
        seed: int,
        dt: float | str = "0.1 ms",
        engine: str = "auto",
        dtype: str = "float32",
    ) -> None:
        self.network, self.engine = network, engine_of(engine)
        self.plan = plan(network, dt=_units.seconds(dt, "dt"), seed=seed, dtype=dtype)

    def run(
        self,
        duration: float | str,
        *,
        trial: Sequence[str | int],
        sources: Mapping[str, Poisson] | None = None,
        drives: Sequence[Drive] = (),
        holds: Sequence[Hold] = (),
        record: Mapping[str, Iterable[str]] | None = None,
        every: float | str | None = None,
    ) -> Simulation:
        """Run one trial.

        Parameters
        ----------
        duration : float or str
            How long.
        trial : sequence of str or int
            Names of the trial, which its noise follows from: another repeat, other noise.
        sources : mapping, optional
            Population of random units to the rates that it has in this trial.
        drives : sequence of Drive
            What comes from outside beside what the network has; inputs that its equations know.
        holds : sequence of Hold
            What is held beside what the network holds.
        record, every : optional
            What to write down and how often, as for `simulate`.

        Returns
        -------
        Simulation
            Spikes and traces.
        """
        n_steps = whole_steps(duration, self.plan.dt)
        made = self._plan(trial, sources or {}, drives, holds)
        return run_plan(made, n_steps, record=record or {}, every=every, engine=self.engine)

    def _plan(
        self,
        trial: Sequence[str | int],
        sources: Mapping[str, Poisson],
        drives: Sequence[Drive],
        holds: Sequence[Hold],
    ) -> Plan:
        whole = self.plan

        def key_of(key: int) -> int:
            return derive(key, "trial", *trial)

        for name in sources:
            there = [p.name for p in whole.populations if isinstance(p.source, Poisson)]
            if name not in there:
                raise UnknownName.of("population of random units", name, there)
            Population(sources[name], whole.population(name).size)  # refuses rates that do not fit
        for d in drives:
            step = whole.population(d.population).step
            if step is None or d.variable not in step.inputs:
                raise InvalidArgument(
                    f"nothing drives {d.variable!r} of {d.population!r} in this network: give it a "
                    f"Drive of 0 there, so that trials can drive it"
                )

        def size_of(name: str) -> int:
            return whole.population(name).size

        return replace(
            whole,
            populations=tuple(
                replace(p, key=key_of(p.key), source=sources.get(p.name, p.source))
                for p in whole.populations
            ),
            poisson=tuple(replace(d, key=key_of(d.key)) for d in whole.poisson),
            drives=(
                *whole.drives,
                *(drive_plan(d, size_of(d.population), whole.dt, whole.dtype) for d in drives),
            ),
            holds=(
                *whole.holds,
                *(hold_plan(h, size_of(h.population), whole.dt, whole.dtype) for h in holds),
            ),
        )
