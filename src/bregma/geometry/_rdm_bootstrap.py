"""Bootstrap of RDM comparisons by weights: over subjects, over stimuli, over both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int64

from bregma.errors import InvalidArgument, NotIdentifiable

from ._pairs import n_stimuli_of
from ._rdm_comparison import RDMComparison, Resampled

FEWEST_STIMULI = 3  # two stimuli have one distance, which is like any other


@dataclass(frozen=True)
class Resamples:
    """How often each stimulus and each subject is in each bootstrap sample.

    Parameters
    ----------
    stimulus : array of shape (sample, stimulus)
        Counts of stimuli.
    subject : array of shape (sample, subject)
        Counts of subjects.
    """

    stimulus: Int64[np.ndarray, "sample stimulus"]
    subject: Int64[np.ndarray, "sample subject"]

    @classmethod
    def draw(cls, n_samples: int, *, n_stimuli: int, n_subjects: int, seed: int) -> Resamples:
        """Draw with replacement, as many as there are.

        Samples in which nothing could be compared are drawn again: those of fewer than three
        distinct stimuli, and, where there are several subjects, those of a single one.

        Parameters
        ----------
        n_samples : int
            How many samples.
        n_stimuli, n_subjects : int
            How many there are to draw from.
        seed : int
            Where the random numbers come from.

        Returns
        -------
        Resamples
            The counts.

        Raises
        ------
        NotIdentifiable
            With fewer than three stimuli.
        """
        if n_samples < 1 or n_subjects < 1:
            raise InvalidArgument(
                f"{n_samples} samples of {n_subjects} subjects cannot be drawn; ask for at least 1"
            )
        if n_stimuli < FEWEST_STIMULI:
            raise NotIdentifiable(
                f"not identifiable with {n_stimuli} stimuli: they have "
                f"{n_stimuli * (n_stimuli - 1) // 2} distances; 3 stimuli are the fewest"
            )
        rng = np.random.default_rng(seed)
        return cls(
            _counts(n_samples, n_stimuli, FEWEST_STIMULI, rng),
            _counts(n_samples, n_subjects, min(2, n_subjects), rng),
        )


def _counts(
    n_samples: int, n: int, fewest: int, rng: np.random.Generator
) -> Int64[np.ndarray, "sample item"]:
    counts = np.empty((n_samples, n), dtype=np.int64)
    todo = np.arange(n_samples)
    while len(todo):
        counts[todo] = rng.multinomial(n, np.full(n, 1 / n), size=len(todo))
        todo = todo[(counts[todo] > 0).sum(1) < fewest]
    return counts


class RDMBootstrap(NamedTuple):
    """Scores and ceilings of bootstrap samples; the first axis is (both, subject, stimulus).

    Data at many places have the places as their first axis.

    Parameters
    ----------
    scores : array of shape (way, sample, model)
        The mean over subjects of the similarity with each model.
    lower : array of shape (way, sample)
        The mean similarity of a subject with the pool of all others.
    upper : array of shape (way, sample)
        The mean similarity of a subject with the pool of all.
    """

    scores: Float[np.ndarray, "*place way sample model"]
    lower: Float[np.ndarray, "*place way sample"]
    upper: Float[np.ndarray, "*place way sample"]


def subject_means(subject: Int64[np.ndarray, " rdm"]) -> Float[np.ndarray, "rdm subject"]:
    """Matrix that takes values of RDMs to means of subjects.

    Parameters
    ----------
    subject : array of shape (rdm,)
        Whose RDM it is: numbers from 0.

    Returns
    -------
    array of shape (rdm, subject)
        1 / (number of RDMs of the subject) where they belong together.
    """
    member = (subject[:, None] == np.arange(subject.max() + 1)).astype(float)
    return member / member.sum(0)


def bootstrap_rdms(
    comparison: RDMComparison,
    data: Float[np.ndarray, "*place rdm pair"],
    models: Float[np.ndarray, "model pair_of_models"],
    resamples: Resamples,
    *,
    subject: Int64[np.ndarray, " rdm"] | None = None,
) -> RDMBootstrap:
    """Scores and noise ceilings in bootstrap samples of subjects, stimuli and both.

    A resample of stimuli is a weight w_i w_j on every pair, never a resampled copy; pairs of a
    stimulus with its own copy are left out. A resample of subjects is a multiplicity. All RDMs of
    a subject (its sessions) come and go together and count as one: their similarities are
    averaged within the subject first.

    Parameters
    ----------
    comparison : RDMComparison
        How two RDMs are compared.
    data : array of shape (rdm, pair) or (place, rdm, pair)
        RDMs of the subjects; at many places (searchlights, time points) the weights are shared.
    models : array of shape (model, pair)
        RDMs of the models.
    resamples : Resamples
        What is in each sample.
    subject : array of shape (rdm,), optional
        Whose RDM it is, as numbers from 0; each RDM is a subject where none are given.

    Returns
    -------
    RDMBootstrap
        Scores and ceilings for the three ways of resampling.

    Raises
    ------
    InvalidArgument
        When shapes do not fit together.

    References
    ----------
    Schütt et al. (2023), Statistical inference on representational geometries.

    Examples
    --------
    >>> import numpy as np
    >>> from bregma.geometry import RDMCosine, Resamples, bootstrap_rdms
    >>> rng = np.random.default_rng(0)
    >>> data, models = rng.random((4, 45)), rng.random((2, 45))
    >>> resamples = Resamples.draw(100, n_stimuli=10, n_subjects=4, seed=0)
    >>> bootstrap_rdms(RDMCosine(), data, models, resamples).scores.shape
    (3, 100, 2)
    """
    n_rdms, n_pairs = data.shape[-2:]
    subject = np.arange(n_rdms) if subject is None else subject
    n_stimuli, n_subjects = resamples.stimulus.shape[1], resamples.subject.shape[1]
    if len(subject) != n_rdms or set(subject.tolist()) != set(range(n_subjects)):
        raise InvalidArgument(
            f"{n_rdms} RDMs need a subject each, numbered from 0 to {n_subjects - 1}, which is "
            "how many the resamples were drawn for"
        )
    if models.shape[1] != n_pairs or n_stimuli_of(n_pairs) != n_stimuli:
        raise InvalidArgument(
            f"data have {n_pairs} pairs, models {models.shape[1]}, and the resamples were drawn "
            f"for {n_stimuli} stimuli; bring all to the same stimuli"
        )
    if data.ndim == 2:
        one = bootstrap_rdms(comparison, data[None], models, resamples, subject=subject)
        return RDMBootstrap(*(x[0] for x in one))
    counts = resamples.subject[:, None, :]
    drawn_and_all = np.concatenate([counts, np.ones_like(counts)], axis=1)
    within = comparison.resample(
        data, models, subject=subject, stimulus=resamples.stimulus,
        multiplicity=drawn_and_all[..., subject],
    )  # fmt: skip
    once = comparison.resample(
        data, models, subject=subject, stimulus=np.ones((1, n_stimuli), dtype=np.int64),
        multiplicity=counts[None, :, 0][..., subject],
    )  # fmt: skip
    means = subject_means(subject)
    both_stimulus = averaged(within, drawn_and_all, means)
    alone = averaged(once, counts[None, :, 0], means)
    return RDMBootstrap(
        *(
            np.stack([x[:, :, 0], y[:, 0], x[:, :, 1]], axis=1)
            for x, y in zip(both_stimulus, alone, strict=True)
        )
    )


def averaged(
    resampled: Resampled,
    counts: Int64[np.ndarray, "sample variant subject"],
    means: Float[np.ndarray, "rdm subject"],
) -> tuple[
    Float[np.ndarray, "place sample variant model"],
    Float[np.ndarray, "place sample variant"],
    Float[np.ndarray, "place sample variant"],
]:
    """Means over subjects, weighted by how often each is in the resample.

    Parameters
    ----------
    resampled : Resampled
        Similarities per RDM.
    counts : array of shape (sample, variant, subject)
        How often each subject is in the resample.
    means : array of shape (rdm, subject)
        What `subject_means` gives.

    Returns
    -------
    scores, lower, upper : arrays of shape (place, sample, variant, ...)
        Means, the first for each model.
    """
    share = (counts / counts.sum(-1, keepdims=True)) @ means.T  # (sample, variant, rdm)
    return (
        share @ resampled.similarity,
        (share * resampled.lower).sum(-1),
        (share * resampled.upper).sum(-1),
    )
