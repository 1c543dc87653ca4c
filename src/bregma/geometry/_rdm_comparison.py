"""What every comparison of two RDMs offers, and the checks that they share."""

from __future__ import annotations

from typing import ClassVar, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int, Int64

from bregma.errors import InvalidArgument, NotIdentifiable

from ._pairs import n_stimuli_of

RDMs = Float[np.ndarray, "rdm pair"]
Models = Float[np.ndarray, "model pair"]
First = Float[np.ndarray, "a pair_a"]  # compare checks itself that both have the same pairs
Second = Float[np.ndarray, "b pair_b"]
Places = Float[np.ndarray, "place rdm pair"]
Count = Int64[np.ndarray, "sample stimulus"]
Share = Float[np.ndarray, " rdm"]
Orders = Int[np.ndarray, "draw stimulus"]
Multiplicity = Int64[np.ndarray, "sample variant rdm"]


class Resampled(NamedTuple):
    """Similarities in every resample, per RDM of the data.

    similarity : (place, sample, rdm, model), with each model;
    lower : (place, sample, variant, rdm), with the pool of the RDMs of all other subjects;
    upper : (place, sample, variant, rdm), with the pool of all RDMs.
    Both ceilings mean something only for RDMs that are in the resample. Where nothing is left to
    compare (a constant RDM in the resample, nobody else to pool) the similarity is 0.
    """

    similarity: Float[np.ndarray, "place sample rdm model"]
    lower: Float[np.ndarray, "place sample variant rdm"]
    upper: Float[np.ndarray, "place sample variant rdm"]


@runtime_checkable
class RDMComparison(Protocol):
    """How alike two RDMs are: one object that compares, pools for its own ceiling, cites itself."""

    name: ClassVar[str]
    citations: ClassVar[tuple[str, ...]]

    def compare(self, a: First, b: Second) -> Float[np.ndarray, "a b"]:
        """Similarity of every RDM of one set with every RDM of another.

        Parameters
        ----------
        a, b : arrays of shape (rdm, pair)
            Dissimilarities in the order of ``numpy.triu_indices(n, 1)``.

        Returns
        -------
        array of shape (a, b)
            Similarities; 1 where the comparison sees no difference.

        Raises
        ------
        InvalidArgument
            RDMs over different numbers of stimuli, or that are not finite.
        NotIdentifiable
            An RDM that says nothing (it is constant, or zero); the message names it.
        """
        ...

    def pool(self, rdms: RDMs) -> Float[np.ndarray, " pair"]:
        """One RDM that stands for all: the one with the highest mean similarity to them.

        Parameters
        ----------
        rdms : array of shape (rdm, pair)
            Dissimilarities.

        Returns
        -------
        array of shape (pair,)
            The pooled RDM, less what the comparison ignores.

        Raises
        ------
        NotIdentifiable
            An RDM that says nothing; the message names it.
        """
        ...

    def resample(
        self,
        data: Places,
        models: Models,
        *,
        subject: Int64[np.ndarray, " rdm"],
        stimulus: Count,
        multiplicity: Multiplicity,
    ) -> Resampled:
        """Similarities and ceilings of weighted resamples.

        Parameters
        ----------
        data : array of shape (place, rdm, pair)
            RDMs of the subjects, at one or many places (areas, searchlights, time points).
        models : array of shape (model, pair)
            RDMs of the models, over the same stimuli.
        subject : array of shape (rdm,)
            Whose RDM it is: a number per subject.
        stimulus : array of shape (sample, stimulus)
            How often each stimulus is in a resample.
        multiplicity : array of shape (sample, variant, rdm)
            How often each RDM is in it; several variants share the stimuli of the sample.

        Returns
        -------
        Resampled
            Similarity with the models, lower and upper ceilings, per RDM.
        """
        ...

    def permuted(
        self, data: RDMs, models: Models, *, share: Share, orders: Orders
    ) -> Float[np.ndarray, "draw model"]:
        """Mean similarities with models whose stimuli have exchanged their labels.

        Parameters
        ----------
        data : array of shape (rdm, pair)
            RDMs of the subjects.
        models : array of shape (model, pair)
            RDMs of the models.
        share : array of shape (rdm,)
            Weight of each RDM in the mean.
        orders : array of shape (draw, stimulus)
            For each draw, which stimulus comes where; the same for all models.

        Returns
        -------
        array of shape (draw, model)
            Weighted mean over the RDMs of the similarity with each model.
        """
        ...


def check(rdms: RDMs, which: str, *, constant: bool = True) -> None:
    """Refuse RDMs that cannot be compared, naming the first."""
    if not np.isfinite(rdms).all():
        row = int(np.argmin(np.isfinite(rdms).all(axis=1)))
        raise InvalidArgument(f"RDM {row} of {which} holds NaN or infinite dissimilarities")
    spread = rdms - rdms[:, :1] if constant else rdms
    flat = ~(np.abs(spread) > 1e-12 * np.abs(rdms).max(axis=1, keepdims=True)).any(axis=1)
    if flat.any():
        row = int(np.argmax(flat))
        what = "all its dissimilarities are equal" if constant else "all are zero"
        raise NotIdentifiable(
            f"RDM {row} of {which} cannot be compared: {what}, so that it says nothing about "
            f"which of its {rdms.shape[1]} pairs are far apart"
        )


def check_both(a: First, b: Second, *, constant: bool = True) -> None:
    """Refuse two sets of RDMs that do not belong together, or hold one that says nothing."""
    if a.shape[1] != b.shape[1]:
        raise InvalidArgument(
            f"the RDMs have {a.shape[1]} and {b.shape[1]} pairs; bring them to the same stimuli "
            "with Dissimilarity.align"
        )
    n_stimuli_of(a.shape[1])
    check(a, "the first set", constant=constant)
    check(b, "the second set", constant=constant)
