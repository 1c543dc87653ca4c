"""How alike two RDMs are: one object that compares, pools for its own ceiling and cites itself."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int, Int64
from numba import config
from scipy.stats import rankdata

from bregma.errors import InvalidArgument, NotIdentifiable

from . import _ranks
from ._relabel import relabelled
from ._whitened import weighted_products, whitened

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
    """What a comparison of RDMs can do."""

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
            Similarities.
        """
        ...

    def pool(self, rdms: RDMs) -> Float[np.ndarray, " pair"]:
        """One RDM that stands for all.

        Parameters
        ----------
        rdms : array of shape (rdm, pair)
            Dissimilarities.

        Returns
        -------
        array of shape (pair,)
            The pooled RDM.
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
            RDMs of the subjects at each place.
        models : array of shape (model, pair)
            RDMs of the models.
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
            Permutations of the stimuli.

        Returns
        -------
        array of shape (draw, model)
            The mean similarities.
        """
        ...


def n_stimuli_of(n_pairs: int) -> int:
    """How many stimuli have so many pairs.

    Parameters
    ----------
    n_pairs : int
        Number of pairs.

    Returns
    -------
    int
        Number of stimuli.

    Raises
    ------
    InvalidArgument
        When no number of stimuli has so many pairs.
    """
    n = (1 + int(np.sqrt(1 + 8 * n_pairs))) // 2
    if n * (n - 1) // 2 != n_pairs:
        raise InvalidArgument(
            f"{n_pairs} pairs belong to no number of stimuli ({n} have {n * (n - 1) // 2})"
        )
    return n


def _check(rdms: RDMs, which: str, *, constant: bool = True) -> None:
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


def _two_sets(a: First, b: Second, *, constant: bool = True) -> None:
    if a.shape[1] != b.shape[1]:
        raise InvalidArgument(
            f"the RDMs have {a.shape[1]} and {b.shape[1]} pairs; bring them to the same stimuli "
            "with Dissimilarity.align"
        )
    n_stimuli_of(a.shape[1])
    _check(a, "the first set", constant=constant)
    _check(b, "the second set", constant=constant)


def _cosines(
    data: Places,
    others: Models,
    stimulus: Float[np.ndarray, "sample stimulus"],
    *,
    centre: bool,
    whiten: bool,
) -> Float[np.ndarray, "place sample rdm rdm_or_model"]:
    """Weighted cosines of data with data and others; 0 where a vector has vanished."""
    data, others = _scaled(data, centre), _scaled(others, centre)
    product, norms = weighted_products(data, others, stimulus, centre=centre, whiten=whiten)
    pairs = (stimulus.sum(1, keepdims=True) ** 2 - (stimulus**2).sum(1, keepdims=True)) / 2
    length = np.sqrt(np.where(norms > 1e-12 * pairs, norms, np.inf))
    return product / length[..., : data.shape[1], None] / length[..., None, :]


def _scaled(rdms: Float[np.ndarray, "*set pair"], centre: bool) -> Float[np.ndarray, "*set pair"]:
    """Bring RDMs to unit size; far from zero, sums of squares would lose digits."""
    if centre:
        rdms = rdms - rdms.mean(axis=-1, keepdims=True)
    size = np.sqrt(np.mean(rdms**2, axis=-1, keepdims=True))
    return rdms / np.where(size > 0, size, 1)


def _resampled_cosines(
    cosines: Float[np.ndarray, "place sample rdm rdm_or_model"],
    subject: Int64[np.ndarray, " rdm"],
    multiplicity: Multiplicity,
) -> Resampled:
    """Ceilings from the Gram matrix: the pool is a sum of unit vectors, so are all its cosines."""
    n = len(subject)
    gram, v = cosines[..., :n], multiplicity.astype(float)
    same = (subject[:, None] == subject).astype(float)
    with_all = v @ gram  # of each RDM with the sum of all, (place, sample, variant, rdm)
    with_own = v @ (gram * same)
    size = (v * with_all).sum(-1, keepdims=True)
    rest = size - 2 * (v * with_all) @ same + (v * with_own) @ same  # less the own subject's
    tiny = 1e-12 * v.sum(-1, keepdims=True) ** 2
    lower = (with_all - with_own) / np.sqrt(np.where(rest > tiny, rest, np.inf))
    upper = with_all / np.sqrt(np.where(size > tiny, size, np.inf))
    return Resampled(cosines[..., n:], lower, upper)


