"""What a run starts from, what is looked at meanwhile and what it gives, for every engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bregma.dynamics._plan import Plan

Array = np.ndarray


@dataclass(frozen=True)
class State:
    """Everything that the next step depends on, beside the plan.

    Parameters
    ----------
    step : int
        How many steps are done.
    values : mapping
        Name to array: ``E.v`` (unit,) for variables of a population; ``E.refractory`` (unit,)
        int32, for how many more steps, or 0 and 1 where a condition rules; ``E.recent`` (delay,
        unit) bool, who spiked in the steps before, oldest first, as far back as the longest delay;
        ``E->I.syn_w`` and the like for variables of projections.
    """

    step: int
    values: Mapping[str, Array]


@dataclass(frozen=True)
class Probe:
    """What to write down at every `every`-th step.

    owner : a population or projection; variable : a variable or expression of it (of a projection:
    the name of an array of the plan); units : which, all where it is None.
    """

    owner: str
    variable: str
    units: Array | None = None
    every: int = 1


@dataclass(frozen=True)
class Outcome:
    """What an engine gives back after some steps.

    spikes : population -> (steps, units), int64 and int32, sorted by step and unit; a spike of
    step k happened at time (k + 1) dt.
    traces : one array (sample, unit) for each probe: values after the steps k with
    (k + 1) % every == 0.
    state : where the next run goes on.
    """

    spikes: Mapping[str, tuple[Array, Array]]
    traces: tuple[Array, ...]
    state: State


def initial_state(plan: Plan) -> State:
    """State before the first step.

    Parameters
    ----------
    plan : Plan
        What will be run.

    Returns
    -------
    State
        First values of all variables; nobody is refractory, and nothing is under way.
    """
    values: dict[str, Array] = {}
    for p in plan.populations:
        values |= {f"{p.name}.{n}": v.copy() for n, v in p.initial.items()}
        values[f"{p.name}.refractory"] = np.zeros(p.size, np.int32)
        longest = max((q.longest_delay for q in plan.projections if q.pre == p.name), default=0)
        values[f"{p.name}.recent"] = np.zeros((longest, p.size), bool)
    for q in plan.projections:
        values |= {f"{q.name}.{n}": v.copy() for n, v in q.variables.items()}
    return State(0, values)
