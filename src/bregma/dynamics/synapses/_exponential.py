"""Exponential synapse: a current or conductance that jumps and decays."""

from __future__ import annotations

from typing import Any

from bregma.dynamics.language._synapse import Synapse


def exponential(into: str = "I", current: str = "s", **params: Any) -> Synapse:
    """Synapse with s(t) = w exp(-t/tau) after each spike.

    Parameters
    ----------
    into : str
        Input of the postsynaptic neuron.
    current : str
        What flows into it: ``"s"`` for a current; ``"s*(E - v_post)"`` for a conductance, with E
        in the parameters.
    **params : float, str or array
        Values in place of these: w = 1 nA, tau = 5 ms.

    Returns
    -------
    Synapse
        With the variable ``s`` (the unit of w), shared by the synapses of a unit.

    References
    ----------
    Gerstner, Kistler, Naud and Paninski (2014), Neuronal Dynamics, section 3.1.
    """
    return Synapse(
        "ds/dt = -s/tau (post)",
        on_pre="s += w",
        current={into: current},
        params={"w": "1 nA", "tau": "5 ms"} | params,
    )
