"""What a probe has to predict: targets, groups, items, and targets that mean nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Num, Shaped
from scipy.special import gammaln

from bregma.errors import InvalidArgument, NotIdentifiable
from bregma.mechanism.readout._held_out_predictions import (
    HeldOut,
    Split,
    balanced_accuracy,
    splits_of,
)
from bregma.recording import Recording
from bregma.run import spawn

Targets = Num[np.ndarray, " presentation"]
ALL = "all units"


@dataclass(frozen=True, eq=False)
class ProbeTask:
    """Targets and how they are predicted.

    Parameters
    ----------
    y : array (presentation,)
        Numbers of classes, or numbers.
    classes : array (class,) or None
        None where the target is a number.
    groups, items : array of int (presentation,)
        What is held out together, and what has one label in the control task.
    splits : list of Split
        The folds.
    penalties : tuple of float
        To choose from.
    seed : int
        Of everything random.
    """

    y: Targets
    classes: Shaped[np.ndarray, " class"] | None
    groups: Int[np.ndarray, " presentation"]
    items: Int[np.ndarray, " presentation"]
    splits: list[Split]
    penalties: tuple[float, ...]
    seed: int

    @classmethod
    def of(
        cls,
        target: Shaped[np.ndarray, " presentation"],
        groups: Shaped[np.ndarray, " presentation"],
        items: Shaped[np.ndarray, " presentation"],
        *,
        folds: int,
        penalties: tuple[float, ...],
        seed: int,
    ) -> ProbeTask:
        """Check and number what was given."""
        classes = None
        if target.dtype.kind == "f":
            y: Any = target.astype(np.float64)
            if not np.isfinite(y).all():
                raise InvalidArgument("the target holds NaN or infinity")
        else:
            classes, y = np.unique(target, return_inverse=True)
        if len(np.unique(y)) < 2:
            raise NotIdentifiable(f"the target is {target[0]!r} everywhere: nothing to predict")
        groups, items = (np.unique(g, return_inverse=True)[1] for g in (groups, items))
        return cls(y, classes, groups, items, splits_of(groups, folds, seed), penalties, seed)

    @property
    def chance(self) -> float:
        """Score of somebody who knows nothing."""
        return 0.0 if self.classes is None else 1 / len(self.classes)

    def predicted(self, held_out: HeldOut, y: Targets) -> tuple[Targets, list[float]]:
        """Held-out predictions of targets, and the penalties that were chosen."""
        return held_out.numbers(y) if self.classes is None else held_out.labels(y)

    def score(self, y: Targets, predicted: Targets, weight: Any = None) -> Any:
        """Balanced accuracy or R2, one for each row of weights of presentations."""
        if self.classes is not None:
            return balanced_accuracy(y, predicted, weight)
        weight = np.ones((1, len(y))) if weight is None else weight
        mean = np.empty(len(y))
        for split in self.splits:
            mean[split.test] = y[split.train].mean()
        return (1 - weight @ (y - predicted) ** 2 / (weight @ (y - mean) ** 2)).squeeze()

    def controls(self, n: int) -> list[Targets]:
        """Targets that are drawn for each item from those of all presentations."""
        n_items = int(self.items.max()) + 1
        if n_items < 2:
            raise NotIdentifiable("a control task needs 2 items or more; all presentations are one")
        rng, found = spawn(self.seed, "probe", "control"), list[Targets]()
        while len(found) < n:
            drawn = rng.choice(self.y, n_items)[self.items]
            if (drawn != drawn[0]).any():
                found.append(drawn)
        return found

    def exchanged(self, rng: np.random.Generator) -> Targets:
        """Targets of groups exchanged with each other where each has one, else within groups."""
        if not self.one_each:
            y = self.y.copy()
            for group in range(int(self.groups.max()) + 1):
                rows = np.flatnonzero(self.groups == group)
                y[rows] = self.y[rng.permutation(rows)]
            return y
        _, first = np.unique(self.groups, return_index=True)
        return self.y[first][rng.permutation(len(first))][self.groups]

    @property
    def n_arrangements(self) -> float:
        """In how many ways targets can be exchanged."""
        sizes = np.bincount(self.groups)
        log = float(gammaln((len(sizes) if self.one_each else sizes) + 1.0).sum())
        return float(round(math.exp(log))) if log < 700 else math.inf

    @property
    def one_each(self) -> bool:
        """Whether the target is the same all over each group."""
        _, first = np.unique(self.groups, return_index=True)
        return bool((self.y[first][self.groups] == self.y).all())

    def scores(
        self, recording: Recording, by: str | None, targets: Sequence[Targets]
    ) -> Float[np.ndarray, "site target"]:
        """Scores of each site for each target."""
        found = []
        for _, x in activity_by_site(recording, by):
            held_out = HeldOut(x, self.splits, self.penalties)
            found.append([float(self.score(y, self.predicted(held_out, y)[0])) for y in targets])
        return np.array(found)


def activity_by_site(
    recording: Recording, by: str | None
) -> Iterator[tuple[str, Num[np.ndarray, "presentation unit"]]]:
    """Names of sites and their activity, one at a time."""
    if by is None:
        yield ALL, np.asarray(recording.values, dtype=np.float64)
        return
    for site in dict.fromkeys(recording.coordinate(by).tolist()):
        yield str(site), np.asarray(recording.select(**{by: site}).values, dtype=np.float64)
