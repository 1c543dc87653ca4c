"""Centred kernel alignment (CKA): the correlation between two matrices of similarities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, no_type_check

import numpy as np
from jaxtyping import Bool, Float, Int, Num
from numba import njit

from bregma.errors import InvalidArgument, NotIdentifiable

from ._response_comparison import ResponseComparison, checked_pair, enough_stimuli

TINY = 1e-14  # of the squared length of a kernel: rounding
FLAT = (
    "not identifiable: a single stimulus is all that the responses of one side tell from the "
    "others, which the debiased kernel ignores; use CKA(debiased=False), or more stimuli"
)


@dataclass(frozen=True)
class CKA(ResponseComparison):
    """Centred kernel alignment.

    With K and L the kernels of both sides, HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)). Debiased, each
    HSIC is the unbiased estimator of Song et al. (2012), so that independent data score 0 on
    average (some of them below) however many units there are; otherwise few stimuli and many units
    score near 1. Debiased, it needs 4 stimuli, else 3.

    Parameters
    ----------
    kernel : {"linear", "rbf"}
        Inner products, or exp(-d^2 / (2 s^2)) of Euclidean distances d.
    debiased : bool
        Whether to use the unbiased estimators.
    bandwidth : float
        s as a share of the median distance (for the kernel ``"rbf"``).

    References
    ----------
    Kornblith et al. (2019), Similarity of neural network representations revisited.
    Murphy, Zylberberg and Fyshe (2024), Correcting biased centered kernel alignment measures.
    Song et al. (2012), Feature selection via dependence maximization.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(0).standard_normal((20, 5))
    >>> round(CKA().compare(x, 3 * x), 6)
    1.0
    """

    kernel: Literal["linear", "rbf"] = "linear"
    debiased: bool = True
    bandwidth: float = 1.0
    rotates_data: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.kernel not in ("linear", "rbf"):
            raise InvalidArgument(f"kernel={self.kernel!r} is neither 'linear' nor 'rbf'")
        if not self.bandwidth > 0:
            raise InvalidArgument(f"the bandwidth must be positive, not {self.bandwidth}")

    @property
    def name(self) -> str:
        return f"{'debiased ' if self.debiased else ''}{self.kernel} CKA"

    @property
    def citations(self) -> tuple[str, ...]:
        return ("kornblith2019cka", *(("murphy2024debiasedcka",) if self.debiased else ()))

    def check_stimuli(self, n: int) -> None:
        enough_stimuli(n, 4 if self.debiased else 3, self.name)

    def compare(
        self, x: Num[np.ndarray, "stimulus_x unit_x"], y: Num[np.ndarray, "stimulus_y unit_y"]
    ) -> float:
        x, y = checked_pair(self, x, y)
        everything = np.ones((1, len(x)), dtype=bool)
        return float(self.without(x, [y], everything)[0, 0])

    def permuted(
        self,
        x: Num[np.ndarray, "stimulus unit_x"],
        ys: Sequence[Any],
        orders: Int[np.ndarray, "draw stimulus"],
    ) -> Float[np.ndarray, "draw subject"]:
        model = self._direction(x)
        data = np.stack([self._direction(y) for y in ys], axis=-1)
        # Putting the data into an order is putting the model into the inverse order.
        return _permuted_products(model, data, np.argsort(orders, axis=1))

    def without(
        self,
        x: Num[np.ndarray, "stimulus unit_x"],
        ys: Sequence[Any],
        kept: Bool[np.ndarray, "group stimulus"],
    ) -> Float[np.ndarray, "group subject"]:
        # Everything follows from sums over the kernel of all stimuli (and their bandwidth).
        weights = kept.T.astype(float)  # (stimulus, group)
        k = self._kernel(x)
        k_rows = k @ weights
        kk = self._dependence(k, k_rows, k, k_rows, weights)
        scores = []
        for y in ys:
            m = self._kernel(y)
            m_rows = m @ weights
            km = self._dependence(k, k_rows, m, m_rows, weights)
            mm = self._dependence(m, m_rows, m, m_rows, weights)
            # Rounding is all that is left of a kernel that vanishes over the stimuli that stay.
            varies = np.minimum(kk / (k**2).sum(), mm / (m**2).sum()) > TINY
            if not varies[kept.all(axis=1)].all():
                raise NotIdentifiable(FLAT)
            scores.append(np.where(varies, km / np.sqrt(np.where(varies, kk * mm, 1)), 0.0))
        return np.stack(scores, axis=1)

    def _kernel(self, x: Any) -> Any:
        """Kernel of centred responses, of size around 1; without its diagonal if debiased."""
        x = np.asarray(x, dtype=float)
        x = x - x.mean(axis=0)
        gram = x @ x.T
        if self.kernel == "rbf":
            norms = np.diag(gram)
            squared = np.maximum(norms[:, None] + norms - 2 * gram, 0)
            median = np.median(np.sqrt(squared[np.triu_indices(len(x), 1)]))
            if median == 0:
                raise InvalidArgument(
                    "at least half of the stimuli evoke the same response, so that the median "
                    "distance is 0; use the linear kernel"
                )
            gram = np.exp(-squared / (2 * (self.bandwidth * median) ** 2))
        else:
            gram /= np.trace(gram) / len(x)
        if self.debiased:
            np.fill_diagonal(gram, 0)
        return gram

    def _dependence(self, k: Any, k_rows: Any, m: Any, m_rows: Any, weights: Any) -> Any:
        """HSIC of each weighting, up to a factor that cancels; x_rows = x @ weights."""
        n = weights.sum(axis=0)
        both = np.einsum("ig,ig->g", weights, (k * m) @ weights)
        chain = np.einsum("ig,ig,ig->g", weights, k_rows, m_rows)
        totals = np.einsum("ig,ig->g", weights, k_rows) * np.einsum("ig,ig->g", weights, m_rows)
        if self.debiased:
            return both - 2 * chain / (n - 2) + totals / ((n - 1) * (n - 2))
        return both - 2 * chain / n + totals / n**2

    def _direction(self, x: Any) -> Any:
        """Centred kernel of length 1: products of two of them are the alignment."""
        k = self._kernel(x)
        n, before = len(k), np.linalg.norm(k)
        rows = k.sum(axis=0)
        if self.debiased:
            k = k - (rows[:, None] + rows) / (n - 2) + rows.sum() / ((n - 1) * (n - 2))
            np.fill_diagonal(k, 0)
        else:
            k = k - (rows[:, None] + rows) / n + rows.sum() / n**2
        length = np.linalg.norm(k)
        if length**2 <= TINY * before**2:
            raise NotIdentifiable(FLAT)
        return k / length


@no_type_check
@njit(cache=True)
def _permuted_products(model, data, orders):
    """Sum of model[p_i, p_j] * data[i, j, s] for each order p: symmetric, so half is enough."""
    draws, n = orders.shape
    subjects = data.shape[2]
    out = np.zeros((draws, subjects))
    for b in range(draws):
        p = orders[b]
        for i in range(n):
            row = model[p[i]]
            for j in range(i):
                value = 2 * row[p[j]]
                for s in range(subjects):
                    out[b, s] += value * data[i, j, s]
            for s in range(subjects):
                out[b, s] += row[p[i]] * data[i, i, s]
    return out
