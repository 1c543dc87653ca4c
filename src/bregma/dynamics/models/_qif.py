"""Quadratic integrate-and-fire."""

from __future__ import annotations

from typing import Any

from bregma.dynamics.language._neuron import Neuron


def qif(**params: Any) -> Neuron:
    """Quadratic integrate-and-fire neuron: the simplest model with a true spike onset.

    Parameters
    ----------
    **params : float, str or array
        Values in place of these: E_L = -65 mV (rest), V_c = -50 mV (beyond which it fires
        without a current), a_0 = 0.07 /mV, R = 100 Mohm, tau = 10 ms, V_p = 30 mV (peak),
        V_r = -70 mV (reset).

    Returns
    -------
    Neuron
        With the variable ``v`` (V) and an input ``I`` (A). With b = R I - a_0 (V_c - E_L)²/4 above
        0 and x counted from (E_L + V_c)/2, the interval between spikes is
        tau/sqrt(a_0 b) (atan(x_p sqrt(a_0/b)) - atan(x_r sqrt(a_0/b))).

    References
    ----------
    Latham, Richmond, Nelson and Nirenberg (2000), J. Neurophysiol. 83:808.
    """
    values = {
        "E_L": "-65 mV", "V_c": "-50 mV", "a_0": "0.07 / mV", "R": "100 Mohm", "tau": "10 ms",
        "V_p": "30 mV", "V_r": "-70 mV",
    }  # fmt: skip
    return Neuron(
        """dv/dt = (a_0*(v - E_L)*(v - V_c) + R*I)/tau : volt
           I : amp (input)""",
        spike="v > V_p",
        reset="v = V_r",
        params=values,
        init={"v": "E_L"},
    ).with_params(**params)
