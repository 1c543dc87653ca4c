"""Leaky integrate-and-fire with white noise."""

from __future__ import annotations

from typing import Any

from bregma.dynamics.language._neuron import Neuron


def stochastic_lif(**params: Any) -> Neuron:
    """Leaky integrate-and-fire neuron driven by white noise, as in networks of many synapses.

    Parameters
    ----------
    **params : float, str or array
        Values in place of these: tau = 20 ms, sigma = 5 mV (standard deviation of the voltage
        without spikes), V_T = 20 mV and V_r = 10 mV above rest. The unit is refractory for 2 ms.

    Returns
    -------
    Neuron
        With the variable ``v`` (V, above rest) and an input ``mu`` (V), the mean drive. Its mean
        rate is the formula of Siegert.

    References
    ----------
    Siegert (1951), Phys. Rev. 81:617; Brunel and Hakim (1999), Neural Comput. 11:1621.
    """
    return Neuron(
        """dv/dt = (mu - v)/tau : volt (unless refractory)
           mu : volt (input)""",
        spike="v > V_T",
        reset="v = V_r",
        refractory="2 ms",
        noise={"v": "sigma*sqrt(2/tau)"},
        params={"tau": "20 ms", "sigma": "5 mV", "V_T": "20 mV", "V_r": "10 mV"},
    ).with_params(**params)
