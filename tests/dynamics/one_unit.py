"""Simulate single units without a network: the printed step in NumPy, slow and in float64."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.integrate
import scipy.special
import sympy

from bregma.dynamics.language._evaluate import evaluate, prepare
from bregma.dynamics.language._functions import dexprel, exprel
from bregma.dynamics.language._grammar import names_of
from bregma.dynamics.language._integrate import next_of, noise_of
from bregma.dynamics.language._print import Dialect, write, write_program
from bregma.dynamics.language._step import common_parts, step_of

NUMPY = Dialect(
    number="{}",
    functions={
        sympy.exp: "np.exp", sympy.log: "np.log", sympy.sin: "np.sin", sympy.cos: "np.cos",
        sympy.tanh: "np.tanh", sympy.floor: "np.floor", "sqrt": "np.sqrt", "pow": "np.power",
        exprel: "exprel", dexprel: "dexprel",
    },
    where="np.where({c}, {a}, {b})",
    conjunction=" & ",
    disjunction=" | ",
    negation="~({})",
)  # fmt: skip


def numpy_exprel(x):
    x = np.asarray(x, float)
    zero = x == 0
    return np.where(zero, 1.0, np.expm1(x) / np.where(zero, 1.0, x))


def solve(neuron, times, initial=None, **inputs):
    """The equations by a solver of high accuracy, without spikes: variable to (time,)."""
    values = {**dict.fromkeys(neuron.inputs, 0.0), **neuron.values, **inputs}
    values = {sympy.Symbol(n, real=True): float(v) for n, v in values.items()}
    states = [sympy.Symbol(n, real=True) for n in neuron.states]
    own = {"exprel": numpy_exprel, "sigmoid": scipy.special.expit}
    rates = [neuron.rates[n].xreplace(values) for n in neuron.states]
    function = sympy.lambdify([states], rates, modules=[own, "numpy"])
    first = {**{n: evaluate_first(neuron, n) for n in neuron.states}, **(initial or {})}
    found = scipy.integrate.solve_ivp(
        lambda t, y: np.array(function(y), float),
        (0, times[-1]),
        [first[n] for n in neuron.states],
        method="LSODA",
        t_eval=times,
        rtol=1e-11,
        atol=1e-17,
    )
    return dict(zip(neuron.states, found.y, strict=True))


def evaluate_first(neuron, name):
    first = neuron.first.get(name, 0.0)
    return evaluate(first, neuron.values) if isinstance(first, sympy.Basic) else first


@dataclass
class Trace:
    """Values after each step, (time, unit), and the times of spikes of each unit."""

    t: np.ndarray
    values: dict[str, np.ndarray]
    spikes: list[np.ndarray]

    def __getitem__(self, name):
        return self.values[name]


def constants_of(neuron, step, dt):
    return {n: v.detach().numpy() for n, v in prepare(step.constants, neuron.values, dt).items()}


def simulate(neuron, duration, dt, n=1, seed=0, initial=None, **inputs):
    """Run n units; inputs are numbers, arrays (unit,) or functions of the time."""
    step = step_of(neuron, fed=inputs)
    space = {"np": np, "exprel": numpy_exprel, **constants_of(neuron, step, dt)}
    lines = write_program(common_parts(step.advance), NUMPY)
    reset = [
        f"{a.target} = np.where(fired__, {write(a.value, NUMPY)}, {a.target})" for a in step.reset
    ]
    advance, after = (
        compile("\n".join(lines), "advance", "exec"),
        compile("\n".join(reset), "reset", "exec"),
    )
    spikes = step.distance is not None
    distance = compile(write(step.distance, NUMPY), "distance", "eval") if spikes else None
    stays = None if step.refractory_while is None else compile(
        write(step.refractory_while, NUMPY), "stays", "eval"
    )  # fmt: skip
    assert not names_of(list(neuron.first.values())) & {"rand", "randn"}
    rng = np.random.default_rng(seed)
    for name in step.states:
        first = (initial or {}).get(name, evaluate_first(neuron, name))
        space[name] = np.broadcast_to(np.asarray(first, float), (n,)).copy()
    n_steps, hold = round(duration / dt), round(step.refractory_time / dt)
    left = np.zeros(n, int)
    kept = {name: np.empty((n_steps, n)) for name in step.states}
    fired_at: list[list[float]] = [[] for _ in range(n)]
    space |= dict.fromkeys(step.inputs, 0.0)
    for k in range(n_steps):
        for name, value in inputs.items():
            space[name] = value(k * dt) if callable(value) else value
        space["t"] = k * dt
        space |= {noise_of(name): rng.standard_normal(n) for name in step.noises}
        with np.errstate(over="ignore"):  # upstrokes overflow and are reset in the same step
            exec(advance, space)
        refractory = left > 0
        for name in step.states:
            new = space[next_of(name)]
            space[next_of(name)] = (
                np.where(refractory, space[name], new) if name in step.held else new
            )
        if spikes:
            fired = (eval(distance, space) > 0) & ~refractory
            resting = eval(stays, space) if stays else None
        for name in step.states:
            space[name] = space[next_of(name)] + np.zeros(n)
        if spikes:
            space["fired__"] = fired
            exec(after, space)
            if stays is None:
                left = np.where(fired, hold, np.maximum(left - 1, 0))
            else:
                left = (fired | (refractory & resting)).astype(int)
            for unit in np.flatnonzero(fired):
                fired_at[unit].append((k + 1) * dt)
        for name in step.states:
            kept[name][k] = space[name]
    return Trace(dt * np.arange(1, n_steps + 1), kept, [np.array(s) for s in fired_at])
