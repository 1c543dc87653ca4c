"""Evaluation mode for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put all parts of a network into evaluation mode, and each back into the mode that it had.

    Flags are set directly, not through ``eval()``, which some modules use to merge weights;
    ``train(mode)`` would give parts that were frozen the mode of the whole.

    Parameters
    ----------
    module : torch.nn.Module
        The network.
    """
    modes = [(part, part.training) for part in module.modules()]
    try:
        for part, _ in modes:
            part.training = False
        yield
    finally:
        for part, mode in modes:
            part.training = mode
