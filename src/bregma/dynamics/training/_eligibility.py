"""Eligibility traces: derivatives of a unit's variables by its weights, carried along in time.

The derivative of the variables x of unit j by its weight from i follows

    e[k] = (dx[k]/dx[k-1]) e[k-1] + (dx[k]/dI) z_i[k],

where z_i is what comes from i and the Jacobian is that of the step of one unit, taken symbolically.
What goes through other units is left out, so that nothing has to be kept over time.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import no_type_check

import numpy as np
import torch
from jaxtyping import Float
from numba import njit
from torch import Tensor

from bregma.dynamics.language._adjoint import adjoint_of
from bregma.dynamics.language._evaluate import evaluate
from bregma.dynamics.training._scan_program import (
    BAR_OF_SPIKE,
    ScanProgram,
    gradient_of,
    needed,
    out_of,
)
from bregma.run._threads import in_threads


class StepJacobian:
    """Derivatives of one step of one unit: variables and spike by variables and input.

    Parameters
    ----------
    program : ScanProgram
        A step with spikes.
    input : str
        The input.
    """

    def __init__(self, program: ScanProgram, input: str) -> None:
        self.program, self.states = program, program.step.states
        self.targets = [gradient_of(n) for n in (*self.states, input)]
        self.back = needed(program.reverse([input], ["spikes"]), self.targets)

    def __call__(self, env: Mapping[str, Tensor]) -> Float[Tensor, "of by batch unit"]:
        """Jacobian from all values of the step; the spike comes last, and so does the input."""
        like = env[self.states[0]]
        n = len(self.states)
        bars = torch.eye(n + 1, dtype=like.dtype)[:, :, None, None]
        values = dict(env)
        values |= {adjoint_of(out_of(name)): bars[i] for i, name in enumerate(self.states)}
        values[BAR_OF_SPIKE] = bars[n]
        for a in self.back:
            values[a.target] = torch.as_tensor(evaluate(a.value, values)).to(like)
        shape = (n + 1, *like.shape)
        return torch.stack([values[name].expand(shape) for name in self.targets], 1)


class Eligibility:
    """Traces (variable, batch, unit, source) of all weights of a population.

    Parameters
    ----------
    n_states : int
        Variables of a unit.
    batch, size, n_sources : int
        Sequences, units, and what each of them hears.
    leak : float
        How much of a filtered trace is left after a step: that of a leaky readout.
    dtype : torch.dtype
        Type of numbers.
    """

    def __init__(
        self, n_states: int, batch: int, size: int, n_sources: int, leak: float, dtype: torch.dtype
    ) -> None:
        self.traces = torch.zeros(n_states, batch, size, n_sources, dtype=dtype)
        self.filtered = torch.zeros(batch, size, n_sources, dtype=dtype)
        self.gradient = torch.zeros(size, n_sources, dtype=dtype)
        self.leak = leak

    def step(
        self,
        jacobian: Float[Tensor, "of by batch unit"],
        sources: Float[Tensor, "batch source"],
    ) -> None:
        """Carry the traces on by one step."""
        arrays = [
            x.detach().contiguous().numpy() for x in (jacobian, sources, self.traces, self.filtered)
        ]
        leak = arrays[0].dtype.type(self.leak)
        n_units = self.gradient.shape[0]
        parts = np.linspace(0, n_units, min(8, n_units) + 1).astype(int).tolist()
        blocks = list(pairwise(parts))
        in_threads(lambda a, b: _advance(*arrays, leak, a, b), blocks)

    def learn(self, signal: Float[Tensor, "batch unit"]) -> None:
        """Add derivatives by weights: a learning signal for each unit, times its traces."""
        self.gradient += torch.einsum("bu,bus->us", signal, self.filtered)


@no_type_check
@njit(cache=True, nogil=True)
def _advance(jacobian, sources, traces, filtered, leak, first, last):
    n, n_batch, _, n_sources = traces.shape
    old = np.empty((n, n_sources), traces.dtype)
    for b in range(n_batch):
        z = sources[b]
        for u in range(first, last):
            kept = filtered[b, u]
            by_input = jacobian[n, n, b, u]
            for i in range(n_sources):
                kept[i] = leak * kept[i] + by_input * z[i]
            for s in range(n):
                before, trace, slope = old[s], traces[s, b, u], jacobian[n, s, b, u]
                for i in range(n_sources):
                    before[i] = trace[i]
                    kept[i] += slope * before[i]
            for r in range(n):
                trace, by_input = traces[r, b, u], jacobian[r, n, b, u]
                for i in range(n_sources):
                    trace[i] = by_input * z[i]
                for s in range(n):
                    before, slope = old[s], jacobian[r, s, b, u]
                    for i in range(n_sources):
                        trace[i] += slope * before[i]
