"""Inference for comparisons of RDMs: scores, how they vary, their ceiling and their null."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int64

from bregma.errors import InvalidArgument, NotIdentifiable
from bregma.evidence import Ceiling, Inferred, arrangements, jackknife_variance, permutation_p
from bregma.recording import Dissimilarity

from ._factors import identifiable
from ._pairs import n_stimuli_of
from ._rdm_bootstrap import Resamples, averaged, subject_means
from ._rdm_comparison import RDMComparison
from ._rdm_null import permuted_ceilings

FEWEST_STIMULI = 6  # for an interval over stimuli; docs/inference.md says what was measured
FEWEST_SUBJECTS = 3  # for a ceiling that varies over subjects: one less must still have a pool


def score_rdms(
    comparison: RDMComparison,
    data: Dissimilarity,
    models: Sequence[Dissimilarity],
    *,
    subject: str | None = None,
) -> Float[np.ndarray, " model"]:
    """Mean similarity of each model with the RDMs of the subjects.

    Parameters
    ----------
    comparison : RDMComparison
        How two RDMs are compared.
    data : Dissimilarity
        RDMs of the subjects.
    models : sequence of Dissimilarity
        One RDM each, over the same stimuli.
    subject : str, optional
        Column of the table of RDMs that says whose each is.

    Returns
    -------
    array of shape (model,)
        Scores: means over subjects of the means over their RDMs.

    Raises
    ------
    InvalidArgument
        When stimuli do not match, or a model has several RDMs.
    NotIdentifiable
        When an RDM is constant.
    """
    values = _model_values(data, models)
    whose = _subjects(data, subject)
    return subject_means(whose).mean(1) @ comparison.compare(data.values, values)


def infer_rdms(
    comparison: RDMComparison,
    data: Dissimilarity,
    models: Sequence[Dissimilarity],
    *,
    subject: str | None = None,
    over: Sequence[str] = ("subject", "stimulus"),
    n_bootstrap: int = 1000,
    n_permutations: int = 1000,
    seed: int,
) -> Inferred:
    """Scores of models for RDMs, with everything that their evidence needs.

    The score is the mean over subjects of the similarity with the model; the RDMs of one subject
    (its sessions) are averaged within the subject, and come and go together. How scores and
    ceiling vary over new subjects and new stimuli comes from leaving out stimuli, subjects and
    both, see `bregma.evidence.jackknife_variance`; docs/inference.md says how well that covers.
    The null exchanges the labels of the stimuli of the models, in all models alike.

    Parameters
    ----------
    comparison : RDMComparison
        How two RDMs are compared, such as `RDMPearson`.
    data : Dissimilarity
        RDMs of the subjects.
    models : sequence of Dissimilarity
        One RDM each, over the same stimuli.
    subject : str, optional
        Column of the table of RDMs that says whose each is: ``"subject"`` where there is such a
        column; without it each RDM is a subject of its own.
    over : sequence of {"subject", "stimulus"}
        What the scores should generalise to. A single subject has stimuli only.
    n_bootstrap : int
        Samples of the subjects for the variance of the ceiling.
    n_permutations : int
        Arrangements of the stimulus labels; all of them where there are no more.
    seed : int
        What all randomness follows from.

    Returns
    -------
    Inferred
        The raw numbers; `bregma.evidence.assemble` makes evidence of them.

    Raises
    ------
    NotIdentifiable
        With too few stimuli or subjects for what is asked, or a constant RDM.
    InvalidArgument
        When stimuli do not match, or a model has several RDMs.
    UnknownName
        When `over` names anything else.

    References
    ----------
    Schütt et al. (2023), Statistical inference on representational geometries.
    Kriegeskorte, Mur and Bandettini (2008), Representational similarity analysis.
    """
    values, whose = _model_values(data, models), _subjects(data, subject)
    rdms, n, n_subjects = data.values, data.n_stimuli, int(whose.max()) + 1
    factors = identifiable(over, n_subjects)
    if "stimulus" in factors:
        _check_stimuli(n, n_subjects)
    comparison.compare(rdms, values)  # names the RDM that cannot be compared

    found = _evaluate(comparison, rdms, values, whose, factors, n_bootstrap, seed)
    reason = _unknown_ceiling(n_subjects, len(rdms), factors)
    kept = slice(None, -1 if reason else None)  # the ceiling is the last estimate
    variance = jackknife_variance(
        without_stimulus=found.without_stimulus[:, kept] if "stimulus" in factors else None,
        without_subject=found.without_subject[:, kept] if "subject" in factors else None,
        without_both=found.without_both[:, :, kept] if len(factors) == 2 else None,
        subject_resamples=None if reason else found.subject_resamples,
    )
    draws = arrangements(n, n_permutations, seed=seed)
    share = subject_means(whose).mean(1)
    null = comparison.permuted(rdms, values, share=share, orders=draws.order)
    ceiling = None
    if n_subjects > 1:
        lower = float(found.estimates[-1])
        by_chance = permuted_ceilings(comparison, rdms, whose, n_permutations, seed=seed)
        ceiling = Ceiling(
            lower=lower,
            upper=found.upper,
            kind="reliability",
            formula=f"mean {comparison.name} similarity of each subject's RDM with the pool of "
            "all others (lower), and of all (upper)",
            p_value=permutation_p(lower, by_chance),
        )
    return Inferred(
        scores=found.estimates[:-1],
        per_subject=found.per_subject,
        covariance=variance.covariance,
        dof=variance.dof,
        null=null,
        exchanged="the stimuli of the models with each other, in all models alike",
        n_arrangements=draws.n_arrangements,
        exact=draws.exact,
        n={"stimuli": n, "subjects": n_subjects, "rdms": len(rdms)},
        ceiling=ceiling,
        ceiling_reason=reason,
    )


def _model_values(
    data: Dissimilarity, models: Sequence[Dissimilarity]
) -> Float[np.ndarray, "model pair"]:
    if not models:
        raise InvalidArgument("at least one model is needed")
    values = []
    for i, model in enumerate(models):
        name = repr(model.name) if model.name else f"number {i}"
        if model.n_rdms != 1:
            raise InvalidArgument(
                f"model {name} has {model.n_rdms} RDMs; give each as a model, or .mean() of them"
            )
        if set(model.stimuli.tolist()) != set(data.stimuli.tolist()):
            raise InvalidArgument(
                f"model {name} is not over the stimuli of the data; Dissimilarity.align brings "
                "two sets to the stimuli that they share"
            )
        values.append(model.select_stimuli(data.stimuli).values[0])
    return np.stack(values)


def _subjects(data: Dissimilarity, subject: str | None) -> Int64[np.ndarray, " rdm"]:
    """A number per subject for each RDM."""
    if subject is None and "subject" not in data.rdms:
        return np.arange(data.n_rdms)
    labels = data.column(subject or "subject")
    return np.unique(labels, return_inverse=True)[1].astype(np.int64)


def _check_stimuli(n_stimuli: int, n_subjects: int) -> None:
    if n_stimuli < FEWEST_STIMULI:
        arrangements = np.prod(np.arange(1.0, n_stimuli + 1))
        instead = " or ask for over=('subject',)" if n_subjects > 1 else ""
        raise NotIdentifiable(
            f"not identifiable with {n_stimuli} stimuli: how scores vary over stimuli needs at "
            f"least {FEWEST_STIMULI}. Use more stimuli{instead}. Exchanging {n_stimuli} labels, "
            f"the smallest p that can be reached is 1/{arrangements:.0f}"
        )


def _unknown_ceiling(n_subjects: int, n_rdms: int, factors: Sequence[str]) -> str:
    """Why there is no ceiling, or why one cannot tell how it varies."""
    if n_subjects == 1:
        sessions = f" (of {n_rdms} RDMs)" if n_rdms > 1 else ""
        return f"one subject{sessions} has no other to be predicted from"
    if "subject" in factors and n_subjects < FEWEST_SUBJECTS:
        return (
            f"{n_subjects} subjects have a single similarity between them, which does not show how "
            f"the ceiling varies over subjects; it takes {FEWEST_SUBJECTS}, or over=('stimulus',)"
        )
    return ""


class _Estimates(NamedTuple):
    """Scores and, last, the lower ceiling: of everything, and of parts of the data."""

    estimates: Float[np.ndarray, " joint"]
    upper: float
    per_subject: Float[np.ndarray, "subject model"]
    without_stimulus: Float[np.ndarray, "stimulus joint"]
    without_subject: Float[np.ndarray, "subject joint"]
    without_both: Float[np.ndarray, "stimulus subject joint"]
    subject_resamples: Float[np.ndarray, "sample joint"] | None


def _evaluate(
    comparison: RDMComparison,
    rdms: Float[np.ndarray, "rdm pair"],
    models: Float[np.ndarray, "model pair"],
    whose: Int64[np.ndarray, " rdm"],
    factors: Sequence[str],
    n_bootstrap: int,
    seed: int,
) -> _Estimates:
    n_subjects, means = int(whose.max()) + 1, subject_means(whose)
    n = n_stimuli_of(rdms.shape[1])
    everyone = np.ones((1, n_subjects), dtype=np.int64)
    leave_one = 1 - np.eye(n_subjects, dtype=np.int64) if n_subjects > 1 else everyone
    counts = np.concatenate([everyone, leave_one])

    def joint(
        stimulus: Int64[np.ndarray, "sample stimulus"], counts: Int64[np.ndarray, "variant subject"]
    ) -> tuple[Float[np.ndarray, "sample variant joint"], Float[np.ndarray, "sample variant"],
               Float[np.ndarray, "sample rdm model"]]:  # fmt: skip
        shared = np.broadcast_to(counts, (len(stimulus), *counts.shape))
        got = comparison.resample(
            rdms[None], models, subject=whose, stimulus=stimulus, multiplicity=shared[..., whose]
        )
        scores, lower, upper = averaged(got, shared, means)
        return np.concatenate([scores[0], lower[0, ..., None]], -1), upper[0], got.similarity[0]

    all_stimuli = np.ones((1, n), dtype=np.int64)
    full, upper, similarity = joint(all_stimuli, counts)
    parts = np.zeros((1, len(counts), full.shape[-1]))
    if "stimulus" in factors:
        variants = counts if "subject" in factors else everyone
        parts = joint(1 - np.eye(n, dtype=np.int64), variants)[0]
    resamples = None
    if "subject" in factors and n_subjects >= FEWEST_SUBJECTS:
        drawn = Resamples.draw(n_bootstrap, n_stimuli=n, n_subjects=n_subjects, seed=seed)
        resamples = joint(all_stimuli, drawn.subject)[0][0]
    return _Estimates(
        estimates=full[0, 0],
        upper=float(upper[0, 0]),
        per_subject=means.T @ similarity[0],
        without_stimulus=parts[:, 0],
        without_subject=full[0, 1:],
        without_both=parts[:, 1:],
        subject_resamples=resamples,
    )
