"""How a score varies over stimuli and over subjects at once: the jackknife of a crossed design."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from bregma.errors import InvalidArgument, NotIdentifiable

Joint = Float[np.ndarray, "joint joint"]


class SamplingVariance(NamedTuple):
    """Covariance of some estimates, and degrees of freedom of each and of each difference.

    Parameters
    ----------
    covariance : array of shape (joint, joint)
        The variance of a difference is what its entries give, V_i + V_j - 2 C_ij.
    dof : array of shape (joint, joint)
        On the diagonal those of each estimate, elsewhere of the difference of two.
    """

    covariance: Joint
    dof: Joint


def jackknife_variance(
    *,
    without_stimulus: Float[np.ndarray, "stimulus joint"] | None = None,
    without_subject: Float[np.ndarray, "subject joint"] | None = None,
    without_both: Float[np.ndarray, "stimulus subject joint"] | None = None,
    subject_resamples: Float[np.ndarray, "sample joint"] | None = None,
) -> SamplingVariance:
    """Sampling variance of estimates over stimuli, over subjects, or over both.

    Over one factor it is the jackknife, n - 1 over n times the sum of squares of the estimates
    that leave one out. Over both, what the factors share is counted once:
    V = V_stimulus + V_subject - V_interaction, never below the larger of the first two. This is
    the two-factor correction of the bootstrap (Schütt et al., 2023) without its noise and without
    repeated subjects, which would be their own noise ceiling.

    A noise ceiling compares subjects with each other. The jackknife counts variance that belongs
    to pairs of subjects twice, a bootstrap of subjects three times; so their difference says how
    much that is: V_subject lies between V_jackknife and 2 V_jackknife - V_bootstrap, which is at
    least half of it. The middle is taken: with few subjects the first is far too large and the
    second, a noisy difference, covers too little. For a mean over subjects nothing changes.

    Degrees of freedom follow Satterthwaite. Those of the stimuli are fewer than n - 1 where few
    stimuli carry most of the variance: 2 n / (kurtosis - 1), for the kurtosis of what each
    stimulus contributes.

    Parameters
    ----------
    without_stimulus : array of shape (stimulus, joint), optional
        The estimates without each stimulus.
    without_subject : array of shape (subject, joint), optional
        The estimates without each subject.
    without_both : array of shape (stimulus, subject, joint), optional
        The estimates without a stimulus and a subject; needed where both are given.
    subject_resamples : array of shape (sample, joint), optional
        The estimates in bootstrap samples of the subjects, where the last one compares subjects
        with each other, as a noise ceiling does; all others are means over subjects.

    Returns
    -------
    SamplingVariance
        Covariance and degrees of freedom.

    Raises
    ------
    InvalidArgument
        When nothing is left out, or the interaction is missing.
    NotIdentifiable
        When a factor has a single item.

    References
    ----------
    Schütt et al. (2023), Statistical inference on representational geometries.
    Efron and Stein (1981), The jackknife estimate of variance.
    Satterthwaite (1946), An approximate distribution of estimates of variance components.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([1.0, 2.0, 4.0, 5.0])  # the mean of independent numbers
    >>> without = (x.sum() - x) / 3
    >>> found = jackknife_variance(without_subject=without[:, None])
    >>> bool(np.isclose(found.covariance[0, 0], x.var(ddof=1) / 4)), found.dof[0, 0]
    (True, np.float64(3.0))
    """
    if without_stimulus is None and without_subject is None:
        raise InvalidArgument("leave out stimuli, subjects or both, to see how estimates vary")
    for what, left_out in (("stimulus", without_stimulus), ("subject", without_subject)):
        if left_out is not None and len(left_out) < 2:
            raise NotIdentifiable(f"one {what} cannot show how estimates vary over {what}s")
    if without_stimulus is None:
        assert without_subject is not None
        subject, _ = _subject_part(without_subject, subject_resamples)
        return _joined(subject, np.full(subject.shape, len(without_subject) - 1.0))
    stimulus_deviations = _deviations(without_stimulus)
    stimulus = _contrasts(_covariance(stimulus_deviations))
    stimulus_dof = _effective_dof(stimulus_deviations)
    if without_subject is None:
        return _joined(stimulus, stimulus_dof)
    if without_both is None:
        raise InvalidArgument("both factors vary: without_both is needed for what they share")
    subject, kept = _subject_part(without_subject, subject_resamples)
    shared = without_both - without_both.mean(0) - without_both.mean(1)[:, None]
    shared = shared + without_both.mean((0, 1))
    n, r = shared.shape[:2]
    scale = (n - 1) * (r - 1) / (n * r)
    interaction = kept * _contrasts(scale * np.einsum("nri,nrj->ij", shared, shared))
    variance = np.maximum(stimulus + subject - interaction, np.maximum(stimulus, subject))
    spread = stimulus**2 / stimulus_dof + subject**2 / (r - 1)
    total = (stimulus + subject) ** 2
    dof = np.where(spread > 0, total / np.where(spread > 0, spread, 1), min(n, r) - 1)
    return _joined(variance, dof)


def _deviations(left_out: Float[np.ndarray, "item joint"]) -> Float[np.ndarray, "item joint"]:
    """What each item contributes: (n - 1) times how the estimate changes without it."""
    return (len(left_out) - 1) * (left_out - left_out.mean(0))


def _covariance(deviations: Float[np.ndarray, "item joint"]) -> Joint:
    n = len(deviations)
    return deviations.T @ deviations / (n * (n - 1))


def _contrasts(covariance: Joint) -> Joint:
    """Variances on the diagonal, variances of differences elsewhere."""
    variance = np.diag(covariance)
    out = np.maximum(variance[:, None] + variance - 2 * covariance, 0)
    np.fill_diagonal(out, variance)
    return out


def _joined(contrasts: Joint, dof: Joint) -> SamplingVariance:
    """The covariance whose variances of estimates and of differences are the given ones."""
    variance = np.diag(contrasts)
    covariance = (variance[:, None] + variance - contrasts) / 2
    np.fill_diagonal(covariance, variance)
    return SamplingVariance(covariance, dof)


def _subject_part(
    without_subject: Float[np.ndarray, "subject joint"],
    resamples: Float[np.ndarray, "sample joint"] | None,
) -> tuple[Joint, Joint]:
    """Variance over subjects, and the share of the jackknife that it is."""
    jackknife = _contrasts(_covariance(_deviations(without_subject)))
    if resamples is None:
        return jackknife, np.ones_like(jackknife)
    r = len(without_subject)
    bootstrap = _contrasts(np.atleast_2d(np.cov(resamples, rowvar=False)) * r / (r - 1))
    once = np.clip(2 * jackknife - bootstrap, jackknife / 2, jackknife)[-1]
    whole = jackknife[-1]
    kept = np.ones_like(jackknife)
    kept[-1] = kept[:, -1] = (1 + np.where(whole > 0, once / np.where(whole > 0, whole, 1), 1)) / 2
    return kept * jackknife, kept


def _effective_dof(deviations: Float[np.ndarray, "item joint"]) -> Joint:
    """Degrees of freedom of a sum of squares whose terms have heavy tails."""
    n = len(deviations)
    terms = deviations[:, :, None] - deviations[:, None, :]
    index = np.arange(deviations.shape[1])
    terms[:, index, index] = deviations
    second, fourth = (terms**2).mean(0), (terms**4).mean(0)
    kurtosis = np.where(second > 0, fourth / np.where(second > 0, second, 1) ** 2, 3)
    return np.minimum(2 * n / np.maximum(kurtosis - 1, 1e-12), n - 1)
