"""Decoding over time: when can the conditions of epochs be told apart?

Labels are exchanged within folds only. Folds hold the same number of each class before and after,
which is what makes the observed labels one arrangement among equals.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import Any, get_args

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.special import gammaln

from bregma.errors import InvalidArgument, NotIdentifiable
from bregma.evidence import permutation_p
from bregma.evidence._permutation import check_arrangements
from bregma.recording import Recording

from ._discriminant import DecodingMethod, arrangement_scores
from ._movie import sliding_windows


@dataclass(frozen=True, eq=False, kw_only=True)
class Decoding:
    """How well conditions are told apart at each time, and how well by chance.

    Parameters
    ----------
    times : array of shape (time,)
        Seconds.
    score : array of shape (time,)
        Balanced accuracy, or crossnobis distance.
    null : array of shape (permutation, time)
        Scores under exchanged labels.
    chance : float
        Score without information.
    level : float
        Of the bands.
    classes : tuple
        The conditions.
    n : dict of str to int
        Epochs of each condition, folds, permutations, times.
    method, exchanged, n_arrangements, settings, seed, citations
        As in `bregma.evidence.Evidence`.
    """

    times: Float[np.ndarray, " time"]
    score: Float[np.ndarray, " time"]
    null: Float[np.ndarray, "permutation time"]
    chance: float
    level: float
    classes: tuple[Any, ...]
    n: dict[str, int]
    method: str
    exchanged: str
    n_arrangements: float
    seed: int
    settings: dict[str, Any] = field(default_factory=dict)
    citations: tuple[str, ...] = ()

    @property
    def p_value(self) -> Float[np.ndarray, " time"]:
        """Against the largest score over time of each permutation.

        The chance of one or more false times is at most this.
        """
        largest = self.null.max(axis=1)
        return np.array([permutation_p(score, largest) for score in self.score.tolist()])

    @property
    def p_pointwise(self) -> Float[np.ndarray, " time"]:
        """Against the same time of each permutation: not corrected for the number of times."""
        each = zip(self.score.tolist(), self.null.T, strict=True)
        return np.array([permutation_p(score, at_time) for score, at_time in each])

    @property
    def band(self) -> Float[np.ndarray, "time 2"]:
        """Where a share `level` of the permutations lies at each time."""
        return np.quantile(self.null, [(1 - self.level) / 2, (1 + self.level) / 2], axis=0).T

    @property
    def threshold(self) -> float:
        """What only a share 1 - `level` of the permutations reaches at any time."""
        return float(np.quantile(self.null.max(axis=1), self.level, method="higher"))

    @property
    def significant(self) -> Any:
        """Times at which the corrected p-value is at most 1 - level, as booleans."""
        return self.p_value <= 1 - self.level + 1e-12

    @property
    def sentence(self) -> str:
        """The result in plain words."""
        classes = " and ".join(map(str, self.classes)) if len(self.classes) < 4 else (
            f"{len(self.classes)} conditions"
        )  # fmt: skip
        best = int(np.argmax(self.score))
        what = "accuracy" if self.chance else "distance"
        peak = f"best {what} {self.score[best]:.3g} at {self.times[best]:.3g} s"
        peak += f" (chance {self.chance:.3g})" if self.chance else ""
        corrected = f"corrected over {len(self.times)} times, p <= {1 - self.level:.3g}"
        if not self.significant.any():
            return f"{classes} cannot be told apart at any time ({corrected}); {peak}."
        runs = ", ".join(
            f"{self.times[a]:.3g} to {self.times[b]:.3g} s" if a < b else f"{self.times[a]:.3g} s"
            for a, b in _runs(self.significant)
        )
        return f"{classes} can be told apart at {runs} ({corrected}); {peak}."

    def to_frame(self) -> pd.DataFrame:
        """One row for each time.

        Returns
        -------
        pandas.DataFrame
            Columns time, score, low, high (the band), p_value, p_pointwise.
        """
        return pd.DataFrame({
            "time": self.times, "score": self.score, "low": self.band[:, 0],
            "high": self.band[:, 1], "p_value": self.p_value, "p_pointwise": self.p_pointwise,
        })  # fmt: skip

    def to_json(self) -> str:
        """Everything but the single permutations as JSON text.

        Returns
        -------
        str
            An object; ``times`` holds the columns of `to_frame`.
        """
        return json.dumps(
            {
                "kind": "bregma decoding",
                "sentence": self.sentence,
                "classes": list(map(str, self.classes)),
                "chance": self.chance,
                "threshold": self.threshold,
                "level": self.level,
                "n": self.n,
                "method": self.method,
                "exchanged": self.exchanged,
                "seed": self.seed,
                "settings": self.settings,
                "times": self.to_frame().to_dict("list"),
            },
            allow_nan=False,
        )

    def __repr__(self) -> str:
        return f"Decoding({self.method}: {self.sentence})"


def decode_over_time(
    recording: Recording,
    by: str = "stimulus",
    *,
    method: DecodingMethod = "lda",
    folds: int = 5,
    window: float | None = None,
    step: float | None = None,
    n_permutations: int = 200,
    level: float = 0.95,
    seed: int,
) -> Decoding:
    """Decode the condition of epochs at each time, with permutation bands.

    Parameters
    ----------
    recording : Recording
        Epochs with time. They must be exchangeable where conditions do not differ: overlapping
        epochs, or conditions that were shown in separate blocks, are not.
    by : str
        Presentation coordinate that holds the conditions.
    method : {"lda", "crossnobis"}
        Cross-validated linear discriminant analysis with a shrunk covariance (balanced accuracy),
        or the cross-validated Mahalanobis distance (mean over pairs of conditions, divided by the
        number of units).
    folds : int
        Epochs of each condition are dealt into so many folds at random.
    window, step : float, optional
        Sliding windows to average over, as in `rdm_movie`.
    n_permutations : int
        How often labels are exchanged.
    level : float
        Level of the bands; 1 - `level` is that of the test.
    seed : int
        Seed of folds and permutations.

    Returns
    -------
    Decoding
        Scores, bands and p-values over time.

    Raises
    ------
    InvalidArgument
        No time, unknown method.
    NotIdentifiable
        One condition, fewer epochs of a condition than folds, or too few permutations.

    References
    ----------
    Blankertz et al. (2011), Single-trial analysis and classification of ERP components.
    Maris and Oostenveld (2007), Nonparametric statistical testing of EEG- and MEG-data.
    Walther et al. (2016), Reliability of dissimilarity measures for multi-voxel pattern analysis.
    """
    if not recording.has_time:
        raise InvalidArgument("decoding over time needs epochs with time")
    if method not in get_args(DecodingMethod):
        raise InvalidArgument(f"method={method!r} is not one of {get_args(DecodingMethod)}")
    if not 0 < level < 1 or n_permutations < 1 or folds < 2:
        raise InvalidArgument(
            "the level lies in (0, 1), permutations are at least 1 and folds at least 2, not "
            f"{level}, {n_permutations} and {folds}"
        )
    if recording.dim_of(by) != "presentation":
        raise InvalidArgument(f"conditions are labels of presentations; {by!r} labels units")
    classes, label = np.unique(recording.coordinate(by), return_inverse=True)
    counts = np.bincount(label)
    _check_counts(classes, counts, folds, by)
    _check_permutations(n_permutations, level)

    rng = np.random.default_rng(seed)
    fold = _stratified(label, folds, rng)
    arrangements = _count_arrangements(label, fold)
    check_arrangements(
        arrangements, 1 - level, "labels can be exchanged within folds", "Use more epochs"
    )
    orders = np.stack(
        [np.arange(len(label)), *(_within_folds(fold, rng) for _ in range(n_permutations))]
    )
    labels = label[orders]  # (permutation + 1, epoch), the observed ones first
    times, windows = sliding_windows(recording.times, window, step)
    values = recording.values
    score = np.stack([
        arrangement_scores(
            np.asarray(values[:, t] if windows is None else values[:, windows[t]].mean(axis=1),
                       dtype=float), labels, fold, len(classes), method)
        for t in range(len(times))
    ], axis=1)  # fmt: skip
    return Decoding(
        times=times,
        score=score[0],
        null=score[1:],
        chance=1 / len(classes) if method == "lda" else 0.0,
        level=level,
        classes=tuple(classes.tolist()),
        n={**{str(c): int(k) for c, k in zip(classes, counts, strict=True)}, "folds": folds,
           "permutations": n_permutations, "times": len(times)},
        method={"lda": "shrinkage LDA, balanced accuracy", "crossnobis": "crossnobis distance"}[
            method
        ],
        exchanged=f"the labels {by!r} of epochs in the same fold, at all times alike",
        n_arrangements=arrangements,
        seed=seed,
        settings={"by": by, "method": method, "folds": folds, "window": window, "step": step,
                  "n_permutations": n_permutations, "level": level},
        citations=(
            ("blankertz2011erp" if method == "lda" else "walther2016reliability"),
            "maris2007nonparametric",
        ),
    )  # fmt: skip


def _stratified(label: Any, folds: int, rng: np.random.Generator) -> Any:
    """Deal the epochs of each class into folds, going on where the last class stopped."""
    fold, start = np.empty(len(label), dtype=int), 0
    for c in range(label.max() + 1):
        rows = rng.permutation(np.flatnonzero(label == c))
        fold[rows] = (start + np.arange(len(rows))) % folds
        start += len(rows)
    return fold


def _within_folds(fold: Any, rng: np.random.Generator) -> Any:
    order = np.arange(len(fold))
    for f in range(fold.max() + 1):
        rows = np.flatnonzero(fold == f)
        order[rows] = rng.permutation(rows)
    return order


def _count_arrangements(label: Any, fold: Any) -> float:
    log = 0.0
    for f in range(fold.max() + 1):
        counts = np.bincount(label[fold == f])
        log += float(gammaln(counts.sum() + 1) - gammaln(counts + 1).sum())
    return float(np.round(np.exp(log))) if log < 34 else (math.exp(log) if log < 700 else math.inf)


def _runs(mask: Any) -> list[tuple[int, int]]:
    """First and last index of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(int), [0]])))
    return [(int(a), int(b) - 1) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _check_counts(classes: Any, counts: Any, folds: int, by: str) -> None:
    if len(classes) < 2:
        raise NotIdentifiable(f"all epochs have the same {by!r}: nothing can be told apart")
    if counts.min() < folds:
        raise NotIdentifiable(
            f"{counts.min()} epochs of {by}={classes[counts.argmin()].item()!r} cannot be dealt "
            f"into {folds} folds; use folds={max(int(counts.min()), 2)} or more epochs"
        )


def _check_permutations(n_permutations: int, level: float) -> None:
    if 1 / (1 + n_permutations) > 1 - level + 1e-12:
        raise NotIdentifiable(
            f"{n_permutations} permutations reach p = {1 / (1 + n_permutations):.3g} at best; "
            f"the level needs {1 - level:.3g}: use at least "
            f"{int(np.ceil(1 / (1 - level) - 1e-9)) - 1}"
        )
