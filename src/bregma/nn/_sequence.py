"""Layers in a row, of which some keep a state."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from bregma.nn._spiking import Spiking


class SpikingSequential(nn.Sequential):
    """``torch.nn.Sequential`` for layers with and without a state.

    Parameters
    ----------
    *args : torch.nn.Module
        Maps of a tensor (time, batch, unit), such as ``torch.nn.Linear``, and `Spiking` layers.

    Examples
    --------
    >>> import torch
    >>> from bregma.dynamics import Neuron
    >>> lif = Neuron("dv/dt = (I - v)/tau", spike="v > 1", reset="v = 0", params={"tau": "20 ms"})
    >>> model = SpikingSequential(torch.nn.Linear(3, 5), Spiking(lif, 5, dt="1 ms"))
    >>> spikes, states = model(torch.ones(10, 2, 3))
    >>> spikes.shape, [None if s is None else sorted(s) for s in states]
    (torch.Size([10, 2, 5]), [None, ['v']])
    """

    def forward(
        self, x: Tensor, states: list[Any] | None = None, *, seed: int | None = None
    ) -> tuple[Any, list[Any]]:
        """Run all layers over time.

        Parameters
        ----------
        x : Tensor (time, batch, unit)
            Input of the first layer.
        states : list, optional
            One state for each layer, None for those without, as an earlier call returned.
        seed : int, optional
            Of noise, as for `Spiking`.

        Returns
        -------
        (Tensor, list)
            Output of the last layer, and the states after the last step.
        """
        found = []
        for layer, state in zip(self, states or [None] * len(self), strict=True):
            if isinstance(layer, Spiking):
                x, state = layer(x, state, seed=seed)
            else:
                x = layer(x)
            found.append(state)
        return x, found
