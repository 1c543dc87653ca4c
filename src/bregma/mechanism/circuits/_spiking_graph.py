"""The graph of a spiking circuit: its populations, and the projections between them."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float

from bregma.dynamics import Trials
from bregma.dynamics.network._plan_parts import Plan, ProjectionPlan
from bregma.errors import InvalidArgument
from bregma.mechanism.circuits._contrast import Metric, Pairs, logit_difference
from bregma.mechanism.circuits._graph import Graph, Kept, number_of
from bregma.recording import Stimuli
from bregma.system import CircuitSystem, rewired
from bregma.system._preprocess import as_stimuli

TWIN = "'"  # behind the name of a population that sees the corrupt input


class SpikingGraph(Graph):
    """Populations of a spiking circuit, and the edges between them.

    The circuit is run twice at the same time, with the clean and with the corrupt stimulus, and
    with the same noise. Along an edge that is not kept, a population of the clean circuit gets the
    spikes of its partner in the corrupt one, through the same synapses with the same delays.

    Senders are populations that project to others, receivers those that are projected to.
    Recurrent connections are edges like others. Answers are firing rates.

    Parameters
    ----------
    system : CircuitSystem
        The circuit, how it is shown stimuli, and the window in which rates are counted.
    answers : str
        Population whose units answer: ``right`` and ``wrong`` of pairs are numbers of its units.
    repeats : int
        Trials with noise of their own for each pair, of which the mean is taken.
    seed : int
        Of the noise.

    Raises
    ------
    UnknownName
        There is no such population, or nothing projects to it.
    InvalidArgument
        A perturbed system, or no repeat.
    """

    def __init__(
        self, system: CircuitSystem, answers: str, *, repeats: int = 1, seed: int = 0
    ) -> None:
        if system.perturbations:
            raise InvalidArgument(
                f"{system.name!r} is perturbed already; give the system without perturbations"
            )
        if repeats < 1:
            raise InvalidArgument(f"repeats must be 1 or more, not {repeats}")
        self.system, self.answers, self.repeats, self.seed = system, answers, repeats, seed
        self.name = system.name
        plan = system._trials.plan.stored
        names = [p.name for p in plan.populations]
        pairs = {(q.pre, q.post) for q in plan.projections}
        self.senders = tuple(n for n in names if any(n == pre for pre, _ in pairs))
        self.receivers = tuple(n for n in names if any(n == post for _, post in pairs))
        number_of("population that is projected to", answers, self.receivers)
        self.joined = np.array([[(s, r) in pairs for r in self.receivers] for s in self.senders])
        self._plan = plan

    def part_of(self, receiver: str) -> str:
        """The sender of that name; empty for the answers and for those that send nothing."""
        return receiver if receiver in self.senders and receiver != self.answers else ""

    def again(self, seed: int) -> SpikingGraph:
        """The graph of the circuit with other pairs of units connected, as many for each.

        Parameters
        ----------
        seed : int
            Draws them.

        Returns
        -------
        SpikingGraph
            With the same senders and receivers.
        """
        [twin] = rewired(self.system, seeds=seed)
        return SpikingGraph(twin, self.answers, repeats=self.repeats, seed=self.seed)

    def measure(
        self, pairs: Pairs, subgraphs: Sequence[Kept], *, metric: Metric = logit_difference
    ) -> Float[np.ndarray, "subgraph pair"]:
        """What subgraphs give; see `Graph`."""
        clean, corrupt = (as_stimuli(np.asarray(x)) for x in (pairs.clean, pairs.corrupt))
        found = []
        for kept in subgraphs:
            if kept.shape != self.joined.shape:
                raise InvalidArgument(
                    f"a subgraph has the shape {self.joined.shape}, not {kept.shape}"
                )
            trials = copy(self.system._trials)
            trials.plan = self._doubled(set(self.named(kept & self.joined)))
            rates = [
                np.mean(
                    [
                        self._rates(trials, clean[[i]], corrupt[[i]], repeat)
                        for repeat in range(self.repeats)
                    ],
                    axis=0,
                )
                for i in range(len(pairs))
            ]
            found.append(metric(torch.from_numpy(np.stack(rates)), pairs).numpy())
        return np.stack(found)

    def _doubled(self, kept: set[tuple[str, str]]) -> Plan:
        """The circuit and its partner; every edge comes from one of the two."""
        plan, projections = self._plan, list[ProjectionPlan]()
        for q in plan.projections:
            stays = (q.pre, q.post) in kept
            other = replace(q, name=f"{q.name} across", pre=q.pre + TWIN)
            projections += [q if stays else _without_synapses(q)]
            projections += [_without_synapses(other) if stays else other]
            projections += [replace(q, name=q.name + TWIN, pre=q.pre + TWIN, post=q.post + TWIN)]
        return replace(
            plan,
            populations=(
                *plan.populations, *(replace(p, name=p.name + TWIN) for p in plan.populations)
            ),
            projections=tuple(projections),
            drives=(
                *plan.drives, *(replace(d, population=d.population + TWIN) for d in plan.drives)
            ),
            poisson=(
                *plan.poisson, *(replace(d, population=d.population + TWIN) for d in plan.poisson)
            ),
            holds=(
                *plan.holds, *(replace(h, population=h.population + TWIN) for h in plan.holds)
            ),
        )  # fmt: skip

    def _rates(
        self, trials: Trials, clean: Stimuli, corrupt: Stimuli, repeat: int
    ) -> Float[np.ndarray, " unit"]:
        """Spikes per second of the answering units in one trial."""
        sources, drives = self.system._inputs(clean)
        other_sources, other_drives = self.system._inputs(corrupt)
        result = trials.run(
            self.system.duration,
            trial=[str(clean.ids[0]), repeat, self.seed],  # as when it is recorded
            sources=sources | {name + TWIN: source for name, source in other_sources.items()},
            drives=[
                *drives, *(replace(d, population=d.population + TWIN) for d in other_drives)
            ],
        )  # fmt: skip
        steps, units = self.system._spikes(result, self.answers)
        clock = self.system.clock
        inside = units[(steps >= clock.start) & (steps < clock.stop)]
        size = self._plan.population(self.answers).size
        return np.bincount(inside, minlength=size) / ((clock.stop - clock.start) * clock.dt)


def _without_synapses(q: ProjectionPlan) -> ProjectionPlan:
    """The same projection with no synapse: the same code runs, and does nothing."""

    def none(name: str, values: np.ndarray) -> np.ndarray:
        return values[:0] if name.startswith("syn_") and values.ndim else values

    return replace(
        q,
        indptr=np.zeros_like(q.indptr),
        targets=q.targets[:0],
        delay=q.delay if isinstance(q.delay, int) else q.delay[:0],
        variables={name: none(name, values) for name, values in q.variables.items()},
        fixed={name: none(name, values) for name, values in q.fixed.items()},
    )
