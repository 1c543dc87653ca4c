"""Izhikevich's simple model, with the parameters of his 20 regimes."""

from __future__ import annotations

from typing import Any

from bregma.dynamics.language._neuron import Neuron
from bregma.errors import UnknownName

# a, b, c, d, v at the beginning
REGIMES = {
    "tonic spiking": (0.02, 0.2, -65, 6, -70),
    "phasic spiking": (0.02, 0.25, -65, 6, -64),
    "tonic bursting": (0.02, 0.2, -50, 2, -70),
    "phasic bursting": (0.02, 0.25, -55, 0.05, -64),
    "mixed mode": (0.02, 0.2, -55, 4, -70),
    "spike frequency adaptation": (0.01, 0.2, -65, 8, -70),
    "class 1": (0.02, -0.1, -55, 6, -60),
    "class 2": (0.2, 0.26, -65, 0, -64),
    "spike latency": (0.02, 0.2, -65, 6, -70),
    "subthreshold oscillations": (0.05, 0.26, -60, 0, -62),
    "resonator": (0.1, 0.26, -60, -1, -62),
    "integrator": (0.02, -0.1, -55, 6, -60),
    "rebound spike": (0.03, 0.25, -60, 4, -64),
    "rebound burst": (0.03, 0.25, -52, 0, -64),
    "threshold variability": (0.03, 0.25, -60, 4, -64),
    "bistability": (0.1, 0.26, -60, 0, -61),
    "depolarizing after-potential": (1.0, 0.2, -60, -18, -70),
    "accommodation": (0.02, 1.0, -55, 4, -65),
    "inhibition-induced spiking": (-0.02, -1.0, -60, 8, -63.8),
    "inhibition-induced bursting": (-0.026, -1.0, -45, 0, -63.8),
}
# d is -21 and -2 in the paper for the depolarizing after-potential and inhibition-induced bursting:
# there the step of 0.1 and 0.5 ms makes the regime, and the equations themselves fire without end.
# Two regimes have another parabola, and accommodation another recovery and first value
_LINEAR = {"class 1": (4.1, 108.0), "integrator": (4.1, 108.0)}


def izhikevich(regime: str = "tonic spiking", **params: Any) -> Neuron:
    """Izhikevich's simple model of spiking neurons.

    Parameters
    ----------
    regime : str
        One of the 20 regimes of figure 1 of the paper, such as "tonic bursting", "class 1" or
        "rebound spike"; a wrong name shows those that are near. In two of them d differs from the
        paper, whose values give the regime only with its long time steps.
    **params : float, str or array
        Values in place of those of the regime: a, b, c, d of the paper, p = 5 and q = 140 (of the
        parabola), k = 1 and v_0 = 0 (of the recovery a (b (v - v_0) - k u)).

    Returns
    -------
    Neuron
        With the variables ``v`` and ``u`` and an input ``I``, plain numbers as in the paper: v in
        mV, time in ms.

    Raises
    ------
    UnknownName
        No such regime.

    References
    ----------
    Izhikevich (2003), IEEE Trans. Neural Netw. 14:1569; (2004), Which model to use for cortical
    spiking neurons?, IEEE Trans. Neural Netw. 15:1063, with its program figure1.m.
    """
    if regime not in REGIMES:
        raise UnknownName.of("regime", regime, REGIMES)
    a, b, c, d, first = REGIMES[regime]
    p, q = _LINEAR.get(regime, (5.0, 140.0))
    accommodates = regime == "accommodation"
    return Neuron(
        """dv/dt = (0.04*v**2 + p*v + q - u + I)/ms : 1
           du/dt = a*(b*(v - v_0) - k*u)/ms : 1
           I : 1 (input)""",
        spike="v > 30",
        reset="v = c; u += d",
        params={
            "a": a, "b": b, "c": float(c), "d": float(d), "p": p, "q": q,
            "k": 0.0 if accommodates else 1.0, "v_0": -65.0 if accommodates else 0.0,
        },
        init={"v": float(first), "u": -16.0 if accommodates else b * first},
    ).with_params(**params)  # fmt: skip
