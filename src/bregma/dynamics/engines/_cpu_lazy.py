"""Variables of synapses that only decay by themselves: brought up to date when an event needs them.

Such a variable is multiplied by one number P at every step. Nobody looks at it between the events
of its synapse, so it is multiplied by a power of P there, and once more at the end of the run. The
powers of a run stand in a table.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bregma.dynamics.language._evaluate import evaluate
from bregma.dynamics.language._grammar import names_of, symbol
from bregma.dynamics.network._plan import Plan
from bregma.dynamics.network._state import Probe


def lazy_variables(plan: Plan, number: int, probes: Sequence[Probe]) -> dict[str, float]:
    """Variables of a projection that can wait, with the factor of one step.

    Parameters
    ----------
    plan : Plan
        What is run.
    number : int
        Which projection.
    probes : sequence of Probe
        What is looked at: that cannot wait.

    Returns
    -------
    dict
        Name of the array to factor.
    """
    q = plan.projections[number]
    program = q.advance.get("synapse", ())
    watched = {p.variable for p in probes if p.owner == q.name} | names_of(list(q.sums.values()))
    found = {}
    for a in program:
        name = a.target.removesuffix("__next")
        factor = a.value / symbol(name)
        others = names_of([b.value for b in program if b is not a])
        if name not in watched | others and names_of([factor]) <= {*q.constants}:
            found[name] = float(evaluate(factor, q.constants))
    return found


def powers(factor: float, n_steps: int) -> np.ndarray:
    """Factors of 0 to `n_steps` steps."""
    return np.power(float(factor), np.arange(n_steps + 1))
