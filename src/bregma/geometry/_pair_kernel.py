"""From Gram matrices to pairs in one pass over memory; by itself, because it imports Numba."""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit


@no_type_check
@njit(cache=True, nogil=True)
def differences(grams, scale, out):
    """Write scale * (g_ii + g_jj - 2 g_ij) of each pair i < j of each Gram matrix."""
    n = grams.shape[1]
    diagonal = np.empty(n, grams.dtype)
    for t in range(grams.shape[0]):
        gram, start = grams[t], 0
        for i in range(n):
            diagonal[i] = gram[i, i]
        for i in range(n - 1):
            own, others, wanted = diagonal[i], gram[i, i + 1 :], out[t, start : start + n - 1 - i]
            for j in range(n - 1 - i):
                wanted[j] = scale * (own + diagonal[i + 1 + j] - 2 * others[j])
            start += n - 1 - i
