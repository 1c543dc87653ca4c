"""Bootstrap intervals of any statistic of independent samples."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy import stats

from bregma.errors import InvalidArgument, NotIdentifiable

from ._parts import Interval


def bootstrap_interval(
    samples: Float[np.ndarray, " sample"],
    statistic: Callable[..., np.ndarray | float] = np.mean,
    *,
    level: float = 0.95,
    n_draws: int = 9999,
    kind: Literal["BCa", "percentile"] = "BCa",
    seed: int,
) -> Interval:
    """Confidence interval of a statistic of independent samples, by resampling them.

    Resamples of n samples vary too little, by (n - 1) / n and by ignoring that the variance is
    estimated; the percentiles are moved outwards accordingly (Hesterberg), so that the interval
    also covers for few samples.

    Parameters
    ----------
    samples : array of shape (sample,)
        Independent samples: subjects, seeds, stimuli.
    statistic : callable
        From an array and ``axis=`` to the statistic.
    level : float
        Level of the interval.
    n_draws : int
        How many resamples.
    kind : {"BCa", "percentile"}
        Bias-corrected and accelerated, or plain percentiles.
    seed : int
        Seed of the resamples.

    Returns
    -------
    Interval
        The interval.

    Raises
    ------
    InvalidArgument
        When a sample is not finite, or the kind or level does not exist.
    NotIdentifiable
        When there are fewer than 3 samples, or the statistic is the same for all resamples.

    References
    ----------
    Efron (1987), Better bootstrap confidence intervals. Hesterberg (2015), What teachers should
    know about the bootstrap.
    """
    if not np.isfinite(samples).all():
        raise InvalidArgument("samples of a bootstrap must be finite")
    if kind not in ("BCa", "percentile") or not 0 < level < 1:
        raise InvalidArgument(f"no bootstrap interval of kind {kind!r} at level {level}")
    if samples.size < 3:
        raise NotIdentifiable(f"{samples.size} samples are too few to resample; at least 3")
    n = samples.size
    reach = np.sqrt(n / (n - 1)) * stats.t.ppf((1 + level) / 2, n - 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # degenerate data are told as an error below
        low, high = stats.bootstrap(
            (samples,),
            statistic,
            confidence_level=float(stats.norm.cdf(reach) - stats.norm.cdf(-reach)),
            n_resamples=n_draws,
            method=kind,
            rng=np.random.default_rng(seed),
        ).confidence_interval
    if not (np.isfinite(low) and np.isfinite(high)):
        raise NotIdentifiable("the statistic is the same for all resamples: no interval exists")
    return Interval(float(low), float(high), level, f"{kind} bootstrap, {n_draws} resamples")
