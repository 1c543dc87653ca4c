"""Leaky integrate-and-fire, driven by a current."""

from __future__ import annotations

from typing import Any

from bregma.dynamics.language._neuron import Neuron


def lif(**params: Any) -> Neuron:
    """Leaky integrate-and-fire neuron, driven by a current ``I`` (A).

    Parameters
    ----------
    **params : float, str or array
        Values in place of these: E_L = -70 mV (rest), V_T = -50 mV (threshold), V_r = -60 mV
        (reset), R = 100 Mohm, tau = 20 ms. The unit is refractory for 2 ms.

    Returns
    -------
    Neuron
        With the variable ``v`` (V). At a constant current the interval between spikes is
        2 ms + tau ln((R I + E_L - V_r)/(R I + E_L - V_T)).

    References
    ----------
    Gerstner, Kistler, Naud and Paninski (2014), Neuronal Dynamics, chapter 1.
    """
    values = {"E_L": "-70 mV", "V_T": "-50 mV", "V_r": "-60 mV", "R": "100 Mohm", "tau": "20 ms"}
    return Neuron(
        """dv/dt = (E_L - v + R*I)/tau : volt (unless refractory)
           I : amp (input)""",
        spike="v > V_T",
        reset="v = V_r",
        refractory="2 ms",
        params=values,
        init={"v": "E_L"},
    ).with_params(**params)
