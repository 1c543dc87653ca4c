"""The main question: is this model like this brain, how sure are we, and is it real?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bregma.errors import InvalidArgument, UnknownName
from bregma.evidence import EvidenceSet, Null, assemble
from bregma.recording import Dissimilarity, Recording
from bregma.run import progress as show_progress

from ._answers import Answer, Question, answer
from ._distances import CorrelationDistance, Distance
from ._factors import as_factors
from ._names import DISTANCES, METHODS, RDM_COMPARISONS, RESPONSE_COMPARISONS, named
from ._rdm_comparison import RDMComparison
from ._response_comparison import ResponseComparison
from ._sides import Data, Side, as_data, as_models, as_stimuli, at_shared_stimuli


def compare(
    brain: Any,
    models: Any,
    *,
    by: str | RDMComparison | ResponseComparison = "rsa",
    stimuli: Any = None,
    distance: str | Distance | None = None,
    comparison: str | RDMComparison | None = None,
    each: str | None = None,
    replicates: str | None = None,
    over: Sequence[str] = ("subject", "stimulus"),
    twins: int = 0,
    n_bootstrap: int = 1000,
    n_permutations: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    progress: bool = False,
) -> EvidenceSet:
    """Compare a brain with models, with nulls, ceilings, intervals and tests between models.

    Parameters
    ----------
    brain : path, Recording, Dissimilarity or System
        What is to be explained. Labels of ``subject`` (or else ``session``) are separate
        measurements; they give the noise ceiling.
    models : path, Recording, Dissimilarity, System, name, or a sequence or mapping of them
        What may explain it. Names are those of `bregma.system.load`, such as ``"pixels"``,
        ``"v1"`` or ``"timm:resnet18@layer3"``. Each layer of a system is a model of its own.
    by : str, RDMComparison or ResponseComparison
        ``"rsa"``, ``"cka"``, ``"procrustes"``, ``"ridge"``, ``"svcca"``, or the object that
        compares.
    stimuli : Stimuli, array, folder or file, optional
        What is shown to systems. It need not be given where models are data.
    distance : str or Distance, optional
        How RDMs are made, ``"correlation"`` where none is given. Models are noise-free: where the
        distance of the brain is cross-validated or divides by noise, theirs is Euclidean.
    comparison : str or RDMComparison, optional
        How RDMs are compared; Pearson correlation where none is given.
    each : str, optional
        A unit coordinate of the brain (or a column of its RDMs), such as ``"area"``: one
        comparison for each label.
    replicates : str, optional
        The coordinate whose labels are separate measurements of the same thing, where it is
        neither ``subject`` nor ``session``; ``"repeat"``, for example.
    over : sequence of {"subject", "stimulus"}
        What intervals and tests generalise to: new subjects (replicates), new stimuli, or both.
        One subject has stimuli only; a ceiling that generalises to new subjects needs three.
    twins : int
        How many untrained twins of each network to show as a null of the system.
    n_bootstrap, n_permutations : int
        Samples of the bootstrap and arrangements of the labels.
    level : float
        Level of the intervals.
    seed : int
        What all randomness follows from.
    progress : bool
        Show a bar where stderr is a terminal.

    Returns
    -------
    EvidenceSet
        One `Evidence` for each brain (or part) and model, with the tests between models.

    Raises
    ------
    NotIdentifiable
        Too few stimuli, subjects or arrangements; the message says what is missing.
    UnknownName
        No such method, distance, comparison, coordinate or model.
    InvalidArgument
        What does not fit together.

    References
    ----------
    Kriegeskorte, Mur and Bandettini (2008), Representational similarity analysis.
    Schütt et al. (2023), Statistical inference on representational geometries.

    Examples
    --------
    >>> import numpy as np, bregma
    >>> rng = np.random.default_rng(0)
    >>> truth = rng.normal(size=(20, 5))
    >>> brain = bregma.Recording.from_array(truth @ rng.normal(size=(5, 30)))
    >>> right = bregma.Recording.from_array(truth, name="right")
    >>> wrong = bregma.Recording.from_array(rng.normal(size=(20, 5)), name="wrong")
    >>> found = bregma.compare(brain, [right, wrong])
    >>> found["right"].score > 0.5 > found["wrong"].score
    True
    """
    question = Question(
        comparison=_comparison(by, comparison),
        distance=named("distance", distance or CorrelationDistance(), DISTANCES),
        replicates=replicates,
        over=as_factors(over),
        n_bootstrap=n_bootstrap,
        n_permutations=n_permutations,
        seed=seed,
    )
    shown = as_stimuli(stimuli)
    data = as_data(brain, shown, "brain")
    sides = as_models(models, shown, n_twins=twins, seed=seed)
    if not sides:
        raise InvalidArgument(
            "there is no model to compare the brain with; to ask whether its conditions differ "
            "over time, use bregma.geometry.decode_over_time (on the command line: --by decoding)"
        )
    parts = _parts(data, each)
    sets: list[EvidenceSet] = []
    brains: list[Dissimilarity] = []
    others: dict[str, Dissimilarity] = {}
    with show_progress[Any](what="comparing", total=len(parts), show=progress) as bar:
        for name, part in parts.items():
            part, models_at = at_shared_stimuli(part, sides)
            found = answer(part, models_at, question)
            brains.append(found.brain.named(name))
            others |= {str(d.name): d for d in found.models}
            sets.append(_assembled(found, name, sides, question, level, each))
            bar.advance(1)
    joined = EvidenceSet.join(sets)
    return joined.showing(rdms=[*brains, *others.values()], stimuli=shown)


def _comparison(by: Any, comparison: Any) -> RDMComparison | ResponseComparison:
    if by == "rsa":
        return named("comparison of RDMs", comparison or "pearson", RDM_COMPARISONS)
    if comparison is not None:
        raise InvalidArgument(f"comparison= says how RDMs are compared; by={by!r} uses none")
    if isinstance(by, str) and by not in METHODS:
        raise UnknownName.of("method", by, METHODS)
    return named("method", by, RESPONSE_COMPARISONS)


def _parts(data: Data, each: str | None) -> dict[str, Data]:
    if each is None:
        return {data.name or "brain": data}
    if isinstance(data, Recording):
        parts: dict[Any, Data] = dict(data.split(each))
    else:
        labels = dict.fromkeys(data.column(each).tolist())
        parts = {label: data.select(**{each: label}) for label in labels}
    before = f"{data.name}/" if data.name else ""
    return {f"{before}{label}": part for label, part in parts.items()}


def _assembled(
    found: Answer,
    name: str,
    sides: Sequence[Side],
    question: Question,
    level: float,
    each: str | None,
) -> EvidenceSet:
    method = question.comparison
    rsa = isinstance(method, RDMComparison)
    settings: dict[str, Any] = {
        "comparison": method.name,
        "n_permutations": question.n_permutations,
        "replicates": found.replicates,
        "over": question.over,
        "each": each,
        "level": level,
    }
    if rsa:
        settings |= {"distance": question.distance.name, "n_bootstrap": question.n_bootstrap}
    nulls: Mapping[str, Null] = {
        side.name: Null.of(
            float(found.inferred.scores[i]),
            np.array(found.twin_scores[i]),
            exchanged="The weights of the model were drawn anew, as before any training.",
        )
        for i, side in enumerate(sides)
        if side.twins
    }
    return assemble(
        found.inferred,
        brain=name,
        models=[side.name for side in sides],
        method=f"{method.name} of RDMs" if rsa else method.name,
        settings=settings,
        seed=question.seed,
        level=level,
        system_nulls=nulls,
        citations=method.citations,
    )
