"""The fast engine for CPUs: a network becomes one compiled function that loops over time.

State lies in one array for each variable. A step of a population is a pass without branches that
LLVM turns into vector code; spikes are delivered row by row along the outgoing synapses of the
units that spiked, nothing is done for those that did not. The kernel does not hold the GIL.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence

from bregma.dynamics.engines._cpu_arrays import Fixed, Run
from bregma.dynamics.engines._cpu_source import Kernel, kernel_of
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
    prepared = _prepared(plan)
    kernel = prepared.kernel(plan, probes)
    arrays = Run(plan, prepared.fixed, state, n_steps, probes)
    k, end = state.step, state.step + n_steps
    while True:
        k = kernel.run(*arrays.arguments(kernel.arguments, k))
        if k == end:
            break
        arrays.grow()
    return Outcome(
        spikes={p.name: arrays.spikes(i) for i, p in enumerate(plan.populations) if p.spikes},
        traces=arrays.traces(len(probes)),
        state=arrays.state_at_end(),
    )


class _Prepared:
    """What a plan needs to run, made once."""

    def __init__(self, plan: Plan) -> None:
        self.fixed = Fixed(plan)
        self.kernels: dict[tuple[tuple[str, str], ...], Kernel] = {}

    def kernel(self, plan: Plan, probes: Sequence[Probe]) -> Kernel:
        """The kernel for what is looked at."""
        seen = tuple((p.owner, p.variable) for p in probes)
        if seen not in self.kernels:
            self.kernels[seen] = kernel_of(plan, probes)
        return self.kernels[seen]


_known: dict[int, _Prepared] = {}


def _prepared(plan: Plan) -> _Prepared:
    if id(plan) not in _known:
        _known[id(plan)] = _Prepared(plan)
        weakref.finalize(plan, _known.pop, id(plan), None)
    return _known[id(plan)]
