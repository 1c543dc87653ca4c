"""A perceptron in which one neuron of each layer carries each class, beside louder ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor, nn

from bregma.datasets._task import Task
from bregma.errors import InvalidArgument
from bregma.run import spawn_torch

NOISE = 16  # features that say nothing of the class
ANSWER = 5.0  # score of the class
Truth = Int[np.ndarray, "class layer"]


@dataclass(frozen=True)
class NeuronChains:
    """A network that does a task with known neurons.

    Parameters
    ----------
    module : torch.nn.Module
        Layers of ReLU units, and a linear answer.
    task : Task
        Inputs and their classes.
    neurons : int array (class, layer)
        The neuron that carries each class through each layer; no other one acts on the answer.
    layers : tuple of str
        Sites of the hidden units.
    """

    module: nn.Module
    task: Task
    neurons: Truth
    layers: tuple[str, ...]


def neuron_chains(
    n: int = 128,
    *,
    classes: int = 5,
    layers: int = 4,
    width: int = 64,
    loudness: float = 3.0,
    stream: bool = False,
    seed: int,
) -> NeuronChains:
    """One neuron of each layer carries each class; all others see it, are louder, and do nothing.

    A feature of the input says the class. In the first layer one neuron for each class reads it,
    in each later one that reads the one before, and the answer reads the last. In a stream each
    of them reads the feature, and the answer reads what all of them write there. The other neurons
    read everything, the class too, and are read by others of their kind alone, or by nobody.

    Parameters
    ----------
    n : int
        How many inputs.
    classes, layers, width : int
        Of the network; more neurons than classes.
    loudness : float
        How active the other neurons are, on average over a layer; those that carry a class are 1.
    stream : bool
        Whether layers add to a stream, as in a transformer, instead of reading the one before.
    seed : int
        Draws inputs, weights and which neurons they are.

    Returns
    -------
    NeuronChains
        The network, its task and the truth.

    Raises
    ------
    InvalidArgument
        A number below 1, fewer than two classes, or too few neurons.

    Examples
    --------
    >>> world = neuron_chains(seed=0)
    >>> world.task.accuracy(world.module(world.task.inputs)), world.neurons.shape
    (1.0, (5, 4))
    """
    if n < 1 or classes < 2 or layers < 1 or width <= classes or not loudness > 0:
        raise InvalidArgument(
            "n and layers must be 1 or more, classes 2 or more, width above classes and loudness "
            f"above 0, not {n}, {layers}, {classes}, {width} and {loudness}"
        )
    draw = spawn_torch(seed, "neuron_chains")
    targets = torch.randint(classes, (n,), generator=draw)
    said = torch.eye(classes)[targets]
    inputs = torch.cat([said, torch.rand(n, NOISE, generator=draw)], 1)
    neurons = np.stack(
        [torch.randperm(width, generator=draw)[:classes].numpy() for _ in range(layers)], 1
    )
    make = _stream if stream else _chain
    module = make(inputs, neurons, width, loudness, draw)
    task = Task(inputs, targets, classes, chance=float(targets.bincount().max() / n))
    names = tuple(name for name, part in module.named_modules() if isinstance(part, nn.ReLU))
    return NeuronChains(module, task, neurons, names)


def _chain(
    x: Tensor, neurons: Truth, width: int, loudness: float, draw: torch.Generator
) -> nn.Module:
    parts: list[nn.Module] = []
    read = np.arange(len(neurons))
    for own in neurons.T:
        parts += [_linear(_reading(x, own, read, width, loudness, draw)), nn.ReLU()]
        x, read = nn.Sequential(*parts[-2:])(x).detach(), own
    return nn.Sequential(*parts, _answer(len(neurons), width, read))


def _stream(
    x: Tensor, neurons: Truth, width: int, loudness: float, draw: torch.Generator
) -> nn.Module:
    classes, layers = neurons.shape
    room = nn.ZeroPad1d((0, classes))  # behind the input, to write into
    x, read = room(x), np.arange(classes)
    write = read + x.shape[1] - classes
    blocks: list[nn.Module] = [room]
    for own in neurons.T:
        reading = _reading(x, own, read, width, loudness, draw)
        blocks.append(_Added(reading, _one_to_one(x.shape[1], width, write, own) / layers))
        x = blocks[-1](x).detach()
    return nn.Sequential(*blocks, _answer(classes, x.shape[1], write))


class _Added(nn.Module):
    """Hidden units that read the stream and add to it."""

    def __init__(self, read: Tensor, write: Tensor) -> None:
        super().__init__()
        self.read, self.hidden, self.write = _linear(read), nn.ReLU(), _linear(write)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.write(self.hidden(self.read(x)))


def _reading(
    x: Tensor, own: Any, read: Any, width: int, loudness: float, draw: torch.Generator
) -> Tensor:
    """What hidden units read: those that carry a class one feature each, the others all."""
    weight = torch.rand(width, x.shape[1], generator=draw)
    weight *= loudness / (x @ weight.T).mean()
    weight[own] = 0
    weight[own, read] = 1
    return weight


def _answer(classes: int, width: int, read: Any) -> nn.Module:
    return _linear(ANSWER * _one_to_one(classes, width, range(classes), read))


def _one_to_one(rows: int, columns: int, to: Any, of: Any) -> Tensor:
    weight = torch.zeros(rows, columns)
    weight[to, of] = 1
    return weight


def _linear(weight: Tensor) -> nn.Linear:
    layer = nn.utils.skip_init(nn.Linear, weight.shape[1], weight.shape[0], bias=False)
    layer.weight.data = weight
    return layer
