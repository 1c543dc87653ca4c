"""NMDA synapse: slow, and blocked by magnesium at rest."""

from __future__ import annotations

from typing import Any

from bregma.dynamics.language._synapse import Synapse


def nmda(into: str = "I", **params: Any) -> Synapse:
    """Synapse whose conductance opens with the voltage v of the postsynaptic neuron.

    Parameters
    ----------
    into : str
        Input (A) of the postsynaptic neuron.
    **params : float, str or array
        Values in place of these: w = 1 nS (peak without block), tau_rise = 2 ms,
        tau_decay = 100 ms, E = 0 mV, Mg = 1 mM.

    Returns
    -------
    Synapse
        With the variables ``x`` and ``s`` (S). The current is s (E - v)/(1 + Mg/(3.57 mM)
        exp(-62 v/V)).

    References
    ----------
    Jahr and Stevens (1990), Voltage dependence of NMDA-activated macroscopic conductances
    predicted by single-channel kinetics.
    """
    values = {"w": "1 nS", "tau_rise": "2 ms", "tau_decay": "100 ms", "E": "0 mV", "Mg": "1 mM"}
    return Synapse(
        """r = tau_decay/tau_rise
           dx/dt = -x/tau_rise (post)
           ds/dt = x/tau_rise - s/tau_decay (post)""",
        on_pre="x += w*r**(1/(r - 1))",
        current={into: "s*(E - v_post)/(1 + Mg/(3.57*mM)*exp(-0.062*v_post/mV))"},
        params=values | params,
    )
