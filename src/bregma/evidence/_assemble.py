"""From the raw numbers of a comparison to evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from scipy import stats

from bregma.errors import InvalidArgument, NotIdentifiable, UnknownName

from ._evidence import Evidence
from ._inferred import Inferred
from ._model_tests import against_ceiling, between_models, positive, t_quantile
from ._parts import Ceiling, Interval, Null
from ._permutation import check_arrangements
from ._set import EvidenceSet

OWN_CITATIONS = ("phipson2010permutation", "benjamini1995", "holm1979")


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
        own = [*OWN_CITATIONS, *(["wilson1931chisquare"] if inferred.ceiling_varies else [])]
        own += [] if share is None else ["fieller1954"]
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
        pairwise=between_models(inferred, brain, models, level),
        against_ceiling=against_ceiling(inferred, brain, models, level),
    )


def _check_reachable(inferred: Inferred, alpha: float) -> None:
    draws = inferred.null.shape[0]
    if draws == 0:
        raise InvalidArgument("the null has no draws; ask for permutations")
    check_arrangements(
        inferred.n_arrangements,
        alpha,
        f"the data can be exchanged ({inferred.exchanged})",
        "Use more stimuli or a lower level",
    )
    smallest = 1 / draws if inferred.exact else 1 / (1 + draws)
    if smallest > alpha * (1 + 1e-9):
        raise NotIdentifiable(
            f"{draws} draws of the null reach p = {smallest:.3g} at best; the asked level needs "
            f"{alpha:.3g}. Draw at least {int(np.ceil(1 / alpha - 1e-9)) - 1} permutations"
        )


def _interval(inferred: Inferred, i: int, level: float) -> Interval:
    dof = inferred.dof_of(i)
    half = t_quantile(level, dof) * float(np.sqrt(inferred.covariance[i, i]))
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
    t = t_quantile(level, dof)
    p = inferred.ceiling.p_value
    if p is None and error > 0:
        p = positive(float(stats.t.sf(lower / error, dof)))
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
    t = t_quantile(level, dof)
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
