"""Triplet spike-timing-dependent plasticity."""

from __future__ import annotations

from typing import Any

from bregma.dynamics.language._synapse import Synapse


def triplet_stdp(into: str = "v", w: Any = 0.5, **params: Any) -> Synapse:
    """Plastic synapse whose changes also depend on the previous spike of the same side.

    Potentiation at a postsynaptic spike is r1 (A2_plus + A3_plus o2), depression at a presynaptic
    spike is o1 (A2_minus + A3_minus r2); o2 and r2 are taken just before the spike.

    Parameters
    ----------
    into : str
        Variable of the postsynaptic neuron that grows by gain w.
    w : float, str or array
        First weight, between 0 and w_max.
    **params : float, str or array
        Values in place of these, the full model with all pairs for the visual cortex (Table 3
        of the source): A2_plus = 5e-10, A3_plus = 6.2e-3, A2_minus = 7e-3, A3_minus = 2.3e-4,
        tau_plus = 16.8 ms, tau_minus = 33.7 ms, tau_x = 101 ms, tau_y = 125 ms; w_max = 1,
        gain = 1 mV.

    Returns
    -------
    Synapse
        With the weight ``w`` and the traces ``r1``, ``r2`` (pre), ``o1``, ``o2`` (post).

    References
    ----------
    Pfister and Gerstner (2006), Triplets of spikes in a model of spike timing-dependent plasticity.
    """
    values = {"A2_plus": 5e-10, "A3_plus": 6.2e-3, "A2_minus": 7e-3, "A3_minus": 2.3e-4}
    times = {"tau_plus": "16.8 ms", "tau_minus": "33.7 ms", "tau_x": "101 ms", "tau_y": "125 ms"}
    return Synapse(
        """dr1/dt = -r1/tau_plus (pre)
           dr2/dt = -r2/tau_x (pre)
           do1/dt = -o1/tau_minus (post)
           do2/dt = -o2/tau_y (post)
           w""",
        on_pre=f"""{into} += gain*w
                   w = clip(w - o1*(A2_minus + A3_minus*r2), 0, w_max)
                   r1 += 1; r2 += 1""",
        on_post="""w = clip(w + r1*(A2_plus + A3_plus*o2), 0, w_max)
                   o1 += 1; o2 += 1""",
        params=values | times | {"w_max": 1.0, "gain": "1 mV"} | params,
        init={"w": w},
    )
