"""Short-term plasticity: spikes use up resources and raise the share that is used."""

from __future__ import annotations

from typing import Any

from bregma.dynamics.language._synapse import Synapse


def short_term_plasticity(into: str = "v", **params: Any) -> Synapse:
    """Synapse that facilitates and depresses.

    At a spike u grows by U (1 - u), then w u x is transmitted, then x loses u x.

    Parameters
    ----------
    into : str
        Variable of the postsynaptic neuron that grows by w u x.
    **params : float, str or array
        Values in place of these: w = 1 mV, U = 0.2, tau_f = 600 ms (facilitation),
        tau_d = 200 ms (depression).

    Returns
    -------
    Synapse
        With the variables ``u`` and ``x`` of the presynaptic unit. After long silence u = 0 and
        x = 1, so that the first spike finds u = U.

    References
    ----------
    Tsodyks, Pawelzik and Markram (1998), Neural networks with dynamic synapses.
    """
    return Synapse(
        """du/dt = -u/tau_f (pre)
           dx/dt = (1 - x)/tau_d (pre)""",
        on_pre=f"u += U*(1 - u); {into} += w*u*x; x -= u*x",
        params={"w": "1 mV", "U": 0.2, "tau_f": "600 ms", "tau_d": "200 ms"} | params,
        init={"x": 1.0},
    )
