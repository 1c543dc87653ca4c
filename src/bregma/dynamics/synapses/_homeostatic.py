"""Homeostatic scaling: all weights of a unit grow or shrink together until its rate is right."""

from __future__ import annotations

from typing import Any

from bregma.dynamics.language._synapse import Synapse


def homeostatic_scaling(into: str = "v", w: Any = 0.5, **params: Any) -> Synapse:
    """Synapse whose weight follows dw/dt = w (rho - r)/tau_w, r the rate of the unit behind it.

    Scaling is multiplicative, so that ratios of weights stay.

    Parameters
    ----------
    into : str
        Variable of the postsynaptic neuron that grows by gain w.
    w : float, str or array
        First weight.
    **params : float, str or array
        Values in place of these: rho = 5 Hz (target), tau_r = 1 s (of the estimate of the rate),
        tau_w = 50 (seconds times Hz), gain = 1 mV.

    Returns
    -------
    Synapse
        With the weight ``w`` and the rate ``r`` (post, Hz).

    References
    ----------
    Turrigiano et al. (1998), Activity-dependent scaling of quantal amplitude in neocortical
    neurons. van Rossum, Bi and Turrigiano (2000), Stable Hebbian learning from spike
    timing-dependent plasticity.
    """
    return Synapse(
        """dr/dt = -r/tau_r (post)
           dw/dt = w*(rho - r)/tau_w""",
        on_pre=f"{into} += gain*w",
        on_post="r += 1/tau_r",
        params={"rho": "5 Hz", "tau_r": "1 s", "tau_w": 50.0, "gain": "1 mV"} | params,
        init={"w": w},
    )
