"""Resonate-and-fire."""

from __future__ import annotations

from typing import Any

from bregma.dynamics.language._neuron import Neuron


def resonate_and_fire(**params: Any) -> Neuron:
    """Resonate-and-fire neuron: it prefers inputs at the frequency at which it rings.

    Parameters
    ----------
    **params : float, str or array
        Values in place of these: b = -1 / ms (damping), omega = 10 / ms (angular frequency).

    Returns
    -------
    Neuron
        With the variables ``x`` (like a current) and ``y`` (like a voltage), plain numbers, and an
        input ``I``, in numbers per second: z = x + i y follows dz/dt = (b + i omega) z + I, and
        z = i after a spike. Synapses may add to ``x`` itself.

    References
    ----------
    Izhikevich (2001), Resonate-and-fire neurons, Neural Networks 14:883.
    """
    return Neuron(
        """dx/dt = b*x - omega*y + I : 1
           dy/dt = omega*x + b*y : 1
           I : 1/s (input)""",
        spike="y > 1",
        reset="x = 0; y = 1",
        params={"b": "-1 / ms", "omega": "10 / ms"},
    ).with_params(**params)
