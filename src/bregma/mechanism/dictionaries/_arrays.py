"""Arrays that somebody gives, as numbers that can be computed with."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from bregma.errors import InvalidArgument


def finite_array(x: Any, name: str, dimensions: tuple[int, ...] = (2,)) -> Float[np.ndarray, ...]:
    """An array or Tensor in float64 that is finite and not empty.

    Parameters
    ----------
    x : array or Tensor
        What was given.
    name : str
        What to call it.
    dimensions : tuple of int
        How many it may have.

    Returns
    -------
    array
        On the CPU, without gradients.

    Raises
    ------
    InvalidArgument
        It is something else.
    """
    given = x.detach().cpu().double() if hasattr(x, "detach") else x  # NumPy has no bfloat16
    values = np.asarray(given, dtype=np.float64)
    if values.ndim not in dimensions or 0 in values.shape or not np.isfinite(values).all():
        raise InvalidArgument(
            f"{name} must have {' or '.join(map(str, dimensions))} dimensions, not be empty and "
            f"be finite; the shape is {values.shape}"
        )
    return values