@dataclass(frozen=True)
class _InnerProduct:
    """What the cosine family shares; the four members differ in centring and whitening."""

    centre: ClassVar[bool]
    whiten: ClassVar[bool]

    def compare(self, a: First, b: Second) -> Float[np.ndarray, "a b"]:
        """Similarity of every RDM of one set with every RDM of another.

        Parameters
        ----------
        a, b : arrays of shape (rdm, pair)
            Dissimilarities in the order of ``numpy.triu_indices(n, 1)``.

        Returns
        -------
        array of shape (a, b)
            Similarities; 1 is the same geometry.

        Raises
        ------
        NotIdentifiable
            When an RDM says nothing (it is constant, or zero), naming it.
        """
        _two_sets(a, b, constant=self.centre)
        ones = np.ones((1, n_stimuli_of(a.shape[1])))
        return _cosines(a[None], b, ones, centre=self.centre, whiten=self.whiten)[0, 0, :, len(a) :]

    def pool(self, rdms: RDMs) -> Float[np.ndarray, " pair"]:
        """The RDM with the highest mean similarity to all: the mean of RDMs of unit length.

        Parameters
        ----------
        rdms : array of shape (rdm, pair)
            Dissimilarities.

        Returns
        -------
        array of shape (pair,)
            The pooled RDM, less its mean where the comparison ignores it.
        """
        _check(rdms, "the pool", constant=self.centre)
        if self.centre:
            rdms = rdms - rdms.mean(axis=1, keepdims=True)
        ones = np.ones((1, n_stimuli_of(rdms.shape[1])))
        norms = weighted_products(
            rdms[None], rdms[:0], ones, centre=self.centre, whiten=self.whiten
        )[1]
        return np.mean(rdms / np.sqrt(norms[0, 0])[:, None], axis=0)

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
            Dissimilarities, at one or many places (areas, searchlights, time points).
        models : array of shape (model, pair)
            Dissimilarities over the same stimuli.
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
        weights = stimulus.astype(float)
        cosines = _cosines(data, models, weights, centre=self.centre, whiten=self.whiten)
        return _resampled_cosines(cosines, subject, multiplicity)

    def permuted(
        self, data: RDMs, models: Models, *, share: Share, orders: Orders
    ) -> Float[np.ndarray, "draw model"]:
        """Mean similarities with models whose stimuli have exchanged their labels.

        Parameters
        ----------
        data, models : arrays of shape (rdm, pair) and (model, pair)
            Dissimilarities over the same stimuli.
        share : array of shape (rdm,)
            Weight of each RDM in the mean.
        orders : array of shape (draw, stimulus)
            For each draw, which stimulus comes where; the same for all models.

        Returns
        -------
        array of shape (draw, model)
            Weighted mean over the RDMs of the similarity with each model.
        """
        data, models = _scaled(data, self.centre), _scaled(models, self.centre)
        ones = np.ones((1, n_stimuli_of(data.shape[1])))
        norms = weighted_products(data[None], models, ones, centre=self.centre, whiten=self.whiten)[
            1
        ]
        length = np.sqrt(norms[0, 0])  # labels do not change it
        towards = (share / length[: len(data)]) @ (whitened(data) if self.whiten else data)
        unit = models / length[len(data) :, None]
        return np.concatenate([towards @ shuffled for shuffled in relabelled(unit, orders)])


