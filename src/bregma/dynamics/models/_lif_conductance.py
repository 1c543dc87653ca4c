"""Leaky integrate-and-fire with synaptic conductances."""

from __future__ import annotations

from typing import Any

from bregma.dynamics.language._neuron import Neuron


def lif_conductance(**params: Any) -> Neuron:
    """Leaky integrate-and-fire neuron whose synapses open conductances.

    Synapses add to ``g_e`` and ``g_i`` (S), which decay exponentially: in the benchmark by 6 and
    67 nS at each spike.

    Parameters
    ----------
    **params : float, str or array
        Values in place of these: C = 200 pF, g_L = 10 nS, E_L = -60 mV, E_e = 0 mV, E_i = -80 mV,
        V_T = -50 mV, V_r = -60 mV, tau_e = 5 ms, tau_i = 10 ms. The unit is refractory for 5 ms.

    Returns
    -------
    Neuron
        With the variables ``v`` (V), ``g_e`` and ``g_i`` (S), and an input ``I`` (A).

    References
    ----------
    Vogels and Abbott (2005), J. Neurosci. 25:10786; as benchmark 1 of Brette et al. (2007),
    J. Comput. Neurosci. 23:349.
    """
    values = {
        "C": "200 pF", "g_L": "10 nS", "E_L": "-60 mV", "E_e": "0 mV", "E_i": "-80 mV",
        "V_T": "-50 mV", "V_r": "-60 mV", "tau_e": "5 ms", "tau_i": "10 ms",
    }  # fmt: skip
    return Neuron(
        """dv/dt = (g_L*(E_L - v) + g_e*(E_e - v) + g_i*(E_i - v) + I)/C : volt (unless refractory)
           dg_e/dt = -g_e/tau_e : siemens
           dg_i/dt = -g_i/tau_i : siemens
           I : amp (input)""",
        spike="v > V_T",
        reset="v = V_r",
        refractory="5 ms",
        params=values,
        init={"v": "E_L"},
    ).with_params(**params)
