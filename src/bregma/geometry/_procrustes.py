"""Procrustes: how well one representation can be rotated onto another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Bool, Float, Int, Num

from ._response_comparison import BLOCK, ResponseComparison, checked_pair, enough_stimuli


def procrustes_distance(
    x: Num[np.ndarray, "stimulus_x unit_x"],
    y: Num[np.ndarray, "stimulus_y unit_y"],
    *,
    angular: bool = False,
) -> float:
    """Distance between shapes: what is left after the best shift, scale and rotation.

    With both sides centred and of Frobenius norm 1, and R over rotations and reflections (zeros
    are appended to the narrower side): min |x - y R|, or the angle arccos(max <x, y R>).

    Parameters
    ----------
    x, y : array of shape (stimulus, unit)
        Responses to the same stimuli in the same order.
    angular : bool
        The angle (radians) instead of the distance. Both are metrics.

    Returns
    -------
    float
        Between 0 and sqrt(2), or between 0 and pi / 2.

    References
    ----------
    Schönemann (1966), A generalized solution of the orthogonal Procrustes problem.
    Williams et al. (2021), Generalized shape metrics on neural representations.
    """
    product = Procrustes().compare(x, y)
    # Rounding may leave the largest inner product of two unit vectors just above 1.
    return float(np.arccos(min(product, 1))) if angular else float(np.sqrt(max(2 - 2 * product, 0)))


@dataclass(frozen=True)
class Procrustes(ResponseComparison):
    """Procrustes similarity: 1 for the same shape, towards 0 for unrelated ones.

    With X and Y centred and of Frobenius norm 1, the similarity is the nuclear norm of X' Y, which
    is the largest inner product <X, Y R> over rotations R and 1 - d^2 / 2 of the Procrustes
    distance d. Angular, it is 1 - 2 arccos(that) / pi, one minus the metric of Williams et al. as
    a share of a right angle. Unrelated data of many units score well above 0 with few stimuli:
    compare with the null, not with 0.

    Parameters
    ----------
    angular : bool
        Whether to give one minus the angle (as a share of a right angle).

    References
    ----------
    Schönemann (1966), A generalized solution of the orthogonal Procrustes problem.
    Williams et al. (2021), Generalized shape metrics on neural representations.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(0).standard_normal((20, 5))
    >>> round(Procrustes().compare(x, 3 * x[:, ::-1] + 1), 6)
    1.0
    """

    angular: bool = False
    rotates_data: ClassVar[bool] = True
    citations: ClassVar[tuple[str, ...]] = ("schonemann1966procrustes", "williams2021shapes")

    @property
    def name(self) -> str:
        return "angular Procrustes similarity" if self.angular else "Procrustes similarity"

    def check_stimuli(self, n: int) -> None:
        enough_stimuli(n, 3, self.name)

    def compare(
        self, x: Num[np.ndarray, "stimulus_x unit_x"], y: Num[np.ndarray, "stimulus_y unit_y"]
    ) -> float:
        x, y = checked_pair(self, x, y)
        return float(self._of((_unit(x).T @ _unit(y))[None])[0])

    def permuted(
        self,
        x: Num[np.ndarray, "stimulus unit_x"],
        ys: Sequence[Any],
        orders: Int[np.ndarray, "draw stimulus"],
    ) -> Float[np.ndarray, "draw subject"]:
        x = _unit(x)
        scores = []
        for y in map(_unit, ys):
            size = max(1, BLOCK // (x.shape[1] * y.shape[1] + y.size))
            scores.append(np.concatenate([
                self._of(x.T @ y[orders[first : first + size]])
                for first in range(0, len(orders), size)
            ]))  # fmt: skip
        return np.stack(scores, axis=1)

    def without(
        self,
        x: Num[np.ndarray, "stimulus unit_x"],
        ys: Sequence[Any],
        kept: Bool[np.ndarray, "group stimulus"],
    ) -> Float[np.ndarray, "group subject"]:
        return np.array([
            [float(self._of((part.T @ _unit(y[rows]))[None])[0]) for y in ys]
            for rows in kept
            for part in [_unit(x[rows])]
        ])  # fmt: skip

    def _of(self, products: Any) -> Any:
        norms = np.linalg.svd(products, compute_uv=False).sum(axis=-1)
        return 1 - 2 * np.arccos(np.minimum(norms, 1)) / np.pi if self.angular else norms


def _unit(x: Any) -> Any:
    """Centred and of length 1; zero where nothing varies."""
    centred = x - x.mean(axis=0)
    length = np.linalg.norm(centred)
    return centred / length if length > 1e-12 * np.linalg.norm(x) else np.zeros_like(centred)
