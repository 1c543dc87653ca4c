"""Tests of models against each other and against the noise ceiling."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from bregma.errors import NotIdentifiable

from ._inferred import Inferred
from ._set import AGAINST_CEILING, PAIRWISE, corrected


def t_quantile(level: float, dof: float) -> float:
    return float(stats.t.ppf((1 + level) / 2, dof))


def positive(p: float) -> float:
    """A p-value is never zero: the smallest number there is stands for what underflows."""
    return max(p, float(np.finfo(float).tiny))


def between_models(inferred: Inferred, brain: str, models: list[str], level: float) -> pd.DataFrame:
    """Difference of each pair of models, ± t × standard error."""
    rows = []
    for a, b in combinations(range(len(models)), 2):
        difference, dof = float(inferred.scores[a] - inferred.scores[b]), inferred.dof_of(a, b)
        error = _standard_error(inferred, a, b, difference)
        half = t_quantile(level, dof) * error
        rows.append({
            "brain": brain, "model_a": models[a], "model_b": models[b], "difference": difference,
            "low": difference - half, "high": difference + half,
            **_tested(difference / error if error else 0.0, dof),
        })  # fmt: skip
    return corrected(pd.DataFrame(rows, columns=PAIRWISE))


def against_ceiling(
    inferred: Inferred, brain: str, models: list[str], level: float
) -> pd.DataFrame:
    """Difference of each model and the lower ceiling, where one can tell how the ceiling varies."""
    rows: list[dict[str, Any]] = []
    for i, model in enumerate(models if inferred.ceiling_varies else []):
        assert inferred.ceiling is not None
        lower, upper = inferred.ceiling.lower, inferred.ceiling.upper
        score, dof = float(inferred.scores[i]), inferred.dof_of(i, -1)
        error = _standard_error(inferred, i, -1, score - lower)
        low, high, statistic = _on_cube_roots(
            score - lower, upper - score, error, t_quantile(level, dof)
        )
        rows.append({
            "brain": brain, "model": model, "ceiling_lower": lower, "difference": score - lower,
            "low": low, "high": high, **_tested(statistic, dof),
        })  # fmt: skip
    return corrected(pd.DataFrame(rows, columns=AGAINST_CEILING))


def _standard_error(inferred: Inferred, i: int, j: int, difference: float) -> float:
    """Of the difference of two rows of the covariance; 0 for two that are the same."""
    v = inferred.covariance
    scale = float(v[i, i] + v[j, j])
    variance = scale - 2 * float(v[i, j])
    if variance > 1e-20 * max(scale, np.finfo(float).tiny):
        return float(np.sqrt(variance))
    if abs(difference) > 1e-10:
        raise NotIdentifiable(
            f"a difference of {difference:.3g} does not vary at all over the resamples; "
            "more subjects or stimuli are needed"
        )
    return 0.0


def _tested(statistic: float, dof: float) -> dict[str, float]:
    p = positive(float(2 * stats.t.sf(abs(statistic), dof)))
    return {"t": statistic, "dof": dof, "p": p}


def _on_cube_roots(
    difference: float, gap: float, error: float, t: float
) -> tuple[float, float, float]:
    """Interval and statistic of model - lower ceiling, by the cube root of its gap to the upper.

    The gap is close to a sum of squares (for a cosine, of what the model lacks of the pooled
    subjects): the smaller it is, the less it varies, so that difference ± t × standard error
    covers too rarely near the ceiling. Its cube root is nearly normal, with a variance that hardly
    depends on it (Wilson and Hilferty, 1931). No sum of squares is smaller than its standard
    deviation / sqrt(2), that of a single square, and so the gap is taken to be no smaller.
    """
    if error == 0:
        return difference, difference, 0.0
    gap = max(gap, error / np.sqrt(2))
    most = max(difference + gap, 0.0)  # the difference of a model without a gap
    root = np.cbrt(gap)
    half = t * error / (3 * root**2)  # delta method
    low, high = most - (root + half) ** 3, most - max(root - half, 0.0) ** 3
    return float(low), float(high), float((np.cbrt(most) - root) * 3 * root**2 / error)
