"""The part of a network that one of several processes runs: some units, and the synapses into them.

Spikes of other processes enter through ghosts. A ghost is a population of full size that never
fires; its ``recent`` in the state holds who fired in the steps before, and projections begin there.
All that is drawn at random is drawn for numbers of the whole network, so that a part has the same
values as that part of the whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bregma.dynamics.connect._connect_part import onto, places
from bregma.dynamics.language import _units
from bregma.dynamics.language._grammar import names_of
from bregma.dynamics.language._neuron import Neuron
from bregma.dynamics.network._hold import HoldPlan
from bregma.dynamics.network._network import Network, Population, Projection, Spikes
from bregma.dynamics.network._plan import plan
from bregma.dynamics.network._plan_parts import Plan, PopulationPlan, ProjectionPlan, sized
from bregma.dynamics.network._plan_slice import driven, held, of_post, sliced
from bregma.errors import InvalidArgument
from bregma.recording import SpikeTrains
from bregma.run import derive

BLOCK = 512  # units that an engine may look at together: parts of large populations begin with one
Range = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Part:
    """What one process runs.

    plan : its units, ghosts and projections; whole : all populations, and these projections with
    targets numbered as in the whole network.
    own : population -> the units that belong to this process. Units that fire at random or at given
    times are run by every process, and belong to the first.
    ghosts : population -> its ghost, for those whose spikes have to be known.
    """

    plan: Plan
    whole: Plan
    own: Mapping[str, Range]
    ghosts: Mapping[str, str]

    @property
    def shortest_delay(self) -> int | None:
        """Of spikes that come from other processes, in steps; None where there are none."""
        delays = [
            int(np.min(q.delay))
            for q in self.plan.projections
            if q.on_pre and q.pre in self.ghosts.values() and np.size(q.delay)
        ]
        return min(delays, default=None)

    @property
    def longest_delays(self) -> dict[str, int]:
        """Population with a ghost to its longest delay."""
        return {
            name: max((q.longest_delay for q in self.plan.projections if q.pre == g), default=0)
            for name, g in self.ghosts.items()
        }


def part_of(
    network: Network, number: int, n_parts: int, *, dt: float, seed: int, dtype: Any
) -> Part:
    """Plan one of several parts of a network.

    Parameters
    ----------
    network : Network
        All of it.
    number, n_parts : int
        Which part, counted from 0, of how many.
    dt, seed, dtype
        As for `plan`.

    Returns
    -------
    Part
        With memory for the synapses of the part only.

    Raises
    ------
    InvalidArgument
        Synapses that read or change variables of presynaptic neurons, which other processes have.
    """
    own = {n: owned(p, number, n_parts) for n, p in network.populations.items()}
    reduced = [_reduced(p, network, own[p.post], seed) for p in network.projections]
    whole = plan(replace(network, projections=reduced), dt=dt, seed=seed, dtype=dtype)
    ghosts = {
        p.name: f"{p.name} elsewhere"
        for p in whole.populations
        if p.step is not None and any(q.pre == p.name for q in whole.projections)
    }
    populations: list[PopulationPlan] = []
    for p in whole.populations:
        begin, end = own[p.name]
        if p.step is None:
            populations.append(p)
        elif begin < end:
            populations.append(sliced(p, begin, end))
        if p.name in ghosts:
            populations.append(_ghost(p, ghosts[p.name]))
    here = {p.name for p in populations}
    projections = []
    for q in whole.projections:
        _check_local(q)
        if own[q.post][0] < own[q.post][1]:
            projections.append(_onto_part(q, own[q.post][0], own[q.post][1], ghosts))
    holds = [_held(h, *own[h.population]) for h in whole.holds if h.population in here]
    local = replace(
        whole,
        populations=tuple(populations),
        projections=tuple(projections),
        drives=tuple(driven(d, *own[d.population]) for d in whole.drives if d.population in here),
        poisson=tuple(d for d in whole.poisson if d.population in here),
        holds=tuple(h for h in holds if len(h.units)),
    )
    return Part(local, whole, own, ghosts)


def owned(p: Population, number: int, n_parts: int) -> Range:
    """First unit of a part, and the first one behind it.

    Parameters
    ----------
    p : Population
        Of the network.
    number, n_parts : int
        Which part, of how many.

    Returns
    -------
    (int, int)
        Equal where the part has none.
    """
    if not isinstance(p.neuron, Neuron):
        return (0, p.size) if number == 0 else (p.size, p.size)
    block = BLOCK if p.size >= 8 * BLOCK * n_parts else 1
    n_blocks = -(-p.size // block)
    begin, end = (block * (n_blocks * i // n_parts) for i in (number, number + 1))
    return begin, min(end, p.size)


def _reduced(p: Projection, network: Network, part: Range, seed: int) -> Projection:
    """A projection with its synapses onto a part, and with their numbers where they are listed."""
    n_pre, n_post = (network.populations[side].size for side in (p.pre, p.post))
    synapse, delay = p.synapse, p.delay
    if any(np.ndim(v) for v in (*synapse.params.values(), *synapse.init.values(), delay)):
        here, n = places(p.rule, n_pre, n_post, derive(seed, "projection", p.label), *part)

        def listed(value: Any) -> Any:
            if not np.ndim(value):
                return value
            return sized(_units.quantity(value)[0], n, f"a value of {p.label}")[here]

        synapse = replace(
            synapse,
            params={n: listed(v) for n, v in synapse.params.items()},
            init={n: listed(v) for n, v in synapse.init.items()},
        )
        delay = listed(delay)
    return replace(p, rule=onto(p.rule, *part), synapse=synapse, delay=delay)


def _ghost(p: PopulationPlan, name: str) -> PopulationPlan:
    nothing = np.empty(0)
    ids = np.arange(p.size).astype(str)
    never = SpikeTrains(nothing, nothing.astype(np.int32), units={"unit": ids}, support=[(0, 1)])
    return PopulationPlan(name, p.size, None, Spikes(never), {}, {}, {}, 0, 0)


def _onto_part(
    q: ProjectionPlan, begin: int, end: int, ghosts: Mapping[str, str]
) -> ProjectionPlan:
    variables, fixed = of_post(q, begin, end)
    return replace(
        q,
        pre=ghosts.get(q.pre, q.pre),
        targets=q.targets - np.int32(begin),
        variables=variables,
        fixed=fixed,
    )


def _held(h: HoldPlan, begin: int, end: int) -> HoldPlan:
    if h.variable == "spikes" and end == begin:
        return h  # units that fire by themselves: all of them run everywhere
    return held(h, begin, end)


def _check_local(q: ProjectionPlan) -> None:
    """Refuse what needs variables of neurons of other processes."""
    statements = [*q.on_pre, *q.on_post]
    values = [s.value for s in statements] + [a.value for p in q.advance.values() for a in p]
    values += list(q.sums.values())
    used = names_of(values) | {s.target for s in statements}
    far = sorted(n for n in used if n.startswith("pre_n_") and n not in {*q.fixed, *q.constants})
    if far:
        raise InvalidArgument(
            f"{q.name} reads or changes {far[0].removeprefix('pre_n_')!r} of the presynaptic "
            "neuron, which may be in another process; only spikes are exchanged"
        )
    shared = [s.target for s in q.on_post if s.target.startswith("pre_")]
    if shared:
        raise InvalidArgument(
            f"on_post of {q.name} changes {shared[0].removeprefix('pre_')!r}, which is marked "
            "(pre) and shared with synapses in other processes; leave the mark out"
        )
