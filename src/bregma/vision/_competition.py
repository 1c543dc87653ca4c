"""The locally competitive algorithm: neurons that inhibit each other settle on a sparse code."""

from __future__ import annotations

import torch

from bregma.errors import InvalidArgument
from bregma.vision._penalties import Penalty
from bregma.vision._sparse_code import Codes, Dictionary, Signals, check_signals


def competitive_code(
    signals: Signals,
    dictionary: Dictionary,
    penalty: Penalty,
    *,
    steps: int = 300,
    rate: float = 0.1,
) -> Codes:
    r"""Code by the dynamics of a circuit: tau du/dt = D^T y - u - (D^T D - 1) a, with a = prox(u).

    A neuron is driven by how well its atom fits and inhibited by active neurons whose atoms overlap
    with its own. The fixed points are stationary points of 0.5 ||y - D a||^2 + lambda phi(a) for
    atoms of length 1.

    Parameters
    ----------
    signals : Tensor (signal, pixel)
        y, one per row.
    dictionary : Tensor (pixel, atom)
        D, with atoms of length 1.
    penalty : Penalty
        Its proximal operator for step 1 is the neurons' threshold.
    steps : int
        Steps of time.
    rate : float
        Step of time over the time constant tau, above 0 and at most 1.

    Returns
    -------
    Tensor (signal, atom)
        a.

    Raises
    ------
    InvalidArgument
        If shapes do not fit, something is not finite, or atoms are not of length 1.

    References
    ----------
    Rozell, Johnson, Baraniuk and Olshausen (2008), Sparse coding via thresholding and local
    competition in neural circuits.

    Examples
    --------
    >>> from bregma.vision import SoftPenalty
    >>> competitive_code(torch.tensor([[3.0, -0.5]]), torch.eye(2), SoftPenalty(1.0)).round()
    tensor([[2., -0.]])
    """
    check_signals(signals, dictionary)
    if steps < 1 or not 0 < rate <= 1:
        raise InvalidArgument(f"steps must be 1 or more, the rate in (0, 1], not {steps}, {rate}")
    if not torch.allclose(dictionary.norm(dim=0), dictionary.new_ones(()), atol=1e-3):
        raise InvalidArgument("atoms must have length 1: divide the dictionary by its column norms")
    drive = signals @ dictionary
    inhibition = dictionary.T @ dictionary - torch.eye(dictionary.shape[1]).to(dictionary)
    potential = torch.zeros_like(drive)
    for _ in range(steps):
        active = penalty.prox(potential, 1.0)
        potential = potential + rate * (drive - potential - active @ inhibition)
    return penalty.prox(potential, 1.0)
