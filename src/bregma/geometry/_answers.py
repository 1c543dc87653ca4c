"""A part of a brain against all models, by RDMs or by responses: the raw numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bregma.errors import InvalidArgument, UnknownName
from bregma.evidence import Inferred
from bregma.recording import Dissimilarity, Recording

from ._distances import CorrelationDistance, CosineDistance, Distance, EuclideanDistance
from ._factors import Factor
from ._infer_rdms import infer_rdms, score_rdms
from ._infer_responses import Halves, infer_responses
from ._rdm import rdm
from ._rdm_comparison import RDMComparison
from ._response_comparison import ResponseComparison
from ._sides import Data, Side

REPLICATES = ("subject", "session")
N_HALVES = 10  # random splits of the repeats, averaged
NOISE_FREE = (CorrelationDistance, CosineDistance, EuclideanDistance)  # need no repeats, no noise


@dataclass(frozen=True)
class Question:
    """How the two sides are compared; everything that does not depend on the part of the brain."""

    comparison: RDMComparison | ResponseComparison
    distance: Distance
    replicates: str | None
    over: tuple[Factor, ...]
    n_bootstrap: int
    n_permutations: int
    seed: int


@dataclass(frozen=True)
class Answer:
    """Raw numbers for one part of the brain, and the RDMs behind them for figures."""

    inferred: Inferred
    twin_scores: list[list[float]]
    brain: Dissimilarity
    models: list[Dissimilarity]
    replicates: str | None


def answer(part: Data, sides: Sequence[Side], question: Question) -> Answer:
    """Ask the question of one part of the brain."""
    by = _by_rdms if isinstance(question.comparison, RDMComparison) else _by_responses
    return by(part, sides, question)


def _replicates(names: Sequence[str], wanted: str | None) -> str | None:
    if wanted is not None:
        if wanted not in names:
            raise UnknownName.of("coordinate of replicates", wanted, names)
        return wanted
    return next((name for name in REPLICATES if name in names), None)


def _by_rdms(part: Data, sides: Sequence[Side], question: Question) -> Answer:
    comparison = question.comparison
    assert isinstance(comparison, RDMComparison)
    if isinstance(part, Recording):
        replicates = _replicates(part.coordinate_names(), question.replicates)
        data = rdm(part, question.distance, by=replicates)
    else:
        replicates = _replicates([str(name) for name in part.rdms], question.replicates)
        data = part
    own = isinstance(question.distance, NOISE_FREE)
    as_rdm = _as_rdm(question.distance if own else EuclideanDistance(), data)
    models = [as_rdm(side.data).named(side.name) for side in sides]
    inferred = infer_rdms(
        comparison,
        data,
        models,
        subject=replicates,
        over=question.over,
        n_bootstrap=question.n_bootstrap,
        n_permutations=question.n_permutations,
        seed=question.seed,
    )
    twins = [
        [float(score_rdms(comparison, data, [as_rdm(twin)], subject=replicates)[0])
         for twin in side.twins]
        for side in sides
    ]  # fmt: skip
    return Answer(inferred, twins, data, models, replicates)


def _as_rdm(distance: Distance, like: Dissimilarity) -> Callable[[Data], Dissimilarity]:
    def convert(data: Data) -> Dissimilarity:
        found = rdm(data, distance) if isinstance(data, Recording) else data.mean()
        return found.select_stimuli(like.stimuli)

    return convert


def _by_responses(part: Data, sides: Sequence[Side], question: Question) -> Answer:
    comparison = question.comparison
    assert isinstance(comparison, ResponseComparison)
    for name, data in [("brain", part), *((side.name, side.data) for side in sides)]:
        if isinstance(data, Dissimilarity):
            raise InvalidArgument(
                f"{name!r} is dissimilarities; {comparison.name} compares responses. "
                "Use by='rsa', or give the responses"
            )
        if data.has_time:
            raise InvalidArgument(f"{name!r} has time: use .mean_time((start, stop)) first")
    assert isinstance(part, Recording)
    replicates = _replicates(part.coordinate_names(), question.replicates)
    pieces = [part] if replicates is None else list(part.split(replicates).values())
    stimuli = part.unique_stimuli
    subjects = [_means(piece, stimuli) for piece in pieces]
    models = [_means(side.data, stimuli) for side in sides]
    inferred = infer_responses(
        comparison,
        subjects,
        models,
        halves=_halves(pieces, question.seed),
        n_permutations=question.n_permutations,
        over=question.over,
        seed=question.seed,
    )
    twins = [
        [_mean_score(comparison, _means(twin, stimuli), subjects) for twin in side.twins]
        for side in sides
    ]
    distance = EuclideanDistance()  # for figures: defined for a single unit, too
    shown = [
        rdm(model, distance).named(side.name) for model, side in zip(models, sides, strict=True)
    ]
    return Answer(inferred, twins, rdm(part, distance), shown, replicates)


def _halves(pieces: Sequence[Recording], seed: int) -> Halves | None:
    """Random halves of the repeats of a single subject, which tell how reliable it is."""
    counts = np.unique(pieces[0].stimuli, return_counts=True)[1]
    if len(pieces) > 1 or counts.min() < 2:
        return None
    return pieces[0].split_halves(N_HALVES, seed=seed)


def _mean_score(
    comparison: ResponseComparison, model: Recording, subjects: Sequence[Recording]
) -> float:
    return float(np.mean([comparison.compare(model.values, s.values) for s in subjects]))


def _means(data: Data, stimuli: Any) -> Recording:
    assert isinstance(data, Recording)
    return data.average_repeats().select_stimuli(stimuli)
