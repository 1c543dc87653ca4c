"""Voltage-based plasticity: presynaptic spikes against the filtered postsynaptic voltage."""

from __future__ import annotations

from typing import Any

from bregma.dynamics.language._synapse import Synapse


def voltage_stdp(into: str = "v", w: Any = 0.5, **params: Any) -> Synapse:
    """Plastic synapse that reads the voltage v of the postsynaptic neuron, not its spikes.

    Depression at a presynaptic spike is A_LTD [u_minus - theta_minus]+; potentiation goes on at
    the rate A_LTP x [v - theta_plus]+ [u_plus - theta_minus]+. The homeostatic factor of the
    source (A_LTD that follows the mean square of the voltage) is left to the user: A_LTD is a
    parameter.

    Parameters
    ----------
    into : str
        Variable of the postsynaptic neuron that grows by gain w.
    w : float, str or array
        First weight, between 0 and w_max.
    **params : float, str or array
        Values in place of these, for the visual cortex: A_LTD = 0.14 /V (14e-5 /mV),
        A_LTP = 80 /V² (8e-5 /mV²), theta_minus = -70.6 mV, theta_plus = -45.3 mV,
        tau_minus = 10 ms, tau_plus = 7 ms, tau_x = 15 ms; w_max = 3, gain = 1 mV.

    Returns
    -------
    Synapse
        With the weight ``w``, the filtered spikes ``x`` (pre, Hz) and the filtered voltages
        ``u_minus`` and ``u_plus`` (post).

    References
    ----------
    Clopath, Büsing, Vasilaki and Gerstner (2010), Connectivity reflects coding: a model of
    voltage-based STDP with homeostasis.
    """
    values = {"A_LTD": "0.14/V", "A_LTP": "80/V**2", "theta_minus": "-70.6 mV"}
    times = {"tau_minus": "10 ms", "tau_plus": "7 ms", "tau_x": "15 ms"}
    return Synapse(
        """dx/dt = -x/tau_x (pre)
           du_minus/dt = (v_post - u_minus)/tau_minus (post)
           du_plus/dt = (v_post - u_plus)/tau_plus (post)
           rise = A_LTP*x*relu(v_post - theta_plus)*relu(u_plus - theta_minus)
           dw/dt = where(w < w_max, rise, 0)""",
        on_pre=f"""{into} += gain*w
                   w = clip(w - A_LTD*relu(u_minus - theta_minus), 0, w_max)
                   x += 1/tau_x""",
        params=values | times | {"theta_plus": "-45.3 mV", "w_max": 3.0, "gain": "1 mV"} | params,
        init={"w": w, "u_minus": "-70.6 mV", "u_plus": "-70.6 mV"},
    )
