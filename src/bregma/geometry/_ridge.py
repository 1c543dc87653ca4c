"""Ridge predictivity: how well a model predicts the responses to stimuli it was not fitted on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from jaxtyping import Bool, Float, Int, Num

from bregma.errors import InvalidArgument

from ._response_comparison import BLOCK, ResponseComparison, checked_pair, enough_stimuli


@dataclass(frozen=True)
class RidgePredictivity(ResponseComparison):
    """Cross-validated ridge regression from model to data, scored for each unit of the data.

    Stimuli are split into folds at random, three or more in each. For each fold the regression is
    fitted on all others; the penalty is chosen there, for each unit of the data, by generalised
    cross-validation. No stimulus is ever in both parts, and nothing about a fold (not even its
    mean) is used for its prediction. Model and data are not exchangeable.

    Parameters
    ----------
    alphas : tuple of float
        Penalties, as multiples of the mean squared length of the model's (centred) responses, so
        that the scale of the model has no effect.
    folds : int
        Number of folds.
    seed : int
        Seed of the split.
    score : {"pearson", "r2"}
        Correlation of prediction and response within folds (deviations from the mean of the fold,
        pooled over folds: fold means of the training data would bring in a negative correlation),
        or 1 - squared error / squared error of the mean of the training data. A unit (or a
        prediction) that never varies scores 0.
    over : {"mean", "median"}
        How the scores of the units become one.

    References
    ----------
    Hoerl and Kennard (1970), Ridge regression: biased estimation for nonorthogonal problems.
    Golub, Heath and Wahba (1979), Generalized cross-validation as a method for choosing a good
    ridge parameter.
    Yamins et al. (2014), Performance-optimized hierarchical models predict neural responses.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(0).standard_normal((40, 5))
    >>> round(RidgePredictivity().compare(x, x[:, :2] - x[:, 2:4]), 2)
    1.0
    """

    alphas: tuple[float, ...] = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)
    folds: int = 5
    seed: int = 0
    score: Literal["pearson", "r2"] = "pearson"
    over: Literal["mean", "median"] = "mean"
    rotates_data: ClassVar[bool] = False  # every unit of the data has its own score
    citations: ClassVar[tuple[str, ...]] = ("hoerl1970ridge", "golub1979gcv", "yamins2014")

    def __post_init__(self) -> None:
        if not self.alphas or min(self.alphas) <= 0:
            raise InvalidArgument(f"penalties must be positive, not {self.alphas}")
        if self.folds < 2:
            raise InvalidArgument(f"at least two folds are needed, not {self.folds}")
        if self.score not in ("pearson", "r2") or self.over not in ("mean", "median"):
            raise InvalidArgument(
                f"score={self.score!r} must be 'pearson' or 'r2', over={self.over!r} 'mean' or "
                "'median'"
            )

    @property
    def name(self) -> str:
        what = {"pearson": "correlation", "r2": "R2"}[self.score]
        return f"ridge predictivity ({self.over} {what} over units, {self.folds} folds)"

    def check_stimuli(self, n: int) -> None:
        enough_stimuli(n, 3 * self.folds, f"{self.folds}-fold ridge predictivity")

    def compare(
        self, x: Num[np.ndarray, "stimulus_x unit_x"], y: Num[np.ndarray, "stimulus_y unit_y"]
    ) -> float:
        x, y = checked_pair(self, x, y)
        return float(self._pooled(self._unit_scores(x, y), [y])[0, 0])

    def unit_scores(
        self, x: Num[np.ndarray, "stimulus_x unit_x"], y: Num[np.ndarray, "stimulus_y unit_y"]
    ) -> Float[np.ndarray, " unit_y"]:
        """Score of each unit of the data.

        Parameters
        ----------
        x : array of shape (stimulus, unit)
            Responses of the model.
        y : array of shape (stimulus, unit)
            Responses to be predicted.

        Returns
        -------
        array of shape (unit,)
            Scores.
        """
        return self._unit_scores(*checked_pair(self, x, y))

    def permuted(
        self,
        x: Num[np.ndarray, "stimulus unit_x"],
        ys: Sequence[Any],
        orders: Int[np.ndarray, "draw stimulus"],
    ) -> Float[np.ndarray, "draw subject"]:
        y = np.concatenate(ys, axis=1)
        parts = self._parts(x, np.ones(len(x), dtype=bool))
        size = max(1, BLOCK // (4 * y.size))
        scores = []
        for first in range(0, len(orders), size):
            block = y[orders[first : first + size]]  # (draw, stimulus, unit)
            columns = block.transpose(1, 0, 2).reshape(len(x), -1)
            scores.append(self._pooled(self._scored(parts, columns), ys))
        return np.concatenate(scores)

    def without(
        self,
        x: Num[np.ndarray, "stimulus unit_x"],
        ys: Sequence[Any],
        kept: Bool[np.ndarray, "group stimulus"],
    ) -> Float[np.ndarray, "group subject"]:
        y = np.concatenate(ys, axis=1)
        # A penalty jumps with the data; held fixed, a deletion is a small change.
        everything = self._parts(x, np.ones(len(x), dtype=bool))
        chosen = {part.fold: self._penalties(part, y[part.train])[0] for part in everything}
        return np.concatenate([
            self._pooled(self._scored(self._parts(x, rows), y, chosen), ys) for rows in kept
        ])  # fmt: skip

    def _unit_scores(self, x: Any, y: Any) -> Any:
        return self._scored(self._parts(x, np.ones(len(x), dtype=bool)), y)

    def _pooled(self, scores: Any, ys: Sequence[Any]) -> Any:
        """(draw * unit of all subjects,) -> (draw, subject)."""
        ends = np.cumsum([y.shape[1] for y in ys])
        by_draw = scores.reshape(-1, ends[-1])
        pool = np.mean if self.over == "mean" else np.median
        return np.stack([pool(part, axis=1) for part in np.split(by_draw, ends[:-1], axis=1)], 1)

    def _parts(self, x: Any, kept: Any) -> list[_Part]:
        fold = np.empty(len(x), dtype=int)
        fold[np.random.default_rng(self.seed).permutation(len(x))] = np.arange(len(x)) % self.folds
        parts = []
        for f in range(self.folds):
            train, test = np.flatnonzero(kept & (fold != f)), np.flatnonzero(kept & (fold == f))
            if len(test):
                parts.append(_Part(f, train, test, *_decompose(x[train], x[test])))
        return parts

    def _penalties(self, part: _Part, y: Any) -> tuple[Any, Any]:
        """Index of the penalty with the smallest generalised cross-validation error, per column.

        With it the weights u' y of the components.
        """
        centred = y - y.mean(axis=0)
        weights = part.u.T @ centred  # (component, column)
        if len(self.alphas) == 1:
            return np.zeros(y.shape[1], dtype=int), weights
        alphas = self._absolute(part)[:, None]
        power = weights**2
        shrink = alphas / (part.values + alphas)  # (alpha, component)
        unexplained = np.einsum("ic,ic->c", centred, centred) - power.sum(axis=0)
        error = np.maximum(unexplained, 0) + shrink**2 @ power  # (alpha, column)
        free = len(y) - 1 - (1 - shrink).sum(axis=1)  # degrees of freedom of the residuals
        return np.argmin(error / free[:, None] ** 2, axis=0), weights

    def _absolute(self, part: _Part) -> Any:
        return np.array(self.alphas) * part.values.sum() / len(part.train)

    def _scored(self, parts: list[_Part], y: Any, chosen: dict[int, Any] | None = None) -> Any:
        """Scores of the columns of y, with the chosen penalties or the best ones."""
        products, of_prediction, of_response = np.zeros((3, y.shape[1]))
        for part in parts:
            mean = y[part.train].mean(axis=0)
            best, weights = self._penalties(part, y[part.train])
            best = best if chosen is None else chosen[part.fold]
            gains = 1 / (part.values[:, None] + self._absolute(part))  # (component, alpha)
            weights *= gains[:, best]
            predicted = part.to_test @ weights
            response = y[part.test] - mean
            if self.score == "r2":
                products += np.sum((response - predicted) ** 2, axis=0)
            else:
                predicted -= predicted.mean(axis=0)
                response -= response.mean(axis=0)
                products += np.einsum("ic,ic->c", predicted, response)
                of_prediction += np.einsum("ic,ic->c", predicted, predicted)
            of_response += np.einsum("ic,ic->c", response, response)
        if self.score == "r2":
            seen = of_response > 0
            return np.where(seen, 1 - products / np.where(seen, of_response, 1), 0.0)
        size = np.sqrt(of_prediction * of_response)
        return np.where(size > 0, products / np.where(size > 0, size, 1), 0.0)


@dataclass(frozen=True, eq=False)
class _Part:
    """One fold: the stimuli of both parts, and the decomposition of the model."""

    fold: int
    train: Any
    test: Any
    u: Any  # (train, component)
    values: Any  # (component,)
    to_test: Any  # (test, component)


def _decompose(train: Any, test: Any) -> tuple[Any, Any, Any]:
    """Left singular vectors u and squared singular values of the centred training part.

    The prediction for the test part is to_test @ (u' y / (values + alpha)). Whichever Gram matrix
    is smaller is decomposed.
    """
    mean = train.mean(axis=0)
    train, test = train - mean, test - mean
    rows, columns = train.shape
    if columns > rows:
        values, u = np.linalg.eigh(train @ train.T)
        keep = values > max(values[-1], 0) * rows * np.finfo(float).eps
        values, u = values[keep], u[:, keep]
        return u, values, test @ (train.T @ u)
    values, v = np.linalg.eigh(train.T @ train)
    keep = values > max(values[-1], 0) * rows * np.finfo(float).eps
    values, v = values[keep], v[:, keep]
    return train @ v / np.sqrt(values), values, test @ v * np.sqrt(values)
