"""The fast engine for CPUs: a network becomes one compiled function that loops over time.

State lies in one array for each variable. A step of a population is a pass without branches that
LLVM turns into vector code; spikes are delivered row by row along the outgoing synapses of the
units that spiked, nothing is done for those that did not. The kernel does not hold the GIL.
Where a step takes long enough, several threads share it (`_cpu_team`).
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence

from bregma.dynamics.engines._cpu_arrays import Fixed, Run
from bregma.dynamics.engines._cpu_cores import CORES
from bregma.dynamics.engines._cpu_loop import Kernel, kernel_of
from bregma.dynamics.engines._cpu_source import Source
from bregma.dynamics.engines._cpu_team import Team
from bregma.dynamics.engines._cpu_worth import most_threads
from bregma.dynamics.engines._threads import n_threads_here
from bregma.dynamics.network._plan import Plan
from bregma.dynamics.network._state import Outcome, Probe, State


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
    return _prepared(plan).run(state, n_steps, probes)


class Alone:
    """What one thread needs to run a plan, made once."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.fixed = plan, Fixed(plan)
        self.kernels: dict[tuple[tuple[str, str], ...], Kernel] = {}

    def run(self, state: State, n_steps: int, probes: Sequence[Probe]) -> Outcome:
        """Run for some steps."""
        seen = tuple((p.owner, p.variable) for p in probes)
        if seen not in self.kernels:
            self.kernels[seen] = kernel_of(self.plan, probes, Source)
        kernel = self.kernels[seen]
        arrays = Run(self.plan, self.fixed, state, n_steps, probes)
        k, end = state.step, state.step + n_steps
        while True:
            k = kernel.run(*arrays.arguments(kernel.arguments, k))
            if k == end:
                break
            arrays.grow()
        spiking = {p.name: i for i, p in enumerate(self.plan.populations) if p.spikes}
        return Outcome(
            spikes={name: arrays.spikes(i) for name, i in spiking.items()},
            traces=arrays.traces(len(probes)),
            state=arrays.state_at_end(),
        )


class _Prepared:
    """A plan, ready for one thread or for some, whichever it ran on last."""

    def __init__(self, plan: Plan) -> None:
        self.most = most_threads(plan)
        self.n = 0
        self.ready: Alone | Team | None = None

    def on(self, plan: Plan, n_threads: int) -> Alone | Team:
        """Ready for so many threads."""
        if self.n != n_threads or self.ready is None:
            self.ready = Alone(plan) if n_threads == 1 else Team(plan, n_threads)
            self.n = n_threads
        return self.ready


_known: dict[int, _Prepared] = {}


def _prepared(plan: Plan) -> Alone | Team:
    if id(plan) not in _known:
        _known[id(plan)] = _Prepared(plan)
        weakref.finalize(plan, _known.pop, id(plan), None)
    found = _known[id(plan)]
    n = min(found.most, n_threads_here())
    return found.on(plan, n if CORES.free else 1)
