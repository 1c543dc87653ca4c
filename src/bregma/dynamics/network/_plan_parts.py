"""Plan: a network with all its numbers, the same for every engine.

Names in statements of synapses are those of arrays: ``pre_n_v`` and ``post_n_v`` belong to the
neurons on the two sides, ``pre_x``, ``post_y`` and ``syn_w`` to the synapse; constants are scalars.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import sympy

from bregma.dynamics.connect._connect import FixedOutDegree, FixedProbability
from bregma.dynamics.connect._connect_part import Onto
from bregma.dynamics.language._step import Program, Step
from bregma.dynamics.network._hold import FOREVER, SPIKES, HoldPlan
from bregma.dynamics.network._network import Poisson, Spikes
from bregma.errors import InvalidArgument, UnknownName

Array = np.ndarray


@dataclass(frozen=True)
class PopulationPlan:
    """A population with its numbers.

    step : its equations, None for units that fire at random or at given times.
    constants, parameters : name -> array of shape () or (unit,); parameters are for statements.
    initial : variable -> (unit,).
    refractory_steps : for how many steps after a spike a unit is refractory.
    key, first : key of its random numbers, and the number that its first unit has in them: not 0
    where this is a part of a larger population.
    """

    name: str
    size: int
    step: Step | None
    source: Poisson | Spikes | None
    constants: Mapping[str, Array]
    parameters: Mapping[str, Array]
    initial: Mapping[str, Array]
    refractory_steps: int
    key: int
    first: int = 0

    @property
    def numbers(self) -> Array:
        """Numbers of its units, which random numbers are drawn for."""
        return np.arange(self.first, self.first + self.size)

    @property
    def spikes(self) -> bool:
        """Whether its units can spike."""
        return self.step is None or self.step.distance is not None


@dataclass(frozen=True)
class Statement:
    """One statement at an event.

    kind : "unit" (once for each unit that spiked: a variable that its synapses share), "synapse"
    (for each synapse: a variable of its own), or "add" (for each synapse: `value` is added to a
    variable of a unit, whatever the order of the synapses).
    target : name of the array, such as ``post_n_g_e``.
    """

    kind: str
    target: str
    value: sympy.Expr


@dataclass(frozen=True)
class Drawn:
    """Rows of a rule that are drawn at each spike, onto the units `begin` to `end` - 1."""

    rule: FixedProbability | FixedOutDegree
    n_pre: int
    n_post: int
    key: int
    begin: int
    end: int


@dataclass(frozen=True)
class ProjectionPlan:
    """A projection with its synapses, by presynaptic unit.

    indptr, targets : the synapses of presynaptic unit i are indptr[i] to indptr[i + 1].
    delay : steps, one number or one for each synapse.
    variables : name of array -> first values: (pre,), (post,) or (synapse,).
    fixed : arrays that never change, likewise.
    constants : name -> number.
    advance : place -> straight-line code of one step of the variables kept there, assigning
    ``<array>__next``; variables that only statements change have none.
    sums : input of the postsynaptic neuron -> expression for each synapse.
    carried : variable of the synapse -> variable of the postsynaptic population that stands for it.
    drawn : where it has no synapses in memory, how they are drawn.
    """

    name: str
    pre: str
    post: str
    indptr: Array
    targets: Array
    delay: int | Array
    variables: Mapping[str, Array]
    fixed: Mapping[str, Array]
    constants: Mapping[str, Array]
    advance: Mapping[str, Program]
    on_pre: tuple[Statement, ...]
    on_post: tuple[Statement, ...]
    sums: Mapping[str, sympy.Expr]
    carried: Mapping[str, str]
    drawn: Drawn | None = None

    @property
    def longest_delay(self) -> int:
        """Steps."""
        return int(np.max(self.delay, initial=0))


@dataclass(frozen=True)
class DrivePlan:
    """An input over time: values of shape (), (unit,) or (frame, unit), each frame_steps long.

    first, last : it acts from step `first` up to step `last`, and is 0 in others.
    """

    population: str
    variable: str
    values: Array
    frame_steps: int
    first: int = 0
    last: int = FOREVER

    @property
    def always(self) -> bool:
        """Whether it acts at every step."""
        return (self.first, self.last) == (0, FOREVER)


@dataclass(frozen=True)
class PoissonDrivePlan:
    """Events that add `weight` to a variable, `mean` of them expected at a step."""

    population: str
    variable: str
    mean: float
    weight: float
    key: int


@dataclass(frozen=True)
class Plan:
    """Everything that an engine needs to run a network."""

    populations: tuple[PopulationPlan, ...]
    projections: tuple[ProjectionPlan, ...]
    drives: tuple[DrivePlan, ...]
    poisson: tuple[PoissonDrivePlan, ...]
    dt: float
    dtype: np.dtype
    seed: int
    holds: tuple[HoldPlan, ...] = ()

    def holds_spikes(self, population: str) -> bool:
        """Whether spikes of a population are held."""
        return any(h.population == population and h.variable == SPIKES for h in self.holds)

    def population(self, name: str) -> PopulationPlan:
        """The population of that name, or an error with the nearest names."""
        for p in self.populations:
            if p.name == name:
                return p
        raise UnknownName.of("population", name, [p.name for p in self.populations])

    @cached_property
    def stored(self) -> Plan:
        """The same with all synapses in memory, for engines that draw none."""
        if all(q.drawn is None for q in self.projections):
            return self
        return replace(self, projections=tuple(_stored(q) for q in self.projections))


def _stored(q: ProjectionPlan) -> ProjectionPlan:
    if q.drawn is None:
        return q
    d = q.drawn
    rows = Onto(d.rule, d.begin, d.end).rows(d.n_pre, d.n_post, d.key, 0, d.n_pre)
    return replace(q, indptr=rows.indptr, targets=rows.targets - np.int32(d.begin), drawn=None)


def sized(value: Any, size: int, what: str) -> Array:
    array = np.asarray(value, dtype=np.float64)
    if array.shape not in ((), (size,)):
        raise InvalidArgument(f"{what} has the shape {array.shape}; give one number, or {size}")
    if not np.isfinite(array).all():
        raise InvalidArgument(f"{what} is not finite")
    return array
