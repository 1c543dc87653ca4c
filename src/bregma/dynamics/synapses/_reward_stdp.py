"""Reward-modulated plasticity: dopamine turns recent coincidences into changes."""

from __future__ import annotations

from typing import Any

from bregma.dynamics.language._synapse import Synapse
from bregma.dynamics.synapses._three_factor import three_factor


def reward_stdp(into: str = "v", w: Any = 0.5, **params: Any) -> Synapse:
    """Plastic synapse whose third factor is dopamine m, a variable of the postsynaptic neuron.

    Give the neuron the line ``dm/dt = -m/tau_m`` (source: tau_m = 0.2 s) and let a population of
    reward spikes add to it: ``Synapse(on_pre="m += 0.5")``.

    Parameters
    ----------
    into : str
        Variable of the postsynaptic neuron that grows by gain w.
    w : float, str or array
        First weight, between 0 and w_max.
    **params : float, str or array
        Values in place of these, those of the source: tau_plus = 20 ms, tau_minus = 20 ms,
        A_plus = 1, A_minus = 1.5, tau_c = 1 s, w_max = 4, gain = 1 mV.

    Returns
    -------
    Synapse
        As `three_factor`.

    References
    ----------
    Izhikevich (2007), Solving the distal reward problem through linkage of STDP and dopamine
    signaling.
    """
    return three_factor(into, w, **({"A_minus": 1.5, "w_max": 4.0} | params))
