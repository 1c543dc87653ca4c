"""Alpha synapse: a current or conductance that rises and falls with one time constant."""

from __future__ import annotations

from typing import Any

from bregma.dynamics.language._synapse import Synapse


def alpha(into: str = "I", current: str = "s", **params: Any) -> Synapse:
    """Synapse with s(t) = w (t/tau) exp(1 - t/tau) after each spike: its peak is w, at tau.

    Parameters
    ----------
    into : str
        Input of the postsynaptic neuron.
    current : str
        What flows into it, as for `exponential`.
    **params : float, str or array
        Values in place of these: w = 1 nA, tau = 5 ms.

    Returns
    -------
    Synapse
        With the variables ``x`` and ``s`` (the unit of w).

    References
    ----------
    Rall (1967), Distinguishing theoretical synaptic potentials computed for different
    soma-dendritic distributions of synaptic input.
    """
    return Synapse(
        """dx/dt = -x/tau (post)
           ds/dt = (x - s)/tau (post)""",
        on_pre="x += exp(1)*w",
        current={into: current},
        params={"w": "1 nA", "tau": "5 ms"} | params,
    )