@dataclass(frozen=True)
class RDMCosine(_InnerProduct):
    """Cosine of the angle between two RDMs.

    Sensitive to where zero is: for distances on a ratio scale, such as cross-validated ones.

    References
    ----------
    Walther et al. (2016), Reliability of dissimilarity measures for multi-voxel pattern analysis.

    Examples
    --------
    >>> import numpy as np
    >>> RDMCosine().compare(np.array([[1.0, 2.0, 2.0]]), np.array([[2.0, 4.0, 4.0]])).round(6)
    array([[1.]])
    """

    name: ClassVar[str] = "cosine"
    citations: ClassVar[tuple[str, ...]] = ("walther2016reliability", "schutt2023inference")
    centre: ClassVar[bool] = False
    whiten: ClassVar[bool] = False


@dataclass(frozen=True)
class RDMPearson(_InnerProduct):
    """Pearson correlation of two RDMs.

    For distances on an interval scale.

    References
    ----------
    Nili et al. (2014), A toolbox for representational similarity analysis.
    """

    name: ClassVar[str] = "Pearson"
    citations: ClassVar[tuple[str, ...]] = ("nili2014toolbox", "schutt2023inference")
    centre: ClassVar[bool] = True
    whiten: ClassVar[bool] = False


@dataclass(frozen=True)
class RDMWhitenedCosine(_InnerProduct):
    """Cosine after whitening by the covariance of distance estimates.

    Noise is shared by the distances of one stimulus to all others; whitening takes that into
    account. For cross-validated (unbiased) distances; the same as linear CKA of the patterns.

    References
    ----------
    Diedrichsen et al. (2021), Comparing representational geometries using whitened unbiased-
    distance-matrix similarity.
    """

    name: ClassVar[str] = "whitened cosine"
    citations: ClassVar[tuple[str, ...]] = ("diedrichsen2021whitened", "schutt2023inference")
    centre: ClassVar[bool] = False
    whiten: ClassVar[bool] = True


@dataclass(frozen=True)
class RDMWhitenedCorrelation(_InnerProduct):
    """Correlation of RDMs, each less its mean, after whitening by the covariance of distances.

    For biased distances, whose expectation carries an unknown constant.

    References
    ----------
    Diedrichsen et al. (2021), Comparing representational geometries using whitened unbiased-
    distance-matrix similarity.
    """

    name: ClassVar[str] = "whitened correlation"
    citations: ClassVar[tuple[str, ...]] = ("diedrichsen2021whitened", "schutt2023inference")
    centre: ClassVar[bool] = True
    whiten: ClassVar[bool] = True


