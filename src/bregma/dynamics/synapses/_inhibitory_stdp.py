"""Plasticity of inhibitory synapses that holds the rate of what they inhibit."""

from __future__ import annotations

from typing import Any

from bregma.dynamics.language._synapse import Synapse


def inhibitory_stdp(into: str = "v", w: Any = 0.0, **params: Any) -> Synapse:
    """Plastic inhibitory synapse with a symmetric window, which balances excitation.

    Near-coincident spikes of both sides strengthen it, presynaptic spikes alone weaken it by
    eta alpha with alpha = 2 rho tau, so that the postsynaptic unit comes to fire at rho.

    Parameters
    ----------
    into : str
        Variable of the postsynaptic neuron that grows by gain w.
    w : float, str or array
        First weight, between 0 and w_max.
    **params : float, str or array
        Values in place of these: eta = 0.01, rho = 3 Hz, tau = 20 ms, w_max = 100, gain = -1 mV.

    Returns
    -------
    Synapse
        With the weight ``w`` and the traces ``x`` (pre) and ``y`` (post).

    References
    ----------
    Vogels, Sprekeler, Zenke, Clopath and Gerstner (2011), Inhibitory plasticity balances
    excitation and inhibition in sensory pathways and memory networks.
    """
    values = {"eta": 0.01, "rho": "3 Hz", "tau": "20 ms", "w_max": 100.0, "gain": "-1 mV"}
    return Synapse(
        """dx/dt = -x/tau (pre)
           dy/dt = -y/tau (post)
           w""",
        on_pre=f"{into} += gain*w; x += 1; w = clip(w + eta*(y - 2*rho*tau), 0, w_max)",
        on_post="y += 1; w = clip(w + eta*x, 0, w_max)",
        params=values | params,
        init={"w": w},
    )
