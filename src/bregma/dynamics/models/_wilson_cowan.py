"""Wilson-Cowan: an excitatory and an inhibitory population."""

from __future__ import annotations

from typing import Any

from bregma.dynamics.language._neuron import Neuron


def wilson_cowan(**params: Any) -> Neuron:
    """Wilson-Cowan model: the active shares of two populations that act on each other.

    Parameters
    ----------
    **params : float, str or array
        Values in place of those of figure 11 of the paper, where P = 1.25 gives a limit cycle:
        c_1 = 16, c_2 = 12, c_3 = 15, c_4 = 3, a_e = 1.3, theta_e = 4, a_i = 2, theta_i = 3.7,
        r_e = r_i = 1, tau_e = tau_i = 10 ms.

    Returns
    -------
    Neuron
        With the variables ``E`` and ``I`` and inputs ``P`` and ``Q``, all plain numbers; a unit is
        a pair of populations.

    References
    ----------
    Wilson and Cowan (1972), Biophys. J. 12:1.
    """
    values = {
        "c_1": 16, "c_2": 12, "c_3": 15, "c_4": 3, "a_e": 1.3, "theta_e": 4, "a_i": 2,
        "theta_i": 3.7, "r_e": 1, "r_i": 1, "tau_e": "10 ms", "tau_i": "10 ms",
    }  # fmt: skip
    return Neuron(
        """S_e = sigmoid(a_e*(c_1*E - c_2*I + P - theta_e)) - sigmoid(-a_e*theta_e) : 1
           S_i = sigmoid(a_i*(c_3*E - c_4*I + Q - theta_i)) - sigmoid(-a_i*theta_i) : 1
           dE/dt = (-E + (1 - r_e*E)*S_e)/tau_e : 1
           dI/dt = (-I + (1 - r_i*I)*S_i)/tau_i : 1
           P : 1 (input)
           Q : 1 (input)""",
        params=values,
    ).with_params(**params)
