"""Delta synapse: a spike moves a variable at once."""

from __future__ import annotations

from typing import Any

from bregma.dynamics.language._synapse import Synapse


def delta(into: str = "v", **params: Any) -> Synapse:
    """Synapse that adds its weight to a variable of the postsynaptic neuron.

    Parameters
    ----------
    into : str
        The variable.
    **params : float, str or array
        Values in place of this: w = 1 mV.

    Returns
    -------
    Synapse
        One statement.

    References
    ----------
    Gerstner, Kistler, Naud and Paninski (2014), Neuronal Dynamics, chapter 1.
    """
    return Synapse(on_pre=f"{into} += w", params={"w": "1 mV"}).with_params(**params)
