"""The engine for GPUs: a network becomes Triton kernels that keep everything on the device.

A step is a fixed sequence of launches: one kernel for each population, one that lists its spikes,
one or two for each projection that carry events along its synapses. The step itself is counted on
the device, so that on CUDA the sequence is recorded once, as a graph, and replayed. The host looks
at nothing before the end. Spikes are listed in order, and what synapses add is summed as whole
numbers: the same seed gives the same bits each time.

Not measured on a GPU yet: the kernels are tested in Triton's interpreter on the CPU (environment
variable ``TRITON_INTERPRET=1``) and compiled for GPUs without one.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch

from bregma._extras import require
from bregma.dynamics.network._plan import Plan
from bregma.dynamics.network._state import Outcome, Probe, State
from bregma.errors import InvalidArgument

if TYPE_CHECKING:
    from bregma.dynamics.engines._triton_arrays import Fixed, Run
    from bregma.dynamics.engines._triton_source import Source


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
        What to write down; it stays on the device until the end.

    Returns
    -------
    Outcome
        Spikes, traces and the state at the end.

    Raises
    ------
    InvalidArgument
        No GPU.
    MissingExtra
        No Triton.
    """
    plan = plan.stored
    fixed = _fixed(plan, _device())
    from bregma.dynamics.engines._triton_arrays import Run

    room: dict[str, int] = {}
    while True:
        arrays = Run(plan, fixed, state, n_steps, probes, room)
        _steps(plan, fixed, arrays, probes)
        lacking = arrays.spikes_that_need_room()
        if not lacking:
            break
        # What comes after the first spike without room is wrong: again, with more
        room |= {n: max(m, 2 * arrays.room[n]) for n, m in lacking.items()}
    return Outcome(
        spikes={p.name: arrays.spikes(i) for i, p in enumerate(plan.populations) if p.spikes},
        traces=tuple(arrays.array(f"w{n}__out") for n in range(len(probes))),
        state=arrays.state_at_end(),
    )


def available() -> bool:
    """Whether this engine can run here."""
    try:
        _device()
    except (ImportError, InvalidArgument):
        return False
    return True


def _device() -> torch.device:
    triton: Any = require("triton", "gpu")
    if triton.knobs.runtime.interpret:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise InvalidArgument(
            "the engine 'triton' needs a GPU, and torch finds none; engine='cpu' runs here"
        )
    return torch.device("cuda", torch.cuda.current_device())


def _steps(plan: Plan, fixed: Fixed, arrays: Run, probes: Sequence[Probe]) -> None:
    """All steps of a run."""
    source = _source(plan, fixed, probes)
    begin, end = arrays.state.step, arrays.state.step + arrays.n_steps

    def step() -> None:
        for act in source.step:
            act(arrays)

    for act in source.holds:
        act(arrays)
    again: Callable[[], None] = step
    for k in range(begin, end):
        if k == begin + 1 and fixed.device.type == "cuda":  # the first step has compiled all
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                step()
            again = graph.replay
        again()
        for probe, look in zip(probes, source.looks, strict=True):
            if (k + 1) % probe.every == 0:
                for act in look:
                    act(arrays)


def _source(plan: Plan, fixed: Fixed, probes: Sequence[Probe]) -> Source:
    """The launches of a step and of what is looked at, made once."""
    from bregma.dynamics.engines._triton_source import Source

    seen = tuple((p.owner, p.variable) for p in probes)
    if seen not in fixed.sources:
        fixed.sources[seen] = Source(plan, fixed, probes)
    return fixed.sources[seen]


_known: dict[tuple[int, torch.device], Fixed] = {}


def _fixed(plan: Plan, device: torch.device) -> Fixed:
    """What a plan needs to run on a device, made once."""
    from bregma.dynamics.engines._triton_arrays import Fixed

    key = (id(plan), device)
    if key not in _known:
        _known[key] = Fixed(plan, device)
        weakref.finalize(plan, _known.pop, key, None)
    return _known[key]
