"""The squid axon of Hodgkin and Huxley."""

from __future__ import annotations

from typing import Any

from bregma.dynamics.language._neuron import Neuron


def hodgkin_huxley(**params: Any) -> Neuron:
    """Membrane of the squid giant axon at 6.3 °C, with today's sign of the voltage, rest at -65 mV.

    Parameters
    ----------
    **params : float, str or array
        Values in place of these: C = 1 uF/cm², g_Na = 120, g_K = 36 and g_L = 0.3 mS/cm²,
        E_Na = 50 mV, E_K = -77 mV, E_L = -54.387 mV.

    Returns
    -------
    Neuron
        With the variables ``v`` (V), ``m``, ``h`` and ``n``, and an input ``I`` (A/m²; 1 uA/cm² is
        0.01). A spike is counted when v passes 0 mV.

    References
    ----------
    Hodgkin and Huxley (1952), J. Physiol. 117:500.
    """
    values = {
        "C": "1 uF/cm**2", "g_Na": "120 mS/cm**2", "g_K": "36 mS/cm**2", "g_L": "0.3 mS/cm**2",
        "E_Na": "50 mV", "E_K": "-77 mV", "E_L": "-54.387 mV",
    }  # fmt: skip
    return Neuron(
        """dv/dt = (g_Na*m**3*h*(E_Na - v) + g_K*n**4*(E_K - v) + g_L*(E_L - v) + I)/C : volt
           dm/dt = alpha_m*(1 - m) - beta_m*m : 1
           dh/dt = alpha_h*(1 - h) - beta_h*h : 1
           dn/dt = alpha_n*(1 - n) - beta_n*n : 1
           alpha_m = 1/exprel(-(v + 40*mV)/(10*mV))/ms : Hz
           beta_m = 4*exp(-(v + 65*mV)/(18*mV))/ms : Hz
           alpha_h = 0.07*exp(-(v + 65*mV)/(20*mV))/ms : Hz
           beta_h = 1/(1 + exp(-(v + 35*mV)/(10*mV)))/ms : Hz
           alpha_n = 0.1/exprel(-(v + 55*mV)/(10*mV))/ms : Hz
           beta_n = 0.125*exp(-(v + 65*mV)/(80*mV))/ms : Hz
           I : amp/meter**2 (input)""",
        spike="v > 0*mV",
        refractory="v > 0*mV",
        params=values,
        init={"v": "-65 mV", "m": 0.0529, "h": 0.5961, "n": 0.3177},
    ).with_params(**params)
