"""Dale's principle: all outgoing synapses of a unit excite, or all inhibit."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from bregma.errors import InvalidArgument


def dale(
    weights: Float[np.ndarray, "pre ..."], excitatory: Bool[np.ndarray, " pre"]
) -> Float[np.ndarray, "pre ..."]:
    """Give all outgoing weights of a unit the sign of its kind, and keep their size.

    Parameters
    ----------
    weights : array (pre, post) or (synapse,)
        Weights by presynaptic unit. Weights of single synapses are given with the kind of the
        source of each: ``np.repeat(excitatory, np.diff(indptr))``.
    excitatory : array (pre,) or (synapse,)
        Whether the unit excites.

    Returns
    -------
    array of the shape of `weights`
        Weights of 0 or more from units that excite, of 0 or less from the others.

    References
    ----------
    Eccles, Fatt and Koketsu (1954), Cholinergic and inhibitory synapses in a pathway from
    motor-axon collaterals to motoneurones.

    Examples
    --------
    >>> dale(np.array([[1.0, -2.0], [3.0, 4.0]]), np.array([True, False]))
    array([[ 1.,  2.],
           [-3., -4.]])
    """
    sign = np.where(excitatory, 1, -1).astype(weights.dtype)
    return np.abs(weights) * sign.reshape(-1, *[1] * (weights.ndim - 1))


def check_dale(weights: Float[np.ndarray, "pre ..."], excitatory: Bool[np.ndarray, " pre"]) -> None:
    """Refuse weights of which one has not the sign of its unit; 0 has any sign.

    Parameters
    ----------
    weights : array (pre, post) or (synapse,)
        Weights by presynaptic unit, as for `dale`.
    excitatory : array (pre,) or (synapse,)
        Whether the unit excites.

    Raises
    ------
    InvalidArgument
        If a unit that excites has a negative weight, or one that inhibits a positive one.
    """
    wrong = weights * dale(np.ones_like(weights), excitatory) < 0
    rows = np.flatnonzero(wrong.reshape(len(weights), -1).any(axis=1))
    if len(rows):
        kind = "excites" if excitatory[rows[0]] else "inhibits"
        raise InvalidArgument(
            f"{int(wrong.sum())} weights have the wrong sign, in {len(rows)} rows; the first is "
            f"row {rows[0]}, which {kind}: dale(weights, excitatory) gives them the right one"
        )
