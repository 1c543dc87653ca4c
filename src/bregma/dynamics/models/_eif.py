"""Exponential integrate-and-fire."""

from __future__ import annotations

from typing import Any

from bregma.dynamics.language._neuron import Neuron


def eif(**params: Any) -> Neuron:
    """Exponential integrate-and-fire neuron, per membrane area.

    Parameters
    ----------
    **params : float, str or array
        Values in place of these: C = 1 uF/cm², g_L = 0.1 mS/cm², E_L = -65 mV, V_T = -59.9 mV,
        D = 3.48 mV (sharpness), V_p = 0 mV (peak), V_r = -68 mV. The unit is refractory for 1.7 ms.

    Returns
    -------
    Neuron
        With the variable ``v`` (V) and an input ``I`` (A/m²). It fires at constant currents above
        g_L (V_T - E_L - D).

    References
    ----------
    Fourcaud-Trocmé, Hansel, van Vreeswijk and Brunel (2003), J. Neurosci. 23:11628.
    """
    values = {
        "C": "1 uF/cm**2", "g_L": "0.1 mS/cm**2", "E_L": "-65 mV", "V_T": "-59.9 mV",
        "D": "3.48 mV", "V_p": "0 mV", "V_r": "-68 mV",
    }  # fmt: skip
    return Neuron(
        """dv/dt = (g_L*(E_L - v) + g_L*D*exp((v - V_T)/D) + I)/C : volt (unless refractory)
           I : amp/meter**2 (input)""",
        spike="v > V_p",
        reset="v = V_r",
        refractory="1.7 ms",
        params=values,
        init={"v": "E_L"},
    ).with_params(**params)
