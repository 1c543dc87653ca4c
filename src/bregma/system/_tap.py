"""Taps: hooks of our own that read and edit what flows through a network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from bregma.system._site import Place

# (place, number of the call in this pass, what flows) -> what should flow instead, or None.
React = Callable[[Place, int, Any], Any]


class Enough(BaseException):
    """Ends a forward pass of which nothing more is wanted; no module should catch it."""


class Taps:
    """Hooks at some places of a network that call back whenever something flows there.

    Parameters
    ----------
    modules : mapping of str to torch.nn.Module
        Parts of the network by name.
    """

    def __init__(self, modules: Mapping[str, nn.Module]) -> None:
        self._modules = modules
        self._calls: Counter[Place] = Counter()
        self._react: React | None = None

    @contextmanager
    def installed(self, places: Sequence[Place]) -> Iterator[None]:
        """Put hooks there; they are removed at the end, those of others stay.

        Parameters
        ----------
        places : sequence of Place
            Modules and whether their inputs or outputs are wanted.
        """
        handles: list[RemovableHandle] = []
        try:
            for place in places:
                name, kind = place
                if kind == "output":
                    hook = partial(self._on_output, place)
                    handles.append(self._modules[name].register_forward_hook(hook))
                else:
                    hook = partial(self._on_input, place)
                    handle = self._modules[name].register_forward_pre_hook(hook, with_kwargs=True)
                    handles.append(handle)
            yield
        finally:
            for handle in handles:
                handle.remove()

    def forward(self, args: tuple[Any, ...], kwargs: dict[str, Any], react: React) -> None:
        """Run the network once and call `react` at every tap.

        Parameters
        ----------
        args, kwargs
            What the network is called with.
        react : callable
            Gets the place, the number of the call and what flows; it may raise `Enough`.
        """
        self._calls.clear()
        self._react = react
        try:
            self._modules[""](*args, **kwargs)
        except Enough:
            pass
        finally:
            self._react = None

    def _hear(self, place: Place, value: Any) -> Any:
        if self._react is None:  # somebody else runs the network while our hooks are there
            return None
        call = self._calls[place]
        self._calls[place] += 1
        return self._react(place, call, value)

    def _on_output(self, place: Place, module: nn.Module, args: Any, output: Any) -> Any:
        return self._hear(place, output)

    def _on_input(self, place: Place, module: nn.Module, args: Any, kwargs: Any) -> Any:
        given = {**dict(enumerate(args)), **kwargs}
        changed = self._hear(place, given)
        if changed is None:
            return None
        return tuple(changed[i] for i in range(len(args))), {key: changed[key] for key in kwargs}


def to_numbers(tensor: torch.Tensor) -> torch.Tensor:
    """Widen to a type that NumPy has and that does not overflow in sums, without loss.

    Parameters
    ----------
    tensor : torch.Tensor
        Any real tensor.

    Returns
    -------
    torch.Tensor
        float16, bfloat16 and booleans become float32, whole numbers float64; float32 and float64
        stay.
    """
    if tensor.dtype in (torch.float32, torch.float64):
        return tensor
    if tensor.dtype in (torch.float16, torch.bfloat16, torch.bool):
        return tensor.float()
    return tensor.double()
