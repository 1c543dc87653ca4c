"""Theta neuron."""

from __future__ import annotations

from typing import Any

from bregma.dynamics.language._neuron import Neuron


def theta(**params: Any) -> Neuron:
    """Theta neuron: the quadratic integrate-and-fire neuron on a circle, without a reset.

    Parameters
    ----------
    **params : float, str or array
        Values in place of tau = 10 ms.

    Returns
    -------
    Neuron
        With the variable ``phase``, which passes pi at a spike, and an input ``I`` (a plain
        number). At a constant I above 0 the period is pi tau/sqrt(I).

    References
    ----------
    Ermentrout and Kopell (1986), SIAM J. Appl. Math. 46:233.
    """
    return Neuron(
        """dphase/dt = (1 - cos(phase) + (1 + cos(phase))*I)/tau : 1
           I : 1 (input)""",
        spike="phase > pi",
        reset="phase -= 2*pi",
        params={"tau": "10 ms"},
    ).with_params(**params)
