"""Tests of models against each other and against the noise ceiling."""

from __future__ import annotations

from itertools import combinations

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


def _t_test(
    inferred: Inferred, i: int, j: int, difference: float, level: float
) -> dict[str, float]:
    """Two-sided test of the difference of two rows of the covariance, and its interval."""
    v, dof = inferred.covariance, inferred.dof_of(i, j)
    scale = float(v[i, i] + v[j, j])
    variance = scale - 2 * float(v[i, j])
    if variance <= 1e-20 * max(scale, np.finfo(float).tiny):
        if abs(difference) > 1e-10:
            raise NotIdentifiable(
                f"a difference of {difference:.3g} does not vary at all over the resamples; "
                "more subjects or stimuli are needed"
            )
        return {"low": difference, "high": difference, "t": 0.0, "dof": dof, "p": 1.0}
    statistic = difference / np.sqrt(variance)
    half = t_quantile(level, dof) * float(np.sqrt(variance))
    return {
        "low": difference - half,
        "high": difference + half,
        "t": float(statistic),
        "dof": dof,
        "p": positive(float(2 * stats.t.sf(abs(statistic), dof))),
    }


def between_models(inferred: Inferred, brain: str, models: list[str], level: float) -> pd.DataFrame:
    rows = []
    for a, b in combinations(range(len(models)), 2):
        difference = float(inferred.scores[a] - inferred.scores[b])
        test = _t_test(inferred, a, b, difference, level)
        names = {"brain": brain, "model_a": models[a], "model_b": models[b]}
        rows.append({**names, "difference": difference, **test})
    return corrected(pd.DataFrame(rows, columns=PAIRWISE))


def against_ceiling(
    inferred: Inferred, brain: str, models: list[str], level: float
) -> pd.DataFrame:
    rows = []
    for i, model in enumerate(models if inferred.ceiling_varies else []):
        assert inferred.ceiling is not None
        lower = inferred.ceiling.lower
        difference = float(inferred.scores[i] - lower)
        test = _t_test(inferred, i, -1, difference, level)
        names = {"brain": brain, "model": model, "ceiling_lower": lower}
        rows.append({**names, "difference": difference, **test})
    return corrected(pd.DataFrame(rows, columns=AGAINST_CEILING))
