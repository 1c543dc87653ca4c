"""Leaky integrate-and-fire whose synapses make the voltage jump."""

from __future__ import annotations

from typing import Any

from bregma.dynamics.language._neuron import Neuron


def lif_delta(**params: Any) -> Neuron:
    """Leaky integrate-and-fire neuron without synaptic time constants.

    Synapses add to ``v`` itself, by 0.1 mV at each spike in the paper; jumps that arrive while the
    unit is refractory are kept.

    Parameters
    ----------
    **params : float, str or array
        Values in place of these: tau = 20 ms, V_T = 20 mV and V_r = 10 mV above rest. The unit is
        refractory for 2 ms.

    Returns
    -------
    Neuron
        With the variable ``v`` (V, above rest) and an input ``mu`` (V), the mean drive.

    References
    ----------
    Brunel (2000), J. Comput. Neurosci. 8:183.
    """
    return Neuron(
        """dv/dt = (mu - v)/tau : volt (unless refractory)
           mu : volt (input)""",
        spike="v > V_T",
        reset="v = V_r",
        refractory="2 ms",
        params={"tau": "20 ms", "V_T": "20 mV", "V_r": "10 mV"},
    ).with_params(**params)
