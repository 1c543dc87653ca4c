"""Plan: give a network all its numbers, so that an engine only has to run it."""

from __future__ import annotations

from typing import Any

import numpy as np

from bregma.dynamics.language import _units
from bregma.dynamics.language._evaluate import prepare
from bregma.dynamics.language._initial import initial_values
from bregma.dynamics.language._neuron import Neuron
from bregma.dynamics.language._stability import stability
from bregma.dynamics.language._step import step_of
from bregma.dynamics.network._hold import FOREVER, hold_plan, window_steps
from bregma.dynamics.network._merge import merged
from bregma.dynamics.network._network import Drive, Network, PoissonDrive, Population
from bregma.dynamics.network._on_the_fly import planned
from bregma.dynamics.network._plan_parts import DrivePlan as DrivePlan
from bregma.dynamics.network._plan_parts import Plan as Plan
from bregma.dynamics.network._plan_parts import PoissonDrivePlan as PoissonDrivePlan
from bregma.dynamics.network._plan_parts import PopulationPlan as PopulationPlan
from bregma.dynamics.network._plan_parts import ProjectionPlan as ProjectionPlan
from bregma.dynamics.network._plan_parts import Statement as Statement
from bregma.dynamics.network._plan_parts import sized
from bregma.errors import InvalidArgument, UnstableSimulation
from bregma.run import derive


def plan(network: Network, *, dt: float, seed: int, dtype: Any = np.float32) -> Plan:
    """Give a network all its numbers: constants, connections, delays, first values.

    Parameters
    ----------
    network : Network
        What to run.
    dt : float
        Seconds per step.
    seed : int
        What all randomness follows from.
    dtype : dtype
        float32 or float64.

    Returns
    -------
    Plan
        The same for every engine.

    Raises
    ------
    InvalidEquation
        A name without a value, or units that do not match.
    InvalidArgument
        Negative delays, arrays of the wrong length, parameters that are not finite.
    """
    if not dt > 0:
        raise InvalidArgument(f"dt must be above 0, not {dt}")
    dtype = np.dtype(dtype)
    populations = tuple(
        _population(name, p, network, dt, seed, dtype) for name, p in network.populations.items()
    )
    projections = tuple(planned(p, network, dt, seed, dtype) for p in network.projections)
    drives, poisson = [], []
    for number, d in enumerate(network.drives):
        if isinstance(d, Drive):
            drives.append(drive_plan(d, network.populations[d.population].size, dt, dtype))
        else:
            poisson.append(_poisson(d, network, dt, derive(seed, "drive", number)))
    holds = tuple(
        hold_plan(h, network.populations[h.population].size, dt, dtype) for h in network.holds
    )
    return Plan(populations, projections, tuple(drives), tuple(poisson), dt, dtype, seed, holds)


def steps_of(duration: float, dt: float, what: str) -> int:
    """Whole steps of a duration, which must not be negative."""
    if duration < 0:
        raise InvalidArgument(f"{what} must not be negative, it is {duration:g} s")
    return round(duration / dt)


def _population(
    name: str, p: Population, network: Network, dt: float, seed: int, dtype: np.dtype
) -> PopulationPlan:
    key = derive(seed, "population", name)
    if not isinstance(p.neuron, Neuron):
        return PopulationPlan(name, p.size, None, p.neuron, {}, {}, {}, 0, key)
    values = {n: sized(v, p.size, f"{n!r} of {name!r}") for n, v in p.neuron.values.items()}
    joined = merged(network, name)
    values |= {n: np.asarray(v) for n, v in joined.values.items()}
    step = step_of(p.neuron, network.fed(name), joined)
    constants = {n: v.numpy().astype(dtype) for n, v in prepare(step.constants, values, dt).items()}
    initial = initial_values(p.neuron, p.size, derive(seed, "initial", name))
    try:
        fed = network.fed(name) | set(joined.currents)
        stability(p.neuron, initial, dt, fed=fed - set(p.neuron.inputs))
    except UnstableSimulation as error:
        raise UnstableSimulation(f"population {name!r}: {error}") from None
    initial |= {n: np.full(p.size, first) for n, first in joined.initial.items()}
    return PopulationPlan(
        name=name,
        size=p.size,
        step=step,
        source=None,
        constants=constants,
        parameters={n: np.asarray(v, dtype) for n, v in values.items()},
        initial={n: np.asarray(v, dtype) for n, v in initial.items()},
        refractory_steps=steps_of(step.refractory_time, dt, "refractory"),
        key=key,
    )


def drive_plan(d: Drive, size: int, dt: float, dtype: np.dtype) -> DrivePlan:
    """Give a drive of a population of some size its numbers."""
    values = np.asarray(_units.quantity(d.values)[0], dtype=np.float64)
    what = f"the drive of {d.variable!r} of {d.population!r}"
    if values.ndim > 2 or (values.ndim and values.shape[-1] != size):
        raise InvalidArgument(
            f"{what} has the shape {values.shape}; the last axis must be {size} units"
        )
    if not np.isfinite(values).all():
        raise InvalidArgument(f"{what} is not finite")
    frame = steps_of(_units.seconds(d.frame, "frame"), dt, "frame")
    if values.ndim == 2 and frame < 1:
        raise InvalidArgument(f"{what}: a frame must be at least one step long")
    first, last = window_steps(d.start, d.stop, dt, what)
    if (first, last) != (0, FOREVER):
        values = np.broadcast_to(values, np.broadcast_shapes(values.shape, (size,)))
    return DrivePlan(d.population, d.variable, values.astype(dtype), max(1, frame), first, last)


def _poisson(d: PoissonDrive, network: Network, dt: float, key: int) -> PoissonDrivePlan:
    rate, weight = (_units.quantity(v)[0] for v in (d.rate, d.weight))
    if not (np.ndim(rate) == 0 and np.isfinite(rate) and rate >= 0):
        raise InvalidArgument(f"the rate of the drive of {d.population!r} must be 0 or more")
    return PoissonDrivePlan(d.population, d.variable, float(rate) * dt, float(weight), key)
