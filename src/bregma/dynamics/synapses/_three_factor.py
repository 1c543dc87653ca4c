"""Three-factor plasticity: spike pairs leave a mark that a third signal turns into a change."""

from __future__ import annotations

from typing import Any

from bregma.dynamics.language._synapse import Synapse


def three_factor(into: str = "v", w: Any = 0.5, **params: Any) -> Synapse:
    """Plastic synapse with an eligibility trace and a modulator in the postsynaptic neuron.

    Pairs of spikes change the eligibility c as in `pair_stdp`; the weight follows dw/dt = c m,
    where m is a variable or parameter of the postsynaptic neuron: an error, a surprise, a novelty.

    Parameters
    ----------
    into : str
        Variable of the postsynaptic neuron that grows by gain w.
    w : float, str or array
        First weight, between 0 and w_max.
    **params : float, str or array
        Values in place of these: tau_plus = 20 ms, tau_minus = 20 ms, A_plus = 1, A_minus = 1.05,
        tau_c = 1 s, w_max = 1, gain = 1 mV.

    Returns
    -------
    Synapse
        With the weight ``w``, the eligibility ``c`` and the traces ``x`` (pre) and ``y`` (post).

    References
    ----------
    Frémaux and Gerstner (2016), Neuromodulated spike-timing-dependent plasticity, and theory of
    three-factor learning rules.
    """
    values = {"tau_plus": "20 ms", "tau_minus": "20 ms", "A_plus": 1.0, "A_minus": 1.05}
    return Synapse(
        """dx/dt = -x/tau_plus (pre)
           dy/dt = -y/tau_minus (post)
           dc/dt = -c/tau_c
           change = c*m_post
           dw/dt = where(change > 0, where(w < w_max, change, 0), where(w > 0, change, 0))""",
        on_pre=f"{into} += gain*w; x += 1; c -= A_minus*y",
        on_post="y += 1; c += A_plus*x",
        params=values | {"tau_c": "1 s", "w_max": 1.0, "gain": "1 mV"} | params,
        init={"w": w},
    )
