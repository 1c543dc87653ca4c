"""Whether a time step is short enough for the equations: decaying modes must decay."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch

from bregma.dynamics.language import _units
from bregma.dynamics.language._checks import numbers
from bregma.dynamics.language._evaluate import evaluate, prepare
from bregma.dynamics.language._integrate import next_of, noise_of
from bregma.dynamics.language._neuron import Neuron
from bregma.dynamics.language._step import step_of
from bregma.errors import InvalidArgument, UnknownName, UnstableSimulation

MOST_UNITS = 8  # units that are looked at; they differ in parameters and states
MARGIN = 1e-9  # rounding of eigenvalues


def stability(
    neuron: Neuron, values: Mapping[str, Any], dt: float | str, *, fed: Iterable[str] = ()
) -> None:
    """Refuse a time step at which the method blows up what decays in the equations.

    Around a state, the equations are x' = J x and a step multiplies x by a matrix M. A mode of J
    that decays must not grow under M. Explicit methods grow it where dt is longer than about two
    of its time constants; exact and exponential steps hardly ever do. States far from the given
    ones may be stiffer, so this finds mistakes and proves nothing.

    Parameters
    ----------
    neuron : Neuron
        With values for its parameters.
    values : mapping
        Variables and inputs around which to look: numbers in SI units, text with a unit, or one
        number for each unit; 0 where nothing is given.
    dt : float or str
        The time step, in seconds or with a unit.
    fed : iterable of str
        Names that something feeds, as for `step_of`.

    Raises
    ------
    UnstableSimulation
        Naming the variable, its time constant and a time step that is short enough.
    UnknownName
        A value for something that is no variable, input or fed name.
    """
    dt = _units.seconds(dt, "dt")
    if dt <= 0:
        raise InvalidArgument(f"dt must be above 0, not {dt}")
    there = {*neuron.states, *neuron.inputs, *fed, "t"}
    for name in values:
        if name not in there:
            raise UnknownName.of("variable or input", name, sorted(there))
    if not neuron.states:
        return
    around, parameters = _few_units(
        {n: numbers(_units.quantity(values.get(n, 0.0))[0]) for n in sorted(there)},
        {n: numbers(v) for n, v in neuron.values.items()},
    )
    rates = _jacobian({n: neuron.rates[n] for n in neuron.states}, around | parameters, neuron, dt)
    worst = _worst(rates, _steps(neuron, around, parameters, dt, fed))
    if worst is None:
        return
    variable, time_constant = neuron.states[worst[0]], worst[1]
    enough = dt
    while worst is not None:
        enough /= 1.25
        worst = _worst(rates, _steps(neuron, around, parameters, enough, fed))
    raise UnstableSimulation(
        f"dt = {1e3 * dt:g} ms is too long for {variable!r}, which relaxes with a time constant of "
        f"{1e3 * time_constant:.3g} ms: it would grow instead, with method={neuron.method!r}. "
        f"Take dt = {_shorter(1e3 * enough):g} ms or less"
    )


def _few_units(*groups: dict[str, np.ndarray]) -> list[dict[str, torch.Tensor]]:
    """A few of the units, evenly spaced, as tensors (unit,)."""
    size = max((a.size for group in groups for a in group.values() if a.ndim), default=1)
    chosen = np.unique(np.linspace(0, size - 1, MOST_UNITS).astype(int))

    def few(a: np.ndarray) -> torch.Tensor:
        if a.shape not in ((), (size,)):
            raise InvalidArgument(f"values have the shapes {a.shape} and ({size},)")
        return torch.from_numpy(np.broadcast_to(a, (size,))[chosen].astype(np.float64))

    return [{n: few(a) for n, a in group.items()} for group in groups]


def _jacobian(
    outputs: Mapping[str, Any], values: Mapping[str, torch.Tensor], neuron: Neuron, dt: float
) -> np.ndarray:
    """Derivatives of expressions by the variables of a neuron: (unit, output, variable)."""
    known = {**values, "dt": torch.tensor(dt, dtype=torch.float64)}
    states = [known[n].clone().requires_grad_() for n in neuron.states]
    known |= dict(zip(neuron.states, states, strict=True))
    return _derivatives([evaluate(e, known) for e in outputs.values()], states)


def _steps(
    neuron: Neuron,
    around: Mapping[str, torch.Tensor],
    parameters: Mapping[str, torch.Tensor],
    dt: float,
    fed: Iterable[str],
) -> np.ndarray:
    """Derivatives of the next values by the present ones: (unit, variable, variable)."""
    step = step_of(neuron, fed)
    known: dict[str, Any] = {**around, **prepare(step.constants, parameters, dt)}
    known |= {noise_of(n): torch.zeros((), dtype=torch.float64) for n in step.noises}
    states = [around[n].clone().requires_grad_() for n in neuron.states]
    known |= dict(zip(neuron.states, states, strict=True))
    for a in step.advance:
        known[a.target] = evaluate(a.value, known)
    return _derivatives([known[next_of(n)] for n in neuron.states], states)


def _derivatives(outputs: list[Any], states: list[torch.Tensor]) -> np.ndarray:
    rows = []
    for output in outputs:
        if not isinstance(output, torch.Tensor) or not output.requires_grad:
            rows.append([torch.zeros_like(s) for s in states])
            continue
        found = torch.autograd.grad(output.sum(), states, retain_graph=True, allow_unused=True)
        rows.append(
            [torch.zeros_like(s) if g is None else g for g, s in zip(found, states, strict=True)]
        )
    return torch.stack([torch.stack(row, -1) for row in rows], -2).numpy()


def _worst(rates: np.ndarray, steps: np.ndarray) -> tuple[int, float] | None:
    """Variable and time constant of the decaying mode that grows most, if one does."""
    worst, found = 1.0 + MARGIN, None
    for J, M in zip(rates, steps, strict=True):
        if not (np.isfinite(J).all() and np.isfinite(M).all()):
            continue
        eigenvalues, right = np.linalg.eig(J)
        left = np.linalg.pinv(right)
        growth = np.abs(np.einsum("kj,ji,ik->k", left, M, right))
        for k in np.flatnonzero((eigenvalues.real < 0) & (growth > worst)):
            worst = growth[k]
            share = np.abs(left[k] * right[:, k])  # of each variable, whatever its unit
            found = int(np.argmax(share)), float(-1 / eigenvalues[k].real)
    return found


def _shorter(number: float) -> float:
    """The next smaller number with one digit."""
    size = 10.0 ** np.floor(np.log10(number))
    return float(np.floor(number / size + 1e-9) * size)
