"""Inference for comparisons of responses: how scores vary over stimuli and subjects, and by chance.

Stimuli are not resampled with replacement as they are for RDMs. A stimulus drawn twice is a
pattern that the model predicts from its own copy in the training folds, an exact pair of twins in
each kernel, and so a score that is too high, with no weight to take it out again. Leaving stimuli
out (the jackknife) makes no copies, and for CKA it comes from sums over one kernel.

Variances. With S subjects and G groups of stimuli, d_gs the score of subject s without group g
minus its mean over g::

    over stimuli      V1 = (G - 1) / G * sum_g (mean_s d_gs)^2
    over subjects     V2 = variance over s of the scores / S
    of both at once   V3 = (G - 1) / G * sum_g (variance over s of d_gs) / S
    altogether        V  = V2 + (V1 - V3)

V3 is in V1 and in V2 and is counted once, as in the two-factor bootstrap of Schütt et al. (2023).
All are matrices over models and the lower ceiling; V1 - V3, which is a variance, is brought to the
nearest matrix without negative eigenvalues, so that V is never below V2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from bregma.errors import InvalidArgument
from bregma.evidence import Ceiling, Inferred, arrangements, spearman_brown
from bregma.recording import Recording

from ._factors import Factor, identifiable
from ._response_comparison import (
    FEWEST_STIMULI,
    ResponseComparison,
    compact,
    enough_stimuli,
    varying,
)

Halves = Sequence[tuple[Recording, Recording]]


def infer_responses(
    comparison: ResponseComparison,
    data: Sequence[Recording],
    models: Sequence[Recording],
    *,
    halves: Halves | None = None,
    n_permutations: int = 1000,
    n_groups: int | None = None,
    over: Sequence[Factor] = ("subject", "stimulus"),
    seed: int,
) -> Inferred:
    """Scores of models for data, with everything that their evidence needs.

    Parameters
    ----------
    comparison : ResponseComparison
        Such as `CKA`, `Procrustes`, `RidgePredictivity` or `SVCCA`.
    data : sequence of Recording
        One for each subject, averaged over repeats and without time, over the same stimuli.
    models : sequence of Recording
        Responses of each model to these stimuli.
    halves : sequence of pairs of recordings, optional
        What ``split_halves`` gave: the ceiling of a single subject.
    n_permutations : int
        How often the stimuli of the data are exchanged with each other.
    n_groups : int, optional
        Stimuli are left out in so many groups; one at a time up to 100 stimuli, else in about
        100 groups.
    over : sequence of {"subject", "stimulus"}
        What the scores should generalise to. A single subject has stimuli only.
    seed : int
        Seed of the permutations and of the groups.

    Returns
    -------
    Inferred
        The raw numbers; `bregma.evidence.assemble` makes evidence of them.

    Raises
    ------
    NotIdentifiable
        Too few stimuli for the comparison, or nothing to generalise over.
    InvalidArgument
        Recordings over different stimuli, with repeats or with time.

    References
    ----------
    Schütt et al. (2023), Statistical inference on representational geometries.
    """
    if not data or not models:
        raise InvalidArgument("at least one subject and one model are needed")
    over = identifiable(over, len(data))
    order = data[0].unique_stimuli
    n = len(order)
    # One more than the comparison needs, because the jackknife leaves stimuli out.
    enough_stimuli(n, FEWEST_STIMULI, f"inference with {comparison.name}")
    comparison.check_stimuli(n)
    reduce = compact if comparison.rotates_data else varying
    xs = [compact(_patterns(r, order, f"model {i}"), f"model {i}") for i, r in enumerate(models)]
    ys = [reduce(_patterns(r, order, f"subject {i}"), f"subject {i}") for i, r in enumerate(data)]

    groups = _groups(n, n_groups, seed)
    kept = np.concatenate([np.ones((1, n), dtype=bool), ~groups])  # all, then each deletion
    scores = np.stack([comparison.without(x, ys, kept) for x in xs], axis=-1)
    ceiling = _ceiling(comparison, ys, halves, order)
    if ceiling is not None:
        scores = np.concatenate([scores, ceiling.lower(kept)[..., None]], axis=-1)
    covariance, dof = two_factor_covariance(scores[0], scores[1:], over)

    draws = arrangements(n, n_permutations, seed=seed)
    null = np.stack([comparison.permuted(x, ys, draws.order).mean(axis=1) for x in xs], axis=1)
    means = scores[0].mean(axis=0)
    return Inferred(
        scores=means[: len(xs)],
        per_subject=scores[0][:, : len(xs)],
        covariance=covariance,
        dof=dof,
        null=null,
        exchanged="the stimuli of the data with each other, in all subjects alike",
        n_arrangements=draws.n_arrangements,
        exact=draws.exact,
        n={"stimuli": n, "subjects": len(ys), "deletions": len(groups)},
        ceiling=None if ceiling is None else ceiling.of(float(means[-1])),
        ceiling_reason="" if ceiling else "one subject without repeats has no noise ceiling",
    )


def two_factor_covariance(
    scores: Float[np.ndarray, "subject column"],
    deleted: Float[np.ndarray, "group subject column"],
    over: Sequence[Factor] = ("subject", "stimulus"),
) -> tuple[Float[np.ndarray, "column column"], int]:
    """Sampling covariance of mean scores over subjects and stimuli, and its degrees of freedom.

    Parameters
    ----------
    scores : array of shape (subject, column)
        Scores over all stimuli.
    deleted : array of shape (group, subject, column)
        Scores without each group of stimuli.
    over : sequence of {"subject", "stimulus"}
        What the scores should generalise to.

    Returns
    -------
    covariance : array of shape (column, column)
        See the module.
    dof : int
        Of Satterthwaite's approximation, rounded down.
    """
    groups, subjects = deleted.shape[:2]
    columns = scores.shape[1]
    none = np.zeros((columns, columns))
    spread = deleted - deleted.mean(axis=0)
    shared = spread.mean(axis=1)  # (group, column)
    by_stimulus = (groups - 1) / groups * shared.T @ shared
    by_subject = np.atleast_2d(np.cov(scores.T)) / subjects if "subject" in over else none
    if "stimulus" not in over:
        return by_subject, subjects - 1
    if "subject" not in over:
        return by_stimulus, groups - 1
    own = (spread - shared[:, None]).reshape(-1, columns)
    both = (groups - 1) / groups * (own.T @ own) / (subjects - 1) / subjects
    values, vectors = np.linalg.eigh(by_stimulus - both)
    rest = (vectors * np.maximum(values, 0)) @ vectors.T
    parts = np.array([np.trace(by_subject), np.trace(rest)])
    dofs = np.array([subjects - 1, groups - 1])
    total = parts.sum()
    dof = int(total**2 / np.sum(parts**2 / dofs)) if total > 0 else int(dofs.min())
    return by_subject + rest, max(dof, 1)


def _patterns(recording: Recording, order: Any, who: str) -> Any:
    """Responses with one row for each stimulus, in the given order."""
    who = f"{who} ({recording.name})" if recording.name else who
    if recording.has_time:
        raise InvalidArgument(f"{who} has time: take .mean_time((start, stop)) first")
    row = {label: i for i, label in enumerate(recording.stimuli.tolist())}
    if len(row) < recording.n_presentations:
        raise InvalidArgument(f"{who} has repeats: take .average_repeats() first")
    if set(row) != set(order.tolist()):
        raise InvalidArgument(
            f"{who} saw {len(row)} stimuli, of which {len(set(row) & set(order.tolist()))} are "
            f"among the {len(order)} of the first subject; .align() the recordings first"
        )
    return recording.values[[row[label] for label in order.tolist()]]


def _groups(n: int, n_groups: int | None, seed: int) -> Bool[np.ndarray, "group stimulus"]:
    """Which stimuli are left out together, in groups of (almost) one size."""
    if n_groups is None:
        n_groups = int(np.ceil(n / np.ceil(n / 100)))
    if not 2 <= n_groups <= n:
        raise InvalidArgument(f"{n} stimuli make 2 to {n} groups, not {n_groups}")
    rank = np.arange(n) % n_groups
    return np.random.default_rng(seed).permutation(rank) == np.arange(n_groups)[:, None]


@dataclass(frozen=True, eq=False)
class _Reliability:
    """Lower ceiling of each subject as a function of the stimuli that are kept."""

    lower: Callable[[Any], Any]  # (group, stimulus) -> (group, subject)
    upper: Callable[[float], float]
    kind: str
    formula: str

    def of(self, lower: float) -> Ceiling:
        return Ceiling(
            lower=lower, upper=max(self.upper(lower), lower), kind=self.kind, formula=self.formula
        )


def _ceiling(
    comparison: ResponseComparison, ys: Sequence[Any], halves: Halves | None, order: Any
) -> _Reliability | None:
    if len(ys) > 1:
        return _subject_to_rest(comparison, ys)
    return _split_half(comparison, halves, order) if halves else None


def _subject_to_rest(comparison: ResponseComparison, ys: Sequence[Any]) -> _Reliability:
    def joined(parts: Iterable[Any]) -> Any:  # each subject with the same power
        return compact(np.concatenate([y / np.linalg.norm(y) for y in parts], axis=1), "subjects")

    others = [joined(y for t, y in enumerate(ys) if t != s) for s in range(len(ys))]
    everything = np.ones((1, len(ys[0])), dtype=bool)

    def lower(kept: Any) -> Any:
        return np.concatenate(
            [comparison.without(x, [y], kept) for x, y in zip(others, ys, strict=True)], axis=1
        )

    return _Reliability(
        lower,
        lambda _: float(comparison.without(joined(ys), ys, everything).mean()),
        "subject to rest",
        "lower: mean over subjects of the score that the units of all other subjects together "
        "(each with equal power) reach as a model; upper: the same with the subject among them",
    )


def _split_half(comparison: ResponseComparison, splits: Halves, order: Any) -> _Reliability:
    reduce = compact if comparison.rotates_data else varying
    pairs = []
    for split in splits:
        first, second = (_patterns(half, order, "a half") for half in split)
        pairs += [(compact(first), reduce(second)), (compact(second), reduce(first))]

    def lower(kept: Any) -> Any:
        return np.mean([comparison.without(x, [y], kept) for x, y in pairs], axis=0)

    return _Reliability(
        lower,
        lambda r: float(np.sqrt(max(float(spearman_brown(max(r, 0.0))), 0.0))),
        "reliability",
        f"lower: score of one half of the repeats as a model of the other, mean over "
        f"{len(splits)} splits; upper: sqrt(2 r / (1 + r)) of that, what a model without noise "
        "would reach with all repeats",
    )
