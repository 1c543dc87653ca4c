"""Adaptive exponential integrate-and-fire."""

from __future__ import annotations

from typing import Any

from bregma.dynamics.language._neuron import Neuron
from bregma.errors import UnknownName

# C (pF), g_L (nS), E_L, V_T, D (mV), a (nS), tau_w (ms), b (pA), V_r (mV), and the current (pA) at
# which Naud et al. show the pattern
_COLUMNS = ("C", "g_L", "E_L", "V_T", "D", "a", "tau_w", "b", "V_r")
_UNITS = ("pF", "nS", "mV", "mV", "mV", "nS", "ms", "pA", "mV")
PATTERNS = {
    "tonic": (200, 10, -70, -50, 2, 2, 30, 0, -58, 500),
    "adapting": (200, 12, -70, -50, 2, 2, 300, 60, -58, 500),
    "initial burst": (130, 18, -58, -50, 2, 4, 150, 120, -50, 400),
    "regular bursting": (200, 10, -58, -50, 2, 2, 120, 100, -46, 210),
    "delayed accelerating": (200, 12, -70, -50, 2, -10, 300, 0, -58, 300),
    "delayed regular bursting": (100, 10, -65, -50, 2, -10, 90, 30, -47, 110),
    "transient": (100, 10, -65, -50, 2, 10, 90, 100, -47, 180),
    "irregular": (100, 12, -60, -50, 2, -11, 130, 30, -48, 160),
}


def adex(pattern: str | None = None, **params: Any) -> Neuron:
    """Adaptive exponential integrate-and-fire neuron.

    Parameters
    ----------
    pattern : str, optional
        A firing pattern of Naud et al.: "tonic", "adapting", "initial burst", "regular bursting",
        "delayed accelerating", "delayed regular bursting", "transient" or "irregular", which come
        with constant currents of 500, 500, 400, 210, 300, 110, 180 and 160 pA. Without one, the
        pyramidal neuron of Brette and Gerstner.
    **params : float, str or array
        Values in place of those of the pattern, or of these: C = 281 pF, g_L = 30 nS,
        E_L = -70.6 mV, V_T = -50.4 mV, D = 2 mV (sharpness), a = 4 nS, tau_w = 144 ms,
        b = 80.5 pA, V_r = -70.6 mV, V_p = 0 mV (peak).

    Returns
    -------
    Neuron
        With the variables ``v`` (V) and ``w`` (A) and an input ``I`` (A).

    Raises
    ------
    UnknownName
        No such pattern.

    References
    ----------
    Brette and Gerstner (2005), J. Neurophysiol. 94:3637; Naud, Marcille, Clopath and Gerstner
    (2008), Biol. Cybern. 99:335.
    """
    if pattern is not None and pattern not in PATTERNS:
        raise UnknownName.of("firing pattern", pattern, PATTERNS)
    numbers = PATTERNS[pattern] if pattern else (281, 30, -70.6, -50.4, 2, 4, 144, 80.5, -70.6)
    values = {n: f"{x} {u}" for n, x, u in zip(_COLUMNS, numbers, _UNITS, strict=False)}
    return Neuron(
        """dv/dt = (g_L*(E_L - v) + g_L*D*exp((v - V_T)/D) - w + I)/C : volt
           dw/dt = (a*(v - E_L) - w)/tau_w : amp
           I : amp (input)""",
        spike="v > V_p",
        reset="v = V_r; w += b",
        params={**values, "V_p": "0 mV"},
        init={"v": "E_L"},
    ).with_params(**params)
