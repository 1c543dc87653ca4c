"""Leaky integrate-and-fire with a threshold that adapts."""

from __future__ import annotations

from typing import Any

from bregma.dynamics.language._neuron import Neuron


def alif(**params: Any) -> Neuron:
    """Leaky integrate-and-fire neuron whose threshold rises with each spike.

    Parameters
    ----------
    **params : float, str or array
        Values in place of these: E_L = -70 mV, V_T = -50 mV (threshold at rest), V_r = -70 mV,
        R = 100 Mohm, tau = 20 ms, beta = 2 mV (rise of the threshold), tau_b = 200 ms (its
        decay). The unit is refractory for 2 ms.

    Returns
    -------
    Neuron
        With the variables ``v`` and ``b`` (V) and an input ``I`` (A).

    References
    ----------
    Bellec, Salaj, Subramoney, Legenstein and Maass (2018), Long short-term memory and
    learning-to-learn in networks of spiking neurons, NeurIPS.
    """
    values = {
        "E_L": "-70 mV", "V_T": "-50 mV", "V_r": "-70 mV", "R": "100 Mohm", "tau": "20 ms",
        "beta": "2 mV", "tau_b": "200 ms",
    }  # fmt: skip
    return Neuron(
        """dv/dt = (E_L - v + R*I)/tau : volt (unless refractory)
           db/dt = -b/tau_b : volt
           I : amp (input)""",
        spike="v > V_T + b",
        reset="v = V_r; b += beta",
        refractory="2 ms",
        params=values,
        init={"v": "E_L"},
    ).with_params(**params)
