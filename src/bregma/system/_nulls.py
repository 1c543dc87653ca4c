"""Null systems: twins of a network that know nothing of what it learned."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import deepcopy
from typing import Any, TypeVar

import torch
from torch import nn

from bregma.dynamics import Network, rewire, shuffle_weights
from bregma.errors import CannotPerturb, InvalidArgument
from bregma.run import derive, private_randomness
from bregma.system._circuit import CircuitSystem
from bregma.system._quiet import bare
from bregma.system._torch import TorchSystem

S = TypeVar("S")  # TorchSystem, torch.nn.Module, CircuitSystem or Network


def untrained(system: S, *, seeds: int | Iterable[int]) -> list[S]:
    """Twins with freshly drawn weights: the same architecture, nothing learned.

    Every layer that knows how (``reset_parameters``) draws its weights anew, innermost first, and
    norm layers forget their running statistics (mean 0, variance 1, gain 1, bias 0: that is what
    an untrained network has). This is PyTorch's own initialisation of each layer, not the scheme
    of the model's authors. Tensors that no layer re-draws (class tokens, layer scales, ...) are
    drawn from a normal distribution with the mean and standard deviation that they have (a
    constant tensor keeps its value), and the twin's name says how many these are.

    Parameters
    ----------
    system : TorchSystem or torch.nn.Module
        The network; it stays as it is.
    seeds : int or iterable of int
        One twin for each seed.

    Returns
    -------
    list of TorchSystem or of torch.nn.Module
        The twins, of the same kind as what was given.

    Raises
    ------
    CannotPerturb
        The network has no weights, or is no network.

    Examples
    --------
    >>> import torch
    >>> from bregma.system import untrained
    >>> [twin] = untrained(torch.nn.Linear(3, 2), seeds=0)
    >>> twin.weight.shape
    torch.Size([2, 3])
    """
    return [_twin(system, _redraw, seed, "untrained") for seed in _all(seeds)]


def shuffled(system: S, *, seeds: int | Iterable[int], what: str = "weights") -> list[S]:
    """Twins whose weights are permuted within each tensor: the same numbers at other places.

    Buffers, such as the running statistics of norm layers, stay as they were learned. In a circuit
    these are the weights of a matrix or table of connections, permuted within each projection, and
    numbers that were given for each synapse.

    Parameters
    ----------
    system : TorchSystem, torch.nn.Module, CircuitSystem or Network
        The network; it stays as it is.
    seeds : int or iterable of int
        One twin for each seed.
    what : {"weights", "parameters"}
        Tensors of two and more dimensions, or all of them (gains and biases too).

    Returns
    -------
    list
        The twins, of the same kind as what was given.

    Raises
    ------
    CannotPerturb
        The network has no weights, or is no network.
    """
    if what not in ("weights", "parameters"):
        raise InvalidArgument(f"what={what!r} is neither 'weights' nor 'parameters'")
    if isinstance(system, CircuitSystem | Network):
        return [_circuit_twin(system, shuffle_weights, s, "shuffled weights") for s in _all(seeds)]

    def permute(module: nn.Module, seed: int) -> str:
        for name, tensor in module.named_parameters():
            if what == "parameters" or tensor.ndim > 1:
                generator = torch.Generator().manual_seed(derive(seed, "shuffle", name))
                order = torch.randperm(tensor.numel(), generator=generator)
                mixed = tensor.detach().reshape(-1)[order.to(tensor.device)]
                tensor.copy_(mixed.reshape(tensor.shape))
        return ""

    return [_twin(system, permute, seed, f"shuffled {what}") for seed in _all(seeds)]


def rewired(system: S, *, seeds: int | Iterable[int]) -> list[S]:
    """Twins of a circuit with other pairs of units connected, as many for each unit as before.

    Parameters
    ----------
    system : CircuitSystem or Network
        The circuit; it stays as it is.
    seeds : int or iterable of int
        One twin for each seed.

    Returns
    -------
    list
        The twins, of the same kind as what was given.

    Raises
    ------
    CannotPerturb
        It is no circuit, or has no connections.
    """
    if not isinstance(system, CircuitSystem | Network):
        raise CannotPerturb(
            f"a circuit can be rewired; {type(system).__name__} has no synapses: shuffle its "
            "weights instead (shuffled)"
        )
    return [_circuit_twin(system, rewire, seed, "rewired") for seed in _all(seeds)]


def _circuit_twin(system: Any, change: Any, seed: int, how: str) -> Any:
    network = system if isinstance(system, Network) else system.network
    if not network.projections:
        raise CannotPerturb(f"{network} has no connections: its twins would be itself")
    try:
        twin = change(network, seed=seed)
    except InvalidArgument as error:
        raise CannotPerturb(str(error)) from error
    if isinstance(system, Network):
        return twin
    return system.with_network(twin, f"{system.name} ({how}, seed {seed})")


def _all(seeds: int | Iterable[int]) -> list[int]:
    chosen = [seeds] if isinstance(seeds, int) else list(seeds)
    if not chosen:
        raise InvalidArgument("seeds= is empty: give one seed for each twin")
    return chosen


def _twin(system: Any, change: Callable[[nn.Module, int], str], seed: int, how: str) -> Any:
    module = system.module if isinstance(system, TorchSystem) else system
    if not isinstance(module, nn.Module):
        raise CannotPerturb(
            f"a null system is made of a network; {type(system).__name__} has no weights to draw "
            "anew: use a null of the data instead (bregma.evidence)"
        )
    if not any(p.is_floating_point() for p in module.parameters()):
        name = system.name if isinstance(system, TorchSystem) else type(module).__name__
        raise CannotPerturb(f"{name!r} has no weights: there is nothing in it that was learned")
    try:
        twin = deepcopy(bare(module))
    except RuntimeError as error:  # tensors that are results of others, as in old weight_norm
        raise CannotPerturb(
            f"the network cannot be copied ({str(error).splitlines()[0]}); with "
            "torch.nn.utils.parametrizations instead of torch.nn.utils.weight_norm it can"
        ) from error
    with torch.no_grad():
        note = change(twin, seed)
    if not isinstance(system, TorchSystem):
        return twin
    return system.with_module(twin, f"{system.name} ({how}, seed {seed}{note})")


def _redraw(module: nn.Module, seed: int) -> str:
    """Draw all weights anew, in place; say what was drawn in another way than by its layer."""
    before = {name: (p, p._version) for name, p in module.named_parameters()}
    with private_randomness(derive(seed, "untrained")):
        for part in reversed(list(module.modules())):
            for method in ("reset_parameters", "_reset_parameters"):
                if callable(reset := getattr(part, method, None)):
                    reset()
                    break
    left = {  # what nobody wrote to is still as it was learned
        name: tensor
        for name, (tensor, version) in before.items()
        if tensor._version == version and tensor.is_floating_point()
    }
    for name, tensor in left.items():
        generator = torch.Generator().manual_seed(derive(seed, "untrained", name))
        wide = tensor.double()
        drawn = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
        tensor.copy_(wide.mean() + wide.std(correction=0) * drawn.to(tensor.device))
    return f"; {len(left)} tensors drawn from a normal distribution" if left else ""
