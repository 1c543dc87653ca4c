"""SVCCA: canonical correlations between the leading components of two representations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Bool, Float, Int, Num

from bregma.errors import InvalidArgument, NotIdentifiable

from ._response_comparison import ResponseComparison, checked_pair, enough_stimuli


@dataclass(frozen=True)
class SVCCA(ResponseComparison):
    """Mean canonical correlation between the leading singular directions of both sides.

    Between 0 and 1. Unrelated data score well above 0 where components are not few against
    stimuli: compare with the null, not with 0. So many components that some correlations are 1 for
    any data at all are refused.

    Parameters
    ----------
    variance : float
        Share of the variance over stimuli that the kept directions of each side explain.
    components : int, optional
        At most so many directions of each side.

    Notes
    -----
    How many directions are kept, and which, jumps where singular values are close, and the score
    with them: its intervals are approximate, mostly too wide (see ``docs/geometry_distances.md``).

    References
    ----------
    Raghu et al. (2017), SVCCA: singular vector canonical correlation analysis.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(0).standard_normal((20, 5))
    >>> round(SVCCA().compare(x, 3 * x[:, ::-1] + 1), 6)
    1.0
    """

    variance: float = 0.99
    components: int | None = None
    rotates_data: ClassVar[bool] = True
    name: ClassVar[str] = "SVCCA"
    citations: ClassVar[tuple[str, ...]] = ("raghu2017svcca",)

    def __post_init__(self) -> None:
        if not 0 < self.variance <= 1:
            raise InvalidArgument(f"a share of variance lies in (0, 1], not {self.variance}")
        if self.components is not None and self.components < 1:
            raise InvalidArgument(f"at least one component is needed, not {self.components}")

    def check_stimuli(self, n: int) -> None:
        enough_stimuli(n, 4, self.name)

    def compare(
        self, x: Num[np.ndarray, "stimulus_x unit_x"], y: Num[np.ndarray, "stimulus_y unit_y"]
    ) -> float:
        x, y = checked_pair(self, x, y)
        bases = self._basis(x), self._basis(y)
        _check_dimensions(*bases)
        return float(_mean_correlation(bases[0].T @ bases[1]))

    def permuted(
        self,
        x: Num[np.ndarray, "stimulus unit_x"],
        ys: Sequence[Any],
        orders: Int[np.ndarray, "draw stimulus"],
    ) -> Float[np.ndarray, "draw subject"]:
        u, out = self._basis(x), np.empty((len(orders), len(ys)))
        for s, v in enumerate(map(self._basis, ys)):
            _check_dimensions(u, v)
            for b, order in enumerate(orders):
                out[b, s] = _mean_correlation(u.T @ v[order])
        return out

    def without(
        self,
        x: Num[np.ndarray, "stimulus unit_x"],
        ys: Sequence[Any],
        kept: Bool[np.ndarray, "group stimulus"],
    ) -> Float[np.ndarray, "group subject"]:
        out = np.empty((len(kept), len(ys)))
        for g, rows in enumerate(kept):
            u = self._basis(x[rows])
            for s, y in enumerate(ys):
                v = self._basis(y[rows])
                _check_dimensions(u, v)
                out[g, s] = _mean_correlation(u.T @ v)
        return out

    def _basis(self, x: Any) -> Any:
        """Orthonormal basis of the leading directions over stimuli, (stimulus, component)."""
        u, singular, _ = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
        tiny = max(singular[0] * max(x.shape) * np.finfo(float).eps, 1e-12 * np.linalg.norm(x))
        rank = int((singular > tiny).sum())
        explained = np.cumsum(singular[:rank] ** 2) / np.sum(singular**2) if rank else np.zeros(0)
        size = int(np.searchsorted(explained, self.variance - 1e-12)) + 1
        return u[:, : min(size, self.components or size, rank)]


def _mean_correlation(product: Any) -> float:
    return float(np.linalg.svd(product, compute_uv=False).mean()) if product.size else 0.0


def _check_dimensions(u: Any, v: Any) -> None:
    n, sizes = len(u), (u.shape[1], v.shape[1])
    # Two subspaces of n - 1 dimensions (the mean is gone) that are too large must share some.
    if sum(sizes) > n - 1:
        raise NotIdentifiable(
            f"not identifiable with {n} stimuli: {sizes[0]} and {sizes[1]} components share at "
            f"least {sum(sizes) - n + 1} directions whatever the data are; use "
            f"SVCCA(components={max(1, (n - 1) // 4)}), a smaller variance, or more stimuli"
        )
