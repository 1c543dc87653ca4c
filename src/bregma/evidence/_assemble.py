"""From the raw numbers of a comparison to evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import stats

from bregma.errors import InvalidArgument, NotIdentifiable, UnknownName

from ._evidence import Ceiling, Evidence, Interval, Null
from ._set import AGAINST_CEILING, PAIRWISE, EvidenceSet, corrected

OWN_CITATIONS = ("phipson2010permutation", "benjamini1995", "holm1979")


@dataclass(frozen=True, kw_only=True)
class Inferred:
    """What every comparison hands over: scores and how they vary.

    Parameters
    ----------
    scores : array of shape (model,)
        The score of each model; larger means more alike.
    per_subject : array of shape (subject, model)
        The score in each subject; no rows where there are no subjects.
    covariance : array of shape (model + 1, model + 1) or (model, model)
        Sampling covariance of the scores and, last, of the lower ceiling, where one can tell how
        it varies.
    dof : float or array of the shape of the covariance
        Degrees of freedom of all, or of each (diagonal) and of each difference of two.
    null : array of shape (permutation, model)
        Scores under the null.
    exchanged : str
        One sentence: what was exchanged with what.
    n_arrangements : float
        How many distinct arrangements the exchange has; may be infinite.
    n : dict of str to int
        What was counted: stimuli, subjects, draws.
    ceiling : Ceiling, optional
        Without interval: the assembly adds it from the covariance.
    ceiling_reason : str
        Why there is no ceiling, or why one cannot tell how it varies.
    exact : bool
        Whether the null holds every arrangement once, the observed one included.
    intervals : array of shape (model, 2), optional
        Ends of intervals that are better than score ± t × standard error.
    intervals_kind : str
        How those intervals were made.

    Raises
    ------
    InvalidArgument
        When a shape does not fit or a number is not finite.
    NotIdentifiable
        When no degrees of freedom are left.
    """

    scores: Float[np.ndarray, " model"]
    per_subject: Float[np.ndarray, "subject model"]
    covariance: Float[np.ndarray, "joint joint"]
    dof: float | int | Float[np.ndarray, "joint_dof joint_dof"]
    null: Float[np.ndarray, "permutation model"]
    exchanged: str
    n_arrangements: float | int
    n: dict[str, int] = field(default_factory=dict)
    ceiling: Ceiling | None = None
    ceiling_reason: str = ""
    exact: bool = False
    intervals: Float[np.ndarray, "model 2"] | None = None
    intervals_kind: str = ""

    def __post_init__(self) -> None:
        m = self.scores.size
        if self.covariance.ndim != 2 or self.covariance.shape[0] not in (m, m + 1):
            raise InvalidArgument(
                f"the covariance of {m} scores{' and a ceiling' if self.ceiling else ''} "
                f"has the shape {self.covariance.shape}"
            )
        for name in ("scores", "per_subject", "covariance", "null"):
            if not np.isfinite(getattr(self, name)).all():
                raise InvalidArgument(f"{name} holds a number that is not finite")
        if np.ndim(self.dof) and np.shape(self.dof) != self.covariance.shape:
            raise InvalidArgument(
                f"degrees of freedom have the shape {np.shape(self.dof)}, the covariance "
                f"{self.covariance.shape}"
            )
        if not np.min(self.dof) >= 1:  # NaN too
            raise NotIdentifiable(
                f"{np.min(self.dof):g} degrees of freedom leave no way to tell how the scores "
                "vary; at least 2 subjects or stimuli must be resampled"
            )
        if (np.diag(self.covariance)[:m] < 0).any():
            raise InvalidArgument("a variance of the scores is negative")
        if not self.ceiling_varies and not self.ceiling_reason.strip():
            raise InvalidArgument(
                "without a ceiling, or how it varies, ceiling_reason must say why"
            )

    @property
    def ceiling_varies(self) -> bool:
        """Whether the covariance says how the ceiling varies."""
        return self.ceiling is not None and len(self.covariance) > self.scores.size

    def dof_of(self, i: int, j: int | None = None) -> float:
        """Degrees of freedom of an estimate, or of the difference of two.

        Parameters
        ----------
        i, j : int
            Rows of the covariance; without `j`, of one estimate.

        Returns
        -------
        float
            Degrees of freedom.
        """
        return float(np.broadcast_to(self.dof, self.covariance.shape)[i, i if j is None else j])


def assemble(
    inferred: Inferred,
    *,
    brain: str,
    models: Sequence[str],
    method: str,
    settings: Mapping[str, Any],
    seed: int | None,
    level: float = 0.95,
    system_nulls: Mapping[str, Null] | None = None,
    citations: Sequence[str] = (),
) -> EvidenceSet:
    """Make evidence of the raw numbers of a comparison.

    Parameters
    ----------
    inferred : Inferred
        Scores and how they vary.
    brain : str
        Name of what the models were compared with.
    models : sequence of str
        One name per score.
    method : str
        What was computed, in words.
    settings : mapping
        Everything that was chosen.
    seed : int or None
        What the random numbers came from.
    level : float
        Level of the intervals; 1 - `level` is the level of the tests.
    system_nulls : mapping of str to Null, optional
        Per model name, the scores of its null systems.
    citations : sequence of str
        Keys of the method's sources.

    Returns
    -------
    EvidenceSet
        One Evidence per model, with the tests between models and against the ceiling.

    Raises
    ------
    InvalidArgument
        When names are not unique or do not fit the scores.
    NotIdentifiable
        When the asked level cannot be reached with so few arrangements or draws.
    UnknownName
        When a system null belongs to no model.
    """
    models = list(models)
    if len(models) != inferred.scores.size or len(set(models)) != len(models):
        raise InvalidArgument(
            f"{inferred.scores.size} scores need as many different model names, not {models}"
        )
    for name in system_nulls or {}:
        if name not in models:
            raise UnknownName.of("model", name, models)
    if not 0 < level < 1:
        raise InvalidArgument(f"the level lies in (0, 1), not {level}")
    _check_reachable(inferred, 1 - level)

    ceiling = _ceiling(inferred, level)
    evidences = []
    for i, model in enumerate(models):
        score = float(inferred.scores[i])
        share, reason = _share(inferred, i, level)
        own = OWN_CITATIONS if share is None else (*OWN_CITATIONS, "fieller1954")
        evidences.append(
            Evidence(
                question=f"{brain} ~ {model}",
                brain=brain,
                model=model,
                score=score,
                null=Null.of(
                    score,
                    inferred.null[:, i],
                    exchanged=inferred.exchanged,
                    n_arrangements=inferred.n_arrangements,
                    exact=inferred.exact,
                ),
                interval=_interval(inferred, i, level),
                method=method,
                n=dict(inferred.n),
                ceiling=ceiling,
                ceiling_reason=reason,
                normalised=None if share is None or ceiling is None else score / ceiling.lower,
                normalised_interval=share,
                system_null=(system_nulls or {}).get(model),
                per_subject=tuple(map(float, inferred.per_subject[:, i])),
                settings=dict(settings),
                seed=seed,
                citations=tuple(dict.fromkeys((*citations, *own))),
            )
        )
    return EvidenceSet(
        evidences,
        pairwise=_pairwise(inferred, brain, models, level),
        against_ceiling=_against_ceiling(inferred, brain, models, level),
    )


def _check_reachable(inferred: Inferred, alpha: float) -> None:
    draws = inferred.null.shape[0]
    if draws == 0:
        raise InvalidArgument("the null has no draws; ask for permutations")
    smallest = 1 / inferred.n_arrangements
    if smallest > alpha * (1 + 1e-9):
        raise NotIdentifiable(
            f"only {inferred.n_arrangements:g} distinct arrangements exist "
            f"({inferred.exchanged}), so the smallest p that can be reached is {smallest:.3g}; "
            f"the asked level needs {alpha:.3g}. Use more stimuli or a lower level"
        )
    smallest = 1 / draws if inferred.exact else 1 / (1 + draws)
    if smallest > alpha * (1 + 1e-9):
        raise NotIdentifiable(
            f"{draws} draws of the null reach p = {smallest:.3g} at best; the asked level needs "
            f"{alpha:.3g}. Draw at least {int(np.ceil(1 / alpha - 1e-9)) - 1} permutations"
        )


def _quantile(level: float, dof: float) -> float:
    return float(stats.t.ppf((1 + level) / 2, dof))


def _interval(inferred: Inferred, i: int, level: float) -> Interval:
    if inferred.intervals is not None:
        low, high = map(float, inferred.intervals[i])
        return Interval(low, high, level, inferred.intervals_kind)
    dof = inferred.dof_of(i)
    half = _quantile(level, dof) * float(np.sqrt(inferred.covariance[i, i]))
    score = float(inferred.scores[i])
    return Interval(
        score - half,
        score + half,
        level,
        f"score ± t × standard error, {dof:.4g} degrees of freedom",
    )


def _ceiling(inferred: Inferred, level: float) -> Ceiling | None:
    if inferred.ceiling is None or not inferred.ceiling_varies:
        return inferred.ceiling
    error = float(np.sqrt(inferred.covariance[-1, -1]))
    lower, dof = inferred.ceiling.lower, inferred.dof_of(-1)
    t = _quantile(level, dof)
    p = inferred.ceiling.p_value
    if p is None and error > 0:
        p = _positive(float(stats.t.sf(lower / error, dof)))
    interval = Interval(
        lower - t * error,
        lower + t * error,
        level,
        f"lower ceiling ± t × standard error, {dof:.4g} degrees of freedom",
    )
    return replace(inferred.ceiling, interval=interval, p_value=p)


def _share(inferred: Inferred, i: int, level: float) -> tuple[Interval | None, str]:
    """Interval of score / lower ceiling (Fieller), or why there is none.

    The delta method is its limit for a precise ceiling; Fieller's interval also holds for a
    noisy one, and does not exist where the ceiling cannot be told from zero (Fieller, 1954).
    """
    if inferred.ceiling is None or not inferred.ceiling_varies:
        return None, inferred.ceiling_reason
    lower = inferred.ceiling.lower
    v, dof = inferred.covariance[np.ix_([i, -1], [i, -1])], inferred.dof_of(i, -1)
    t = _quantile(level, dof)
    g = t**2 * v[1, 1] / lower**2 if lower > 0 else np.inf
    if g >= 1:
        return None, (
            f"the lower ceiling ({lower:.3g}) cannot be told from zero at this level, "
            "so a share of it means nothing"
        )
    ratio = inferred.scores[i] / lower
    centre = (ratio - t**2 * v[0, 1] / lower**2) / (1 - g)
    spread = v[0, 0] - 2 * ratio * v[0, 1] + ratio**2 * v[1, 1]
    spread -= t**2 / lower**2 * (v[0, 0] * v[1, 1] - v[0, 1] ** 2)
    half = t / lower * np.sqrt(max(spread, 0.0)) / (1 - g)
    kind = f"Fieller's interval of score / lower ceiling, {dof:.4g} degrees of freedom"
    return Interval(float(centre - half), float(centre + half), level, kind), ""


def _positive(p: float) -> float:
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
    half = _quantile(level, dof) * float(np.sqrt(variance))
    return {
        "low": difference - half,
        "high": difference + half,
        "t": float(statistic),
        "dof": dof,
        "p": _positive(float(2 * stats.t.sf(abs(statistic), dof))),
    }


def _pairwise(inferred: Inferred, brain: str, models: list[str], level: float) -> pd.DataFrame:
    rows = []
    for a, b in combinations(range(len(models)), 2):
        difference = float(inferred.scores[a] - inferred.scores[b])
        test = _t_test(inferred, a, b, difference, level)
        names = {"brain": brain, "model_a": models[a], "model_b": models[b]}
        rows.append({**names, "difference": difference, **test})
    return corrected(pd.DataFrame(rows, columns=PAIRWISE))


def _against_ceiling(
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
