"""Linear predictions of what was held out, for many targets of the same activity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Num
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from bregma.errors import InvalidArgument, NotIdentifiable
from bregma.run import derive

Rows = Int[np.ndarray, " row"]


@dataclass(frozen=True)
class Split:
    """Rows to learn from, to be tested on, and the part of the first that chooses the penalty."""

    train: Int[np.ndarray, " train"]
    test: Int[np.ndarray, " test"]
    choosing: Bool[np.ndarray, " train"]


def splits_of(groups: Int[np.ndarray, " row"], folds: int, seed: int) -> list[Split]:
    """Folds of whole groups, drawn without a look at the targets, so that these can be exchanged.

    Raises
    ------
    InvalidArgument
        Fewer than two folds.
    NotIdentifiable
        Fewer groups than folds, or so few that a fold leaves one to learn from.
    """
    n = len(np.unique(groups))
    if folds < 2:
        raise InvalidArgument(f"folds={folds} must be 2 or more")
    needed = max(folds, 4 if folds == 2 else 3)  # two or more are left where one fold is held out
    if n < needed:
        raise NotIdentifiable(
            f"{n} groups cannot be dealt into {folds} folds, of which one is held out and the rest "
            f"has a part to choose the penalty with; use at least {needed} groups"
        )
    found = []
    state = derive(seed, "probe", "folds") % 2**32
    for train, test in _dealt(groups, folds, state):
        _, choosing = next(_dealt(groups[train], min(4, n - 1), state))
        part = np.zeros(len(train), dtype=bool)
        part[choosing] = True
        found.append(Split(train, test, part))
    return found


def _dealt(groups: Rows, folds: int, state: int) -> Any:
    n_groups = len(np.unique(groups))
    deal = GroupKFold(min(folds, n_groups), shuffle=True, random_state=state)
    return iter(deal.split(groups, groups=groups))


class HeldOut:
    """Activity at one site, standardised in each fold once, for any number of targets.

    A squared penalty does not change with a rotation, so that wide activity is turned into as many
    numbers as there are rows, without any loss.

    Parameters
    ----------
    x : array (row, unit)
        Activity.
    splits : sequence of Split
        What is held out when.
    penalties : sequence of float
        Of which the best one is chosen among the training rows of each fold.
    """

    def __init__(
        self, x: Num[np.ndarray, "row unit"], splits: Sequence[Split], penalties: Sequence[float]
    ) -> None:
        self.splits, self.penalties = splits, penalties
        self.parts = []
        for split in splits:
            seen = reduction(len(split.train), x.shape[1]).fit(x[split.train])
            self.parts.append((seen.transform(x[split.train]), seen.transform(x[split.test])))

    def labels(self, y: Int[np.ndarray, " row"]) -> tuple[Rows, list[float]]:
        """Predicted class of each row, and the penalty of each fold."""
        found, chosen = np.empty(len(y), dtype=np.int64), []
        for split, (train, test) in zip(self.splits, self.parts, strict=True):
            own = y[split.train]
            penalty = self._chosen(train, own, split.choosing, _hits)
            found[split.test] = logistic(penalty, train, own).predict(test)
            chosen.append(penalty)
        return found, chosen

    def numbers(
        self, y: Float[np.ndarray, " row"]
    ) -> tuple[Float[np.ndarray, " row"], list[float]]:
        """Predicted number of each row, and the penalty of each fold."""
        found, chosen = np.empty(len(y)), []
        for split, (train, test) in zip(self.splits, self.parts, strict=True):
            own = y[split.train]
            penalty = self._chosen(train, own, split.choosing, _closeness)
            found[split.test] = Ridge(alpha=penalty).fit(train, own).predict(test)
            chosen.append(penalty)
        return found, chosen

    def _chosen(self, x: Any, y: Any, choosing: Any, good: Any) -> float:
        if len(self.penalties) == 1:
            return self.penalties[0]
        fit_x, fit_y, x, y = x[~choosing], y[~choosing], x[choosing], y[choosing]
        # Of equally good ones the largest.
        return max(sorted(self.penalties, reverse=True), key=lambda p: good(p, fit_x, fit_y, x, y))


def reduction(n: int, n_units: int) -> Any:
    """Standard scores, turned into n numbers where there are more units than that."""
    if n_units <= n:
        return StandardScaler()
    return make_pipeline(StandardScaler(), PCA(svd_solver="full"))


class _Constant:
    def __init__(self, value: int) -> None:
        self.value = value

    def predict(self, x: Any) -> Rows:
        return np.full(len(x), self.value)


def logistic(penalty: float, x: Any, y: Any) -> Any:
    """A fitted logistic regression whose classes weigh the same; the only class where there is one.

    The penalty is half the squared length of the weights, times this.
    """
    if (y == y[0]).all():
        return _Constant(y[0])
    model = LogisticRegression(C=1 / penalty, class_weight="balanced", max_iter=2000, tol=1e-3)
    return model.fit(x, y)


def balanced_accuracy(y: Rows, predicted: Rows, weight: Any = None) -> Any:
    """Mean over classes of the share that is right; one for each row of weights."""
    weight = np.ones((1, len(y))) if weight is None else weight
    classes, y = np.unique(y, return_inverse=True)
    own = np.eye(len(classes))[y]  # (row, class)
    right = (weight * (classes[y] == predicted)) @ own
    there = weight @ own
    return ((right / np.maximum(there, 1e-300)).sum(1) / (there > 0).sum(1)).squeeze()


def _hits(penalty: float, x: Any, y: Any, test_x: Any, test_y: Any) -> float:
    return float(balanced_accuracy(test_y, logistic(penalty, x, y).predict(test_x)))


def _closeness(penalty: float, x: Any, y: Any, test_x: Any, test_y: Any) -> float:
    return -float(((Ridge(alpha=penalty).fit(x, y).predict(test_x) - test_y) ** 2).mean())
