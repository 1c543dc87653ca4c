"""Currents of synapses: kinetics that the postsynaptic unit carries once, however many synapses.

A synapse whose `current` depends on variables marked (post) needs one set of them for each
postsynaptic unit. They join the equations of that population, so that they are advanced with it by
the same method, and spikes add to them as to any variable of a neuron.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import sympy

from bregma.dynamics.language import _units
from bregma.dynamics.language._equations import with_units
from bregma.dynamics.language._grammar import names_of, symbol
from bregma.dynamics.language._merged import Merged
from bregma.dynamics.network._network import Network, Projection
from bregma.errors import InvalidArgument


def carried(p: Projection) -> dict[str, str]:
    """Variables of a projection that its postsynaptic population carries.

    Parameters
    ----------
    p : Projection
        The projection.

    Returns
    -------
    dict
        Name in the text of the synapse to name in the population.

    Raises
    ------
    InvalidArgument
        A current that depends on variables of single synapses or of the presynaptic side, or a
        statement at postsynaptic spikes that changes what is carried.
    """
    synapse, needed = p.synapse, set[str]()
    waiting = names_of(list(synapse.currents.values())) & set(synapse.states)
    while waiting:
        name = waiting.pop()
        if synapse.place_of(name) != "post":
            raise InvalidArgument(
                f"the current of {p.label} depends on {name!r}, which is not marked (post); what "
                "each synapse has of its own enters through summed="
            )
        needed.add(name)
        waiting |= (names_of([synapse.rates[name]]) & set(synapse.states)) - needed
    for s in synapse.post_statements:
        if s.target in needed:
            s.place.fail(
                f"{s.target!r} flows into the neuron, so only presynaptic spikes change it"
            )
    return {name: f"{prefix_of(p)}__{name}" for name in sorted(needed)}


def prefix_of(p: Projection) -> str:
    """How names of a projection begin in the population behind it, where it is one word."""
    return re.sub(r"\W+", "_", p.label.replace("->", "_to_"))


def merged(network: Network, population: str) -> Merged:
    """Collect what the synapses onto a population add to its equations.

    Parameters
    ----------
    network : Network
        The network.
    population : str
        Name of the population.

    Returns
    -------
    Merged
        Empty where no synapse has a current.

    Raises
    ------
    InvalidArgument
        Two projections whose names are the same once they are spelled as one word.
    """
    rates: dict[str, Any] = {}
    initial: dict[str, float] = {}
    values: dict[str, float] = {}
    currents: dict[str, Any] = {}
    by_prefix: dict[str, str] = {}
    for p in network.projections:
        if p.post != population or not p.synapse.currents:
            continue
        own, prefix = carried(p), prefix_of(p)
        other = by_prefix.setdefault(prefix, p.label)
        if other != p.label:
            raise InvalidArgument(
                f"{other!r} and {p.label!r} are both {prefix!r} as one word, so that their "
                f"currents cannot be told apart in {population!r}; give one of them another name="
            )
        numbers = {n: v for n, v in p.synapse.values.items() if _is_number(v)}
        there = network.populations[population].names
        names = {symbol(n): symbol(new) for n, new in own.items()}
        names |= {symbol(n): symbol(f"{prefix}__{n}") for n in numbers}
        names |= {symbol(f"{n}_post"): symbol(n) for n in there}

        def written(e: Any, names: Any = names, there: Any = there) -> Any:
            return with_units(e, {*map(str, names), *there}).xreplace(names)

        used = names_of([*p.synapse.currents.values(), *(p.synapse.rates[n] for n in own)])
        for name in used & set(p.synapse.values) - set(numbers):
            raise InvalidArgument(
                f"{name!r} of {p.label} is in its current, which all synapses share: give one "
                "number"
            )
        values |= {f"{prefix}__{n}": float(numbers[n]) for n in used & set(numbers)}
        for name, new in own.items():
            rates[new] = written(p.synapse.rates[name])
            first = p.synapse.init.get(name, 0.0)
            initial[new] = float(_units.quantity(first)[0])
        for target, e in p.synapse.currents.items():
            currents[target] = currents.get(target, sympy.Integer(0)) + written(e)
    return Merged(rates, initial, values, currents)


def _is_number(value: Any) -> bool:
    return not isinstance(value, str) and np.ndim(value) == 0
