"""First values of the variables of a population."""

from __future__ import annotations

from typing import Any

import numpy as np
import sympy
import torch

from bregma.dynamics.language._checks import numbers
from bregma.dynamics.language._equations import with_units
from bregma.dynamics.language._evaluate import evaluate
from bregma.dynamics.language._grammar import names_of
from bregma.dynamics.language._neuron import Neuron
from bregma.dynamics.randomness import _random
from bregma.errors import InvalidArgument


def initial_values(neuron: Neuron, size: int, key: int) -> dict[str, Any]:
    """First value of each variable for each unit.

    Parameters
    ----------
    neuron : Neuron
        With values or expressions in its `init`.
    size : int
        How many units.
    key : int
        Key of the random numbers behind ``rand`` and ``randn``.

    Returns
    -------
    dict
        Variable to array (unit,) in SI units.

    Raises
    ------
    InvalidArgument
        A name without a value, the wrong number of values, or values that are not finite.
    """
    units = np.arange(size)
    found = {}
    for stream, name in enumerate(neuron.states):
        first = neuron.first.get(name, 0.0)
        if isinstance(first, sympy.Basic):
            known = {n: torch.as_tensor(v, dtype=torch.float64) for n, v in neuron.values.items()}
            e = with_units(first, known)
            unknown = sorted(names_of([e]) - {*known, "rand", "randn"})
            if unknown:
                raise InvalidArgument(
                    f"init of {name!r}: {neuron.init[name]!r} has names without a value: "
                    f"{', '.join(unknown)}"
                )
            known["rand"] = torch.from_numpy(_random.uniform(key, units, 0, stream))
            known["randn"] = torch.from_numpy(_random.normal(key, units, 1, stream))
            value = np.asarray(evaluate(e, known), dtype=np.float64)
        else:
            value = numbers(first)
        if value.shape not in ((), (size,)):
            raise InvalidArgument(
                f"init of {name!r} has the shape {value.shape}; give one number, or {size}"
            )
        if not np.isfinite(value).all():
            raise InvalidArgument(f"init of {name!r} is not finite")
        found[name] = np.broadcast_to(value, (size,)).copy()
    return found
