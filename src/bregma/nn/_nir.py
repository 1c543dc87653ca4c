"""Networks to and from NIR, the intermediate form that simulators and neuromorphic chips share.

Pedersen et al. (2024), Neuromorphic intermediate representation: a unified instruction set for
interoperable brain-inspired computing, Nature Communications 15. Its primitives are differential
equations, as ours are: what is exported is recognised by its coefficients, whatever its names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import sympy
import torch
from torch import nn

from bregma._extras import require
from bregma.dynamics import Neuron
from bregma.dynamics.language._evaluate import evaluate
from bregma.dynamics.language._grammar import names_of, symbol
from bregma.errors import InvalidArgument
from bregma.nn._event_linear import EventLinear
from bregma.nn._sequence import SpikingSequential
from bregma.nn._spiking import Spiking

# name of the primitive -> its equations, in the names of its parameters
EQUATIONS = {
    "I": "dv/dt = r*I",
    "IF": "dv/dt = r*I",
    "LI": "dv/dt = (v_leak - v + r*I)/tau",
    "LIF": "dv/dt = (v_leak - v + r*I)/tau",
    "CubaLI": "ds/dt = (w_in*I - s)/tau_syn\ndv/dt = (v_leak - v + r*s)/tau_mem",
    "CubaLIF": "ds/dt = (w_in*I - s)/tau_syn\ndv/dt = (v_leak - v + r*s)/tau_mem",
}


def from_nir(graph: Any, *, dt: float | str, surrogate: str = "atan") -> SpikingSequential:
    """Layers of a NIR graph that is a chain.

    Parameters
    ----------
    graph : nir.NIRGraph
        From ``nir.read``. Linear, Affine, I, IF, LI, LIF, CubaLI and CubaLIF are known.
    dt : float or str
        Duration of a step; times in NIR are seconds. Equations are integrated exactly.
    surrogate : str
        Derivative of a spike in training, which NIR does not have.

    Returns
    -------
    SpikingSequential
        Layers named like the nodes.

    Raises
    ------
    InvalidArgument
        A graph with branches or loops, or a node of another kind.
    """
    model = SpikingSequential()
    for name in _chain(graph):
        node = graph.nodes[name]
        kind = type(node).__name__
        if kind in ("Linear", "Affine"):
            model.add_module(name, _linear(node))
        elif kind in EQUATIONS:
            model.add_module(name, _spiking(node, kind, dt, surrogate))
        else:
            known = ", ".join(["Linear", "Affine", *EQUATIONS])
            raise InvalidArgument(f"node {name!r} is of the kind {kind}; known are {known}")
    return model


def to_nir(model: nn.Module) -> Any:
    """A NIR graph of layers in a row.

    Parameters
    ----------
    model : torch.nn.Sequential, SpikingSequential or a single layer
        ``Linear``, `EventLinear` and `Spiking` layers whose equations are those of a primitive: one
        leaky or perfect integrator, with or without a current that decays before it.

    Returns
    -------
    nir.NIRGraph
        For ``nir.write``; numbers are in SI units.

    Raises
    ------
    InvalidArgument
        A layer that NIR has no primitive for; the message says why.
    """
    nir = require("nir", "peers")
    layers = dict(model.named_children()) if isinstance(model, nn.Sequential) else {"0": model}
    nodes = []
    for name, layer in layers.items():
        if isinstance(layer, nn.Linear | EventLinear):
            weight = layer.weight.detach().cpu().numpy()
            bias = None if layer.bias is None else layer.bias.detach().cpu().numpy()
            nodes.append(nir.Linear(weight) if bias is None else nir.Affine(weight, bias))
        elif type(layer) is Spiking:
            kind, numbers = _primitive(layer, f"layer {name!r}")
            nodes.append(getattr(nir, kind)(**numbers))
        else:
            raise InvalidArgument(f"layer {name!r} is a {type(layer).__name__}, unknown in NIR")
    if not nodes:
        raise InvalidArgument("there are no layers")
    return nir.NIRGraph.from_list(*nodes)


def _chain(graph: Any) -> list[str]:
    """Names of the nodes between input and output, in order."""
    after: dict[str, str] = {}
    for begin, end in graph.edges:
        if begin in after:
            raise InvalidArgument(f"node {begin!r} goes to several nodes; only chains are known")
        after[begin] = end
    if len(set(after.values())) < len(after):
        raise InvalidArgument("several nodes go to one; only chains are known")
    inputs = [n for n, node in graph.nodes.items() if type(node).__name__ == "Input"]
    if len(inputs) != 1:
        raise InvalidArgument(f"a chain has 1 input, this graph has {len(inputs)}")
    found, name = [], after.get(inputs[0])
    while name is not None and type(graph.nodes[name]).__name__ != "Output":
        found.append(name)
        name = after.get(name)
    if name is None or len(found) + 2 != len(graph.nodes):
        raise InvalidArgument("the nodes are no chain from the input to the output")
    return found


def _linear(node: Any) -> nn.Linear:
    weight = torch.as_tensor(np.asarray(node.weight), dtype=torch.float32)
    bias = getattr(node, "bias", None)
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    with torch.no_grad():
        layer.weight.copy_(weight)
        if bias is not None:
            layer.bias.copy_(torch.as_tensor(np.asarray(bias)))
    return layer


def _spiking(node: Any, kind: str, dt: float | str, surrogate: str) -> Spiking:
    names = ("tau", "tau_syn", "tau_mem", "r", "v_leak", "w_in", "v_threshold", "v_reset")
    params = {n: np.asarray(getattr(node, n), np.float64) for n in names if hasattr(node, n)}
    size = int(np.prod(params["r"].shape))
    params = {n: np.broadcast_to(v, params["r"].shape).ravel() for n, v in params.items()}
    fires = kind.endswith("IF")
    neuron = Neuron(
        EQUATIONS[kind],
        spike="v > v_threshold" if fires else None,
        reset="v = v_reset" if fires else "",
        params=params,
        surrogate=surrogate,
    )
    return Spiking(neuron, size, dt=dt, output=None if fires else "v")


def _primitive(layer: Spiking, what: str) -> tuple[str, dict[str, np.ndarray]]:
    """The primitive that has the equations of a layer, and its parameters."""
    neuron = layer.neuron
    values = {n: getattr(layer, n, None) for n in neuron.values}
    known = {
        n: torch.as_tensor(neuron.values[n] if v is None else v.detach().cpu()).double()
        for n, v in values.items()
    }
    if neuron.noise or neuron.refractory_time or neuron.refractory_condition is not None:
        raise InvalidArgument(f"{what} has noise or a refractory time, which NIR has not")

    def number(expression: Any) -> np.ndarray:
        found = torch.as_tensor(evaluate(sympy.simplify(expression), known), dtype=torch.float64)
        return found.broadcast_to(layer.size).numpy().copy()

    slopes = {
        n: _slopes(neuron.rates[n], (*neuron.states, layer.input), what) for n in neuron.states
    }
    hearing = [n for n, found in slopes.items() if layer.input in found]
    if len(slopes) > 2 or len(hearing) != 1:
        raise InvalidArgument(
            f"{what} is none of {', '.join(EQUATIONS)}: its input enters elsewhere"
        )
    (v,) = hearing if len(slopes) == 1 else {*slopes} - {*hearing}
    into = layer.input if len(slopes) == 1 else hearing[0]
    if not {*slopes[v]} <= {v, into, ""} or into not in slopes[v]:
        raise InvalidArgument(f"{what} is none of {', '.join(EQUATIONS)}: {v!r} depends on more")
    zero = np.zeros(layer.size)
    leak = number(slopes[v].get(v, 0))
    numbers = {"r": number(slopes[v][into])}
    if (leak != 0).all():
        numbers = {
            "tau": -1 / leak,
            "r": -numbers["r"] / leak,
            "v_leak": -number(slopes[v].get("", 0)) / leak + zero,
        }
        kind = "LI"
    elif len(slopes) == 1 and "" not in slopes[v] and not leak.any():
        kind = "I"
    else:
        raise InvalidArgument(f"{what}: {v!r} has no leak, or a constant current, unknown in NIR")
    if len(slopes) == 2:
        s = slopes[into]
        if not {*s} <= {into, layer.input} or into not in s:
            raise InvalidArgument(f"{what}: {into!r} must decay and hear the input, nothing else")
        decay = number(s[into])
        numbers |= {"tau_mem": numbers.pop("tau"), "tau_syn": -1 / decay}
        numbers["w_in"], kind = -number(s[layer.input]) / decay, "CubaLI"
    if neuron.spike is None:
        return kind, numbers
    distance = _slopes(neuron.distance, neuron.states, what)
    target = [a.target for a in neuron.resets]
    value = neuron.resets[0].value if target == [v] else symbol(v)
    if {*distance} - {v, ""} or v not in distance or names_of([value]) & {*neuron.states}:
        raise InvalidArgument(
            f"{what} must spike where {v!r} is above a threshold and set it to a number then; NIR "
            "has no other reset"
        )
    numbers["v_threshold"] = -number(distance.get("", 0)) / number(distance[v]) + zero
    numbers["v_reset"] = number(value)
    return {"I": "IF", "LI": "LIF", "CubaLI": "CubaLIF"}[kind], numbers


def _slopes(expression: Any, names: tuple[str, ...], what: str) -> Mapping[str, sympy.Expr]:
    """Coefficients of names in a linear expression, without those that are 0; "" is the rest."""
    found, rest = {}, sympy.expand(expression)
    for name in names:
        slope = sympy.diff(rest, symbol(name))
        if names_of([slope]) & {*names, "t"}:
            raise InvalidArgument(f"{what} is not linear in {name!r}, which NIR's equations are")
        if not slope.is_zero:
            found[name] = slope
        rest = rest.xreplace({symbol(name): sympy.Integer(0)})
    rest = sympy.simplify(rest)
    return found if rest.is_zero else {**found, "": rest}
