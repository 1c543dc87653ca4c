"""Some units of a plan: a population that is cut out of a larger one, and what acts on it.

A slice draws the random numbers that its units have in the whole population.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from bregma.dynamics.network._hold import HoldPlan
from bregma.dynamics.network._network import Poisson
from bregma.dynamics.network._plan_parts import DrivePlan, PopulationPlan, ProjectionPlan


def sliced(p: PopulationPlan, begin: int, end: int) -> PopulationPlan:
    """The units `begin` to `end` - 1 of a population.

    Parameters
    ----------
    p : PopulationPlan
        All of it.
    begin, end : int
        Which units, maybe none.

    Returns
    -------
    PopulationPlan
        With `first` moved on; given spikes keep the trains of all units.
    """
    source = p.source
    if isinstance(source, Poisson) and source.rates.ndim:
        source = replace(source, rate=source.rates[..., begin:end])
    return replace(
        p,
        size=end - begin,
        source=source,
        constants=_cut(p.constants, begin, end),
        parameters=_cut(p.parameters, begin, end),
        initial=_cut(p.initial, begin, end),
        first=p.first + begin,
    )


def of_post(q: ProjectionPlan, begin: int, end: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Variables and fixed arrays of a projection, with those of units that receive cut to a part.

    Parameters
    ----------
    q : ProjectionPlan
        The projection.
    begin, end : int
        Which units of the postsynaptic population.

    Returns
    -------
    (dict, dict)
        Name to array.
    """

    def cut(arrays: Mapping[str, Any]) -> dict[str, Any]:
        return {n: v[begin:end] if n.startswith("post_") else v for n, v in arrays.items()}

    return cut(q.variables), cut(q.fixed)


def driven(d: DrivePlan, begin: int, end: int) -> DrivePlan:
    """A drive of some units.

    Parameters
    ----------
    d : DrivePlan
        Of the whole population.
    begin, end : int
        Which units.

    Returns
    -------
    DrivePlan
        Itself where it is one number.
    """
    return replace(d, values=np.array(d.values[..., begin:end])) if d.values.ndim else d


def held(h: HoldPlan, begin: int, end: int) -> HoldPlan:
    """A hold of some units, maybe of none.

    Parameters
    ----------
    h : HoldPlan
        Of units of the whole population.
    begin, end : int
        Which units.

    Returns
    -------
    HoldPlan
        Units are numbered from `begin`.
    """
    here = (h.units >= begin) & (h.units < end)
    return replace(h, units=h.units[here] - begin, values=np.ascontiguousarray(h.values[:, here]))


def _cut(values: Mapping[str, Any], begin: int, end: int) -> dict[str, Any]:
    return {n: v[begin:end] if v.ndim else v for n, v in values.items()}
