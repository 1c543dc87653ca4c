"""Cosines of RDMs: plain, centred (Pearson), whitened by the covariance of distances, or both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Int64

from ._pairs import n_stimuli_of
from ._rdm_comparison import (
    Count,
    First,
    Models,
    Multiplicity,
    Orders,
    Places,
    RDMComparison,
    RDMs,
    Resampled,
    Second,
    Share,
    check,
    check_both,
)
from ._relabel import relabelled
from ._whitened import weighted_products, whitened


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
class _InnerProduct(RDMComparison):
    """What the cosine family shares; the four members differ in centring and whitening."""

    centre: ClassVar[bool]
    whiten: ClassVar[bool]

    def compare(self, a: First, b: Second) -> Float[np.ndarray, "a b"]:
        check_both(a, b, constant=self.centre)
        a, b = _scaled(a, self.centre), _scaled(b, self.centre)
        towards, own = (whitened(a), whitened(b)) if self.whiten else (a, b)
        lengths = np.sqrt(np.outer((towards * a).sum(axis=1), (own * b).sum(axis=1)))
        return towards @ b.T / lengths

    def pool(self, rdms: RDMs) -> Float[np.ndarray, " pair"]:
        check(rdms, "the pool", constant=self.centre)
        if self.centre:
            rdms = rdms - rdms.mean(axis=1, keepdims=True)
        return np.mean(rdms / self._lengths(rdms)[:, None], axis=0)

    def resample(
        self,
        data: Places,
        models: Models,
        *,
        subject: Int64[np.ndarray, " rdm"],
        stimulus: Count,
        multiplicity: Multiplicity,
    ) -> Resampled:
        weights = stimulus.astype(float)
        cosines = _cosines(data, models, weights, centre=self.centre, whiten=self.whiten)
        return _resampled_cosines(cosines, subject, multiplicity)

    def permuted(
        self, data: RDMs, models: Models, *, share: Share, orders: Orders
    ) -> Float[np.ndarray, "draw model"]:
        data, models = _scaled(data, self.centre), _scaled(models, self.centre)
        towards = (share / self._lengths(data)) @ (whitened(data) if self.whiten else data)
        unit = models / self._lengths(models)[:, None]  # labels do not change them
        return np.concatenate([towards @ shuffled for shuffled in relabelled(unit, orders)])

    def _lengths(self, rdms: RDMs) -> Share:
        once = np.ones((1, n_stimuli_of(rdms.shape[1])))
        none = rdms[:0]
        norms = weighted_products(rdms[None], none, once, centre=self.centre, whiten=self.whiten)[1]
        return np.sqrt(norms[0, 0])


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
