"""Layers of snnTorch and SpikingJelly as layers of equations, and back.

Both write one step of a leaky integrator down. It is the Euler step of an equation with dt = 1, so
that spikes are the same up to rounding.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from bregma._extras import require
from bregma.dynamics import Neuron
from bregma.errors import InvalidArgument
from bregma.nn._sequence import SpikingSequential
from bregma.nn._spiking import Spiking

LEAKY = "dv/dt = (beta - 1)*v + I"
LIF_NODE = "dv/dt = (gain*I - v + v_rest)/tau"


def from_snntorch(layers: nn.Module | Iterable[nn.Module]) -> SpikingSequential:
    """A network of ``snntorch.Leaky`` layers, with their weights.

    Parameters
    ----------
    layers : torch.nn.Sequential or iterable of modules
        ``torch.nn.Linear`` and ``snntorch.Leaky`` in their order.

    Returns
    -------
    SpikingSequential
        The same spikes from the same input. snnTorch resets in the step after a spike and we in the
        step of the spike, so the potential differs there. A learnable beta stays learnable.

    Raises
    ------
    InvalidArgument
        A layer of another kind, or a ``Leaky`` with inhibition, quantised states or graded spikes.
    """
    snn = require("snntorch", "peers")
    return _taken_over(layers, snn.Leaky, _of_leaky)


def to_snntorch(model: SpikingSequential) -> nn.Sequential:
    """The other way: ``snntorch.Leaky`` layers of a network that `from_snntorch` can make.

    Parameters
    ----------
    model : SpikingSequential
        Linear layers, and `Spiking` layers with the equations of ``Leaky``.

    Returns
    -------
    torch.nn.Sequential
        Its ``Leaky`` layers keep their state themselves (``init_hidden``).

    Raises
    ------
    InvalidArgument
        Other layers or other equations.
    """
    snn = require("snntorch", "peers")

    def leaky(layer: Spiking) -> Any:
        _check(layer, LEAKY)
        resets = {"v = v": "none", "v = 0": "zero", "v -= theta/beta": "subtract"}
        return snn.Leaky(
            beta=_value(layer, "beta"),
            threshold=_value(layer, "theta"),
            learn_beta="beta" in layer.learnable,
            reset_mechanism=resets[layer.neuron.reset],
            init_hidden=True,
        )

    return _given_back(model, leaky)


def from_spikingjelly(layers: nn.Module | Iterable[nn.Module]) -> SpikingSequential:
    """A network of ``LIFNode`` layers of SpikingJelly, with their weights.

    Parameters
    ----------
    layers : torch.nn.Sequential or iterable of modules
        ``torch.nn.Linear`` and ``spikingjelly.activation_based.neuron.LIFNode`` in their order.

    Returns
    -------
    SpikingSequential
        The same spikes from the same input.

    Raises
    ------
    InvalidArgument
        A layer of another kind.
    """
    jelly = require("spikingjelly.activation_based.neuron", "peers")
    return _taken_over(layers, jelly.LIFNode, _of_lif_node)


def to_spikingjelly(model: SpikingSequential) -> nn.Sequential:
    """The other way: ``LIFNode`` layers of a network that `from_spikingjelly` can make.

    Parameters
    ----------
    model : SpikingSequential
        Linear layers, and `Spiking` layers with the equations of ``LIFNode``.

    Returns
    -------
    torch.nn.Sequential
        Its layers take (time, batch, unit), the multi-step mode of SpikingJelly.

    Raises
    ------
    InvalidArgument
        Other layers or other equations.
    """
    jelly = require("spikingjelly.activation_based.neuron", "peers")

    def node(layer: Spiking) -> Any:
        _check(layer, LIF_NODE)
        hard = layer.neuron.reset == "v = v_rest"
        return jelly.LIFNode(
            tau=float(_value(layer, "tau")),
            decay_input=float(_value(layer, "gain")) == 1,
            v_threshold=float(_value(layer, "theta")),
            v_reset=float(_value(layer, "v_rest")) if hard else None,
            step_mode="m",
        )

    return _given_back(model, node)


def _of_leaky(layer: Any, size: int) -> Spiking:
    graded = float(torch.as_tensor(layer.graded_spikes_factor).max()) != 1
    if layer.inhibition or layer.state_quant or graded:
        raise InvalidArgument("a Leaky with inhibition, quantised states or graded spikes")
    if not layer.reset_delay and layer.reset_mechanism == "subtract":
        raise InvalidArgument("a Leaky that subtracts without delay (reset_delay=False)")
    resets = {"none": "v = v", "zero": "v = 0", "subtract": "v -= theta/beta"}
    beta = layer.beta.detach().double().clamp(0, 1)
    if layer.reset_mechanism == "subtract" and not (beta > 0).all():
        raise InvalidArgument("a Leaky with beta = 0 that subtracts, which has no equation here")
    neuron = Neuron(
        LEAKY,
        spike="v > theta",
        reset=resets[layer.reset_mechanism],
        params={"beta": _numbers(beta), "theta": _numbers(layer.threshold)},
        method="euler",
    )
    learnable = ["beta"] if isinstance(layer.beta, nn.Parameter) else []
    return Spiking(neuron, size, learnable=learnable, dt=1.0)


def _of_lif_node(layer: Any, size: int) -> Spiking:
    hard = layer.v_reset is not None
    neuron = Neuron(
        LIF_NODE,
        spike="v > theta",
        reset="v = v_rest" if hard else "v -= theta",
        params={
            "tau": float(layer.tau),
            "theta": float(layer.v_threshold),
            "v_rest": float(layer.v_reset) if hard else 0.0,
            "gain": 1.0 if layer.decay_input else float(layer.tau),
        },
        init={"v": "v_rest"},
        method="euler",
    )
    return Spiking(neuron, size, dt=1.0)


def _taken_over(layers: Any, kind: type, made: Any) -> SpikingSequential:
    found, size = SpikingSequential(), 0
    for number, layer in enumerate(layers):
        if isinstance(layer, nn.Linear):
            size = layer.out_features
            found.append(layer)
        elif isinstance(layer, kind) and size:
            found.append(made(layer, size))
        else:
            raise InvalidArgument(
                f"layer {number} is a {type(layer).__name__}; expected are Linear layers, each "
                f"followed by {kind.__name__}"
            )
    return found


def _given_back(model: SpikingSequential, made: Any) -> nn.Sequential:
    found = nn.Sequential()
    for layer in model:
        if not isinstance(layer, Spiking | nn.Linear):
            raise InvalidArgument(f"a {type(layer).__name__} has no counterpart")
        found.append(made(layer) if isinstance(layer, Spiking) else layer)
    return found


def _check(layer: Spiking, equations: str) -> None:
    if layer.neuron.equations != equations or layer.neuron.method != "euler" or layer.dt != 1:
        raise InvalidArgument(
            f"the equations of a layer must be {equations!r}, with Euler steps and dt=1, not "
            f"{layer.neuron.equations!r}"
        )


def _value(layer: Spiking, name: str) -> torch.Tensor:
    value = getattr(layer, name) if name in layer.learnable else layer.neuron.values[name]
    return torch.as_tensor(value).detach().float()


def _numbers(value: Any) -> Any:
    found = torch.as_tensor(value).detach().double()
    return float(found) if found.numel() == 1 else found.numpy()
