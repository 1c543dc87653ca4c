"""Spherical splines: the smoothest potential on a head that agrees with its electrodes."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from bregma.errors import InvalidArgument

N_TERMS = 50


def spherical_spline(
    known: Float[np.ndarray, "known 3"],
    wanted: Float[np.ndarray, "wanted 3"],
    *,
    stiffness: int = 4,
    regularization: float = 1e-5,
) -> Float[np.ndarray, "wanted known"]:
    """Matrix that interpolates potentials from some places on a sphere to others.

    Needs no data and no training: what a network that knows geometry has to be held against.

    Parameters
    ----------
    known, wanted : Float[np.ndarray, "place 3"]
        Places around the centre of the head; only their directions count.
    stiffness : int
        Order of the spline; higher is smoother.
    regularization : float
        Added to the diagonal: how far the spline may pass from noisy data.

    Returns
    -------
    Float[np.ndarray, "wanted known"]
        Multiply with potentials at the known places.

    Raises
    ------
    InvalidArgument
        If there are fewer than two known places, or one at the centre.

    References
    ----------
    Perrin, Pernier, Bertrand and Echallier (1989), Spherical splines for scalp potential and
    current density mapping.

    Examples
    --------
    >>> from bregma.datasets import eeg_layout
    >>> few, many = (eeg_layout(n)[["x", "y", "z"]].to_numpy() for n in (32, 64))
    >>> bool(np.allclose(spherical_spline(few, many) @ np.ones(32), 1))  # constants stay
    True
    """
    lengths = [np.linalg.norm(x, axis=1, keepdims=True) for x in (known, wanted)]
    if len(known) < 2 or stiffness < 2 or regularization < 0:
        raise InvalidArgument("give 2 known places or more, stiffness 2 or more, regularization 0+")
    if not all((length > 0).all() for length in lengths):
        raise InvalidArgument("a place at the centre of the head has no direction")
    known, wanted = known / lengths[0], wanted / lengths[1]
    n = len(known)
    # V(x) = c0 + sum_i c_i g(x . x_i), with sum_i c_i = 0 and V(x_i) given.
    system = np.ones((n + 1, n + 1))
    system[:n, :n] = _kernel(known @ known.T, stiffness) + regularization * np.eye(n)
    system[n, n] = 0
    weights = np.linalg.pinv(system)[:, :n]
    return _kernel(wanted @ known.T, stiffness) @ weights[:n] + weights[n]


def _kernel(cosine: Float[np.ndarray, "a b"], stiffness: int) -> Float[np.ndarray, "a b"]:
    """g(x) = 1/(4 pi) sum_n (2n + 1)/(n (n + 1))^m P_n(x)."""
    n = np.arange(1, N_TERMS + 1)
    terms = (2 * n + 1) / (n * (n + 1.0)) ** stiffness / (4 * np.pi)
    return np.polynomial.legendre.legval(np.clip(cosine, -1, 1), np.concatenate([[0], terms]))
