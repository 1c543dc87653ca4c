"""Astrocyte-modulated plasticity: a leaky integrator of activity sets how strong depression is."""

from __future__ import annotations

from typing import Any

from bregma.dynamics.language._neuron import Neuron
from bregma.dynamics.language._synapse import Synapse


def astrocyte(**params: Any) -> Neuron:
    """Leaky integrate-and-modulate astrocyte: tau dA/dt = b - A, moved by spikes, never spiking.

    Spikes of the network add w_a/tau, those of its input take as much away, by synapses with
    ``on_pre="A += k"``: A follows the imbalance between what goes in and what comes out.

    Parameters
    ----------
    **params : float, str or array
        Values in place of these: tau = 100 ms, b = 0.15.

    Returns
    -------
    Neuron
        With the variable ``A``, first b.

    References
    ----------
    Ivanov and Michmizos (2021), Increasing liquid state machine performance with edge-of-chaos
    dynamics organized by astrocyte-modulated plasticity.
    """
    return Neuron(
        "dA/dt = (b - A)/tau", params={"tau": "100 ms", "b": 0.15}, init={"A": "b"}
    ).with_params(**params)


def astrocyte_stdp(into: str = "v", w: Any = 0.5, **params: Any) -> Synapse:
    """Pair-based plasticity whose depression is A, a variable of the postsynaptic neuron.

    Give the neuron the lines ``dA/dt = (glia - A)/(1*ms)`` and ``glia (input)`` and connect the
    astrocyte to it with ``Synapse(summed={"glia": "A_pre"})``.

    Parameters
    ----------
    into : str
        Variable of the postsynaptic neuron that grows by gain w.
    w : float, str or array
        First weight, between 0 and w_max.
    **params : float, str or array
        Values in place of these: tau_plus = 20 ms, tau_minus = 20 ms, A_plus = 0.15, eta = 0.01
        (of both changes), w_max = 1, gain = 1 mV.

    Returns
    -------
    Synapse
        With the weight ``w`` and the traces ``x`` (pre) and ``y`` (post).

    References
    ----------
    Ivanov and Michmizos (2021), as for `astrocyte`.
    """
    values = {"tau_plus": "20 ms", "tau_minus": "20 ms", "A_plus": 0.15, "eta": 0.01}
    return Synapse(
        """dx/dt = -x/tau_plus (pre)
           dy/dt = -y/tau_minus (post)
           w""",
        on_pre=f"{into} += gain*w; x += 1; w = clip(w - eta*A_post*y, 0, w_max)",
        on_post="y += 1; w = clip(w + eta*A_plus*x, 0, w_max)",
        params=values | {"w_max": 1.0, "gain": "1 mV"} | params,
        init={"w": w},
    )
