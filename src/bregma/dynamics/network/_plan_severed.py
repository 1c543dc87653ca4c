"""Cut and scale the synapses of a projection."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from bregma.dynamics.language._synapse import Synapse
from bregma.dynamics.network._plan_parts import Array, ProjectionPlan
from bregma.dynamics.network._severed import Severed


def scaled(
    synapse: Synapse,
    changes: Sequence[Severed],
    drawn: Callable[[Any, str], Array],
    among: Callable[[Severed], Array],
) -> Synapse:
    """The synapse with one number for each synapse where a parameter or first value is scaled.

    Parameters
    ----------
    synapse : Synapse
        As it was.
    changes : sequence of Severed
        What is done to it.
    drawn : callable
        A value and what it is to numbers: one, or one for each synapse.
    among : callable
        Which synapses a change means.

    Returns
    -------
    Synapse
        With arrays.
    """
    for change in changes:
        if not change.name:
            continue
        name, is_state = change.name, change.name in synapse.states
        values = drawn(
            synapse.init.get(name, 0.0) if is_state else synapse.values[name],
            f"{name} at the beginning" if is_state else name,
        )
        new = {name: values * np.where(among(change), change.factor, 1.0)}
        synapse = (
            replace(synapse, init={**synapse.init, **new})
            if is_state
            else replace(synapse, params={**synapse.params, **new})
        )
    return synapse


def without(q: ProjectionPlan, gone: Array) -> ProjectionPlan:
    """A projection without some of its synapses.

    Parameters
    ----------
    q : ProjectionPlan
        With all of them.
    gone : array of bool
        Which are cut.

    Returns
    -------
    ProjectionPlan
        With the others, whose numbers are as they were.
    """
    if not gone.any():
        return q
    left = np.append(0, np.cumsum(~gone))
    return replace(
        q,
        indptr=left[q.indptr],
        targets=q.targets[~gone],
        delay=q.delay if isinstance(q.delay, int) else q.delay[~gone],
        variables={n: v[~gone] if n.startswith("syn_") else v for n, v in q.variables.items()},
        fixed={n: v[~gone] if n.startswith("syn_") else v for n, v in q.fixed.items()},
    )
