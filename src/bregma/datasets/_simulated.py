"""A recording together with the truth that it was made from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from bregma.recording import Recording


@dataclass(frozen=True)
class Simulated:
    """A simulated recording with its truth and the best that anything can reach on it.

    Parameters
    ----------
    recording : Recording
        What a recording laboratory would have got: noisy, with repeats.
    signal : Recording
        The same units without noise, once for each stimulus.
    truth : pandas.DataFrame
        What each unit really is, one row per unit.
    reliability : Float[np.ndarray, "unit"]
        Expected fraction of the variance over stimuli that is signal, in the average over the
        repeats: the highest explained variance. Its square root is the highest correlation.
    chance : float
        Expected correlation of a system that knows nothing.
    """

    recording: Recording
    signal: Recording
    truth: pd.DataFrame
    reliability: Float[np.ndarray, " unit"]
    chance: float = 0.0
