"""Arrays as the regressors of this room take them."""

from __future__ import annotations

from typing import Any

import numpy as np

from bregma.errors import InvalidArgument


def finite(x: Any, what: str, *axes: str) -> Any:
    """An array of finite numbers with these axes, none of them empty."""
    x = np.asarray(x, dtype=float)
    if x.ndim != len(axes) or not x.size or not np.isfinite(x).all():
        raise InvalidArgument(
            f"{what} must be ({', '.join(axes)}), not empty, and finite; the shape is {x.shape}"
        )
    return x
