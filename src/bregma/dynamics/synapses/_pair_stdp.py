"""Pair-based spike-timing-dependent plasticity."""

from __future__ import annotations

from typing import Any

from bregma.dynamics.language._synapse import Synapse


def pair_stdp(into: str = "v", w: Any = 0.5, **params: Any) -> Synapse:
    """Plastic synapse: every pair of spikes changes its weight by its own exponential.

    Parameters
    ----------
    into : str
        Variable of the postsynaptic neuron that grows by gain w.
    w : float, str or array
        First weight, between 0 and w_max.
    **params : float, str or array
        Values in place of these: tau_plus = 20 ms, tau_minus = 20 ms, A_plus = 0.01,
        A_minus = 0.0105 (changes of w; additive), w_max = 1, gain = 1 mV.

    Returns
    -------
    Synapse
        With the weight ``w`` of each synapse and the traces ``x`` (pre) and ``y`` (post).

    References
    ----------
    Song, Miller and Abbott (2000), Competitive Hebbian learning through spike-timing-dependent
    synaptic plasticity.
    """
    values = {"tau_plus": "20 ms", "tau_minus": "20 ms", "A_plus": 0.01, "A_minus": 0.0105}
    return Synapse(
        """dx/dt = -x/tau_plus (pre)
           dy/dt = -y/tau_minus (post)
           w""",
        on_pre=f"{into} += gain*w; x += 1; w = clip(w - A_minus*y, 0, w_max)",
        on_post="y += 1; w = clip(w + A_plus*x, 0, w_max)",
        params=values | {"w_max": 1.0, "gain": "1 mV"} | params,
        init={"w": w},
    )
