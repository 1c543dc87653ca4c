"""How many threads a step of a network is worth: each has to have a microsecond of it.

The work is estimated from what a step does, with costs that were measured on one core. That is good
to a factor of two, which is enough: meeting takes 0.1 to 0.2 microseconds where cores are free.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import sympy

from bregma.dynamics.engines._cpu_together import divisible
from bregma.dynamics.network._network import Poisson
from bregma.dynamics.network._plan import Plan, PopulationPlan, ProjectionPlan

ENOUGH = 1e-6  # seconds of work in a step for each thread
RATE = 10.0  # spikes per second that a unit is taken to have

# Seconds, by one core: of one unit or synapse, in loops that are vector code where they can be
OPERATION = 0.02e-9
FUNCTION = 0.6e-9  # exp and its like
NORMAL = 3.6e-9  # a random number
UNIFORM = 2e-9
SYNAPSE = 0.7e-9  # to add something to where another number says


def most_threads(plan: Plan) -> int:
    """As many threads as a network could use, whatever the machine has.

    Parameters
    ----------
    plan : Plan
        The network with its numbers.

    Returns
    -------
    int
        1 where threads cannot share it.
    """
    return max(1, int(seconds_of_step(plan) / ENOUGH)) if divisible(plan) else 1


def seconds_of_step(plan: Plan) -> float:
    """About how long one thread takes for one step, without what threads cannot share.

    Parameters
    ----------
    plan : Plan
        The network with its numbers.

    Returns
    -------
    float
        Seconds.
    """
    found = sum(p.size * _unit(p) for p in plan.populations)
    found += sum(plan.population(e.population).size * UNIFORM for e in plan.poisson)
    return found + sum(_projection(q, RATE * plan.dt) for q in plan.projections)


def _unit(p: PopulationPlan) -> float:
    if p.step is None:
        return UNIFORM if isinstance(p.source, Poisson) else 0.0
    return _cost(a.value for a in p.step.advance) + NORMAL * len(p.step.noises)


def _projection(q: ProjectionPlan, spikes: float) -> float:
    """Synapses that are drawn on the spot are drawn by every thread."""
    n = len(q.targets)
    each = sum(SYNAPSE + _cost([e]) for e in q.sums.values())
    each += _cost(a.value for a in q.advance.get("synapse", ()))
    each += spikes * sum(SYNAPSE + _cost([s.value]) for s in (*q.on_pre, *q.on_post))
    return n * each + len(q.indptr) * _cost(a.value for a in q.advance.get("post", ()))


def _cost(expressions: Iterable[Any]) -> float:
    """Of a unit or synapse: what is written twice is computed once."""
    return sum(map(_cost_of, expressions), 0.0)


@lru_cache(4096)
def _cost_of(expression: Any) -> float:
    functions = [x for x in expression.atoms(sympy.Function) if not isinstance(x, sympy.Piecewise)]
    return OPERATION * float(expression.count_ops()) + FUNCTION * len(functions)