@dataclass(frozen=True)
class _Rank:
    """What the rank family shares; the three members differ in what is done with the ranks."""

    kind: ClassVar[int]

    def compare(self, a: First, b: Second) -> Float[np.ndarray, "a b"]:
        """Similarity of every RDM of one set with every RDM of another.

        Parameters
        ----------
        a, b : arrays of shape (rdm, pair)
            Dissimilarities in the order of ``numpy.triu_indices(n, 1)``.

        Returns
        -------
        array of shape (a, b)
            Similarities; 1 is the same order.

        Raises
        ------
        NotIdentifiable
            When an RDM says nothing (it is constant), naming it.
        """
        _two_sets(a, b)
        n = n_stimuli_of(a.shape[1])
        return self.resample(
            a[None],
            b,
            subject=np.zeros(len(a), dtype=np.int64),
            stimulus=np.ones((1, n), dtype=np.int64),
            multiplicity=np.ones((1, 0, len(a)), dtype=np.int64),
        ).similarity[0, 0]

    def pool(self, rdms: RDMs) -> Float[np.ndarray, " pair"]:
        """The mean of the ranks of all RDMs.

        It has the highest mean Spearman correlation to all. For tau-a the best order cannot be
        found in reasonable time; the mean rank is what the field uses instead.

        Parameters
        ----------
        rdms : array of shape (rdm, pair)
            Dissimilarities.

        Returns
        -------
        array of shape (pair,)
            Mean ranks.
        """
        _check(rdms, "the pool")
        return rankdata(rdms, axis=1).mean(axis=0)

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
            Dissimilarities, at one or many places (areas, searchlights, time points).
        models : array of shape (model, pair)
            Dissimilarities over the same stimuli.
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
        samples, variants, n = multiplicity.shape
        out = Resampled(
            np.empty((len(data), samples, n, len(models))),
            np.empty((len(data), samples, variants, n)),
            np.empty((len(data), samples, variants, n)),
        )
        # Kernels and sorting release the interpreter; places and samples depend on no others.
        parts = min(config.NUMBA_NUM_THREADS, 1 + samples // 32)  # type: ignore[attr-defined]
        edges = [i * samples // parts for i in range(parts + 1)]

        def fill(place: int, rows: slice) -> None:
            order = _ranks.order_of(np.concatenate([data[place], models]))
            _ranks.compare_resampled(
                self.kind, *order, n, subject, stimulus[rows], multiplicity[rows],
                *(x[place, rows] for x in out),
            )  # fmt: skip

        with ThreadPoolExecutor(config.NUMBA_NUM_THREADS) as pool:  # type: ignore[attr-defined]
            jobs = [
                pool.submit(fill, place, slice(*rows))
                for place in range(len(data))
                for rows in pairwise(edges)
            ]
            for job in jobs:
                job.result()
        return out

    def permuted(
        self, data: RDMs, models: Models, *, share: Share, orders: Orders
    ) -> Float[np.ndarray, "draw model"]:
        """Mean similarities with models whose stimuli have exchanged their labels.

        Parameters
        ----------
        data, models : arrays of shape (rdm, pair) and (model, pair)
            Dissimilarities over the same stimuli.
        share : array of shape (rdm,)
            Weight of each RDM in the mean.
        orders : array of shape (draw, stimulus)
            For each draw, which stimulus comes where; the same for all models.

        Returns
        -------
        array of shape (draw, model)
            Weighted mean over the RDMs of the similarity with each model.
        """
        if self.kind == _ranks.TAU_A:
            n = len(models)
            return np.stack([
                share @ self.compare(data, rdms.T) for shuffled in relabelled(models, orders)
                for rdms in shuffled
            ]).reshape(-1, n)  # fmt: skip
        data, models = (rankdata(x, axis=1) - (x.shape[1] + 1) / 2 for x in (data, models))
        n = data.shape[1]
        if self.kind == _ranks.RHO_A:
            length_data = length_models = np.array([np.sqrt((n**3 - n) / 12)])
        else:
            length_data, length_models = (np.sqrt((x**2).sum(1)) for x in (data, models))
        towards, unit = (share / length_data) @ data, models / length_models[:, None]
        return np.concatenate([towards @ shuffled for shuffled in relabelled(unit, orders)])


@dataclass(frozen=True)
class RDMSpearman(_Rank):
    """Spearman rank correlation of two RDMs.

    For distances on an ordinal scale; models that predict ties are favoured, see RDMRhoA.

    References
    ----------
    Kriegeskorte, Mur and Bandettini (2008), Representational similarity analysis.
    """

    name: ClassVar[str] = "Spearman"
    citations: ClassVar[tuple[str, ...]] = ("kriegeskorte2008rsa", "schutt2023inference")
    kind: ClassVar[int] = _ranks.SPEARMAN


@dataclass(frozen=True)
class RDMRhoA(_Rank):
    """Spearman correlation expected when ties are broken at random (rho-a).

    For distances on an ordinal scale, with models that predict ties (categories).

    References
    ----------
    Schütt et al. (2023), Statistical inference on representational geometries.
    """

    name: ClassVar[str] = "rho-a"
    citations: ClassVar[tuple[str, ...]] = ("schutt2023inference",)
    kind: ClassVar[int] = _ranks.RHO_A


@dataclass(frozen=True)
class RDMTauA(_Rank):
    """Kendall's tau-a: concordant less discordant comparisons, over all comparisons.

    For distances on an ordinal scale, with models that predict ties (categories). Slower than
    rho-a, which answers the same question.

    References
    ----------
    Nili et al. (2014), A toolbox for representational similarity analysis.
    """

    name: ClassVar[str] = "tau-a"
    citations: ClassVar[tuple[str, ...]] = ("nili2014toolbox", "schutt2023inference")
    kind: ClassVar[int] = _ranks.TAU_A
