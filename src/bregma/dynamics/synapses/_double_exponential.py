"""Double exponential synapse: a current or conductance with its own rise and decay."""

from __future__ import annotations

from typing import Any

from bregma.dynamics.language._synapse import Synapse


def double_exponential(into: str = "I", current: str = "s", **params: Any) -> Synapse:
    """Synapse with s(t) proportional to exp(-t/tau_decay) - exp(-t/tau_rise), of peak w.

    Parameters
    ----------
    into : str
        Input of the postsynaptic neuron.
    current : str
        What flows into it, as for `exponential`.
    **params : float, str or array
        Values in place of these: w = 1 nA, tau_rise = 1 ms, tau_decay = 5 ms; the two must differ.

    Returns
    -------
    Synapse
        With the variables ``x`` and ``s`` (the unit of w).

    References
    ----------
    Roth and van Rossum (2009), Modeling synapses, in: Computational Modeling Methods for
    Neuroscientists.
    """
    # From x = 1, s rises to r^(-1/(r - 1)) with r = tau_decay/tau_rise
    return Synapse(
        """r = tau_decay/tau_rise
           dx/dt = -x/tau_rise (post)
           ds/dt = x/tau_rise - s/tau_decay (post)""",
        on_pre="x += w*r**(1/(r - 1))",
        current={into: current},
        params={"w": "1 nA", "tau_rise": "1 ms", "tau_decay": "5 ms"} | params,
    )
