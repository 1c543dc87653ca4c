"""Rate unit."""

from __future__ import annotations

from typing import Any

from bregma.dynamics.language._neuron import Neuron
from bregma.errors import UnknownName

ACTIVATIONS = ("tanh", "relu", "sigmoid")


def rate(activation: str = "tanh", **params: Any) -> Neuron:
    """Leaky rate unit, as in recurrent rate networks.

    Parameters
    ----------
    activation : {"tanh", "relu", "sigmoid"}
        From the potential ``x`` to the rate ``r``.
    **params : float, str or array
        Values in place of tau = 10 ms.

    Returns
    -------
    Neuron
        With the variable ``x``, the expression ``r`` and an input ``I``, all plain numbers.

    Raises
    ------
    UnknownName
        No such activation.

    References
    ----------
    Sompolinsky, Crisanti and Sommers (1988), Phys. Rev. Lett. 61:259.
    """
    if activation not in ACTIVATIONS:
        raise UnknownName.of("activation", activation, ACTIVATIONS)
    return Neuron(
        f"""dx/dt = (I - x)/tau : 1
            r = {activation}(x) : 1
            I : 1 (input)""",
        params={"tau": "10 ms"},
    ).with_params(**params)
