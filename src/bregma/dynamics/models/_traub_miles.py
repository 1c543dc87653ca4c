"""Hodgkin-Huxley neuron of the hippocampus with synaptic conductances."""

from __future__ import annotations

from typing import Any

from bregma.dynamics.language._neuron import Neuron


def traub_miles(**params: Any) -> Neuron:
    """Neuron of the network COBAHH: a Hodgkin-Huxley type after Traub and Miles.

    Synapses add to ``g_e`` and ``g_i`` (S): in the benchmark 6 and 67 nS at each spike.

    Parameters
    ----------
    **params : float, str or array
        Values in place of these: C = 200 pF, g_L = 10 nS, g_Na = 20 uS, g_K = 6 uS, E_L = -60 mV,
        E_Na = 50 mV, E_K = -90 mV, V_T = -63 mV (of the gates), E_e = 0 mV, E_i = -80 mV,
        tau_e = 5 ms, tau_i = 10 ms.

    Returns
    -------
    Neuron
        With the variables ``v`` (V), ``m``, ``h``, ``n``, ``g_e`` and ``g_i`` (S), and an input
        ``I`` (A). A spike is counted when v passes -20 mV.

    References
    ----------
    Traub and Miles (1991), Neuronal Networks of the Hippocampus; benchmark 3 of Brette et al.
    (2007), J. Comput. Neurosci. 23:349.
    """
    values = {
        "C": "200 pF", "g_L": "10 nS", "g_Na": "20 uS", "g_K": "6 uS", "E_L": "-60 mV",
        "E_Na": "50 mV", "E_K": "-90 mV", "V_T": "-63 mV", "E_e": "0 mV", "E_i": "-80 mV",
        "tau_e": "5 ms", "tau_i": "10 ms",
    }  # fmt: skip
    return Neuron(
        """dv/dt = (g_L*(E_L - v) + I_Na + I_K + g_e*(E_e - v) + g_i*(E_i - v) + I)/C : volt
           dm/dt = alpha_m*(1 - m) - beta_m*m : 1
           dh/dt = alpha_h*(1 - h) - beta_h*h : 1
           dn/dt = alpha_n*(1 - n) - beta_n*n : 1
           dg_e/dt = -g_e/tau_e : siemens
           dg_i/dt = -g_i/tau_i : siemens
           I_Na = g_Na*m**3*h*(E_Na - v) : amp
           I_K = g_K*n**4*(E_K - v) : amp
           alpha_m = 1.28/exprel((13*mV - v + V_T)/(4*mV))/ms : Hz
           beta_m = 1.4/exprel((v - V_T - 40*mV)/(5*mV))/ms : Hz
           alpha_h = 0.128*exp((17*mV - v + V_T)/(18*mV))/ms : Hz
           beta_h = 4/(1 + exp((40*mV - v + V_T)/(5*mV)))/ms : Hz
           alpha_n = 0.16/exprel((15*mV - v + V_T)/(5*mV))/ms : Hz
           beta_n = 0.5*exp((10*mV - v + V_T)/(40*mV))/ms : Hz
           I : amp (input)""",
        spike="v > -20*mV",
        refractory="v > -20*mV",
        params=values,
        init={"v": "E_L", "h": 1.0},
    ).with_params(**params)
