"""What synapses add to the equations of the population behind them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import sympy

from bregma.dynamics.language._grammar import symbol


@dataclass(frozen=True)
class Merged:
    """What the synapses onto a population add to its equations.

    rates, initial : variable -> rate and first value; values : parameter -> number;
    currents : input of the neuron -> what flows into it.
    """

    rates: Mapping[str, sympy.Expr] = field(default_factory=dict)
    initial: Mapping[str, float] = field(default_factory=dict)
    values: Mapping[str, float] = field(default_factory=dict)
    currents: Mapping[str, sympy.Expr] = field(default_factory=dict)

    def into(self, expression: Any, fed: Collection[str]) -> Any:
        """An expression with the currents in its inputs, beside what else feeds these."""
        inputs = {n: symbol(n) if n in fed else sympy.Integer(0) for n in self.currents}
        return expression.xreplace({symbol(n): x + self.currents[n] for n, x in inputs.items()})
