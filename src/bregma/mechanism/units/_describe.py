"""Words for units: descriptions that the unit's exemplars make more probable than usual."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from typing_extensions import Protocol, runtime_checkable

from bregma.errors import InvalidArgument, NotIdentifiable
from bregma.evidence import permutation_p
from bregma.mechanism.units._exemplars import Exemplars
from bregma.mechanism.units._top_stimuli import TopStimuli
from bregma.run import derive
from bregma.run import progress as show_progress
from bregma.system import untrained


@runtime_checkable
class Captioner(Protocol):
    """Says what exemplars have in common: p(d | E)."""

    def propose(self, exemplars: Exemplars, n: int) -> Sequence[tuple[str, float]]:
        """Probable descriptions.

        Parameters
        ----------
        exemplars : Exemplars
            Pictures and regions of one unit.
        n : int
            How many at most.

        Returns
        -------
        sequence of (str, float)
            Different texts, each with log p(d | E) in nats.
        """


@runtime_checkable
class Prior(Protocol):
    """Says how common a description is: p(d)."""

    def log_prob(self, texts: Sequence[str]) -> Float[np.ndarray, " text"]:
        """Probability of texts.

        Parameters
        ----------
        texts : sequence of str
            Descriptions.

        Returns
        -------
        array (text,)
            log p(d) in nats.
        """


@dataclass(frozen=True)
class Descriptions:
    """What units are said to be for.

    Parameters
    ----------
    table : DataFrame
        For each unit ``description``, ``score``, ``log_given`` and ``log_prior``.
    candidates : mapping of str to DataFrame
        For each unit all that was proposed, best score first.
    weight : float
        lambda.
    """

    table: pd.DataFrame
    candidates: Mapping[str, pd.DataFrame] = field(repr=False)
    weight: float | int

    def weighted(self, weight: float | int) -> Descriptions:
        """The same proposals with another weight of the prior.

        Parameters
        ----------
        weight : float
            lambda: 0 takes the most probable description, 1 the one whose probability grows most.

        Returns
        -------
        Descriptions
            The best descriptions under it.
        """
        if not weight >= 0:
            raise InvalidArgument(f"the weight of the prior must be 0 or more, not {weight}")
        ranked = {}
        for unit, some in self.candidates.items():
            score = some["log_given"] - weight * some["log_prior"]
            order = np.argsort(-score.to_numpy(), kind="stable")
            ranked[unit] = some.assign(score=score).iloc[order].reset_index(drop=True)
        first = pd.DataFrame([some.iloc[0] for some in ranked.values()])
        table = first.set_axis(pd.Index(list(ranked), name="unit"))
        return Descriptions(table.infer_objects(), ranked, weight)

    def mention(self, *words: str) -> list[str]:
        """Units whose description has one of these words.

        Parameters
        ----------
        *words : str
            Parts of a text, such as ``"face"``; capitals do not matter.

        Returns
        -------
        list of str
            Their ids, to be ablated or looked at.
        """
        said = self.table["description"].str.lower()
        hit = said.map(lambda text: any(word.lower() in text for word in words))
        return [str(unit) for unit in self.table.index[hit.to_numpy(dtype=bool)]]


def describe(
    top: TopStimuli,
    stimuli: Any,
    captioner: Captioner,
    prior: Prior,
    *,
    units: Sequence[str] | None = None,
    weight: float | int = 0.2,
    beam: int = 50,
    size: tuple[int, int] | None = None,
    progress: bool = False,
) -> Descriptions:
    r"""Describe units in words by weighted pointwise mutual information.

    .. math:: d^* = \arg\max_d\; \log p(d \mid E) - \lambda \log p(d)

    over the captioner's most probable texts, with E the regions of the stimuli that drive the unit
    most. Without the prior, phrases win that fit everything.

    Parameters
    ----------
    top : TopStimuli
        What drives the units.
    stimuli : Stimuli, array or list of image files
        What was shown: images.
    captioner : Captioner
        Proposes texts: `ExemplarCaptioner` (trained on descriptions of exemplars),
        `VisionLanguageCaptioner` (of transformers), `EndpointCaptioner` (a server), or yours.
    prior : Prior
        Says how common a text is: `SentencePrior`, `LanguageModelPrior`, `EndpointPrior`, or yours.
    units : sequence of str, optional
        Which units; all of them by default.
    weight : float
        lambda. Choose it on units that are not reported.
    beam : int
        Texts that the captioner proposes.
    size : (rows, columns), optional
        Resize pictures to this; needed where they differ in size.
    progress : bool
        Show a bar where stderr is a terminal.

    Returns
    -------
    Descriptions
        The best description of each unit, and all that were proposed.

    Raises
    ------
    InvalidArgument
        If a number is out of range, nothing is proposed for a unit, or probabilities are not
        finite.

    References
    ----------
    Hernandez et al. (2022), Natural language descriptions of deep visual features.
    """
    if beam < 1 or not weight >= 0:
        raise InvalidArgument(
            f"beam must be 1 or more and the weight 0 or more, not {beam} and {weight}"
        )
    chosen = [str(unit) for unit in (top.units.index if units is None else units)]
    if not chosen:
        raise InvalidArgument("there are no units to describe")
    proposed: dict[str, list[tuple[str, float]]] = {}
    with show_progress[Any](what="describing", total=len(chosen), show=progress) as bar:
        for unit in chosen:
            some = list(captioner.propose(top.exemplars(stimuli, unit, size=size), beam))
            if not some:
                raise InvalidArgument(f"the captioner proposes nothing for {unit!r}")
            proposed[unit] = some
            bar.advance()
    texts = list(dict.fromkeys(text for some in proposed.values() for text, _ in some))
    common = dict(zip(texts, np.asarray(prior.log_prob(texts), dtype=float).tolist(), strict=True))
    candidates = {}
    for unit, some in proposed.items():
        table = pd.DataFrame(some, columns=["description", "log_given"])
        table["log_prior"] = table["description"].map(common)
        if not np.isfinite(table[["log_given", "log_prior"]].to_numpy(dtype=float)).all():
            raise InvalidArgument(f"log probabilities for {unit!r} are not finite")
        candidates[unit] = table
    return Descriptions(pd.DataFrame(), candidates, weight).weighted(weight)


@dataclass(frozen=True)
class ChanceDescriptions:
    """How well units of networks that learned nothing are described.

    Parameters
    ----------
    table : DataFrame
        The network's units with ``p``, the share of units of the twins whose best description
        scores as high, and ``p_fwe``, the share of twins whose best-described unit does.
    twins : sequence of Descriptions
        Of each twin.
    """

    table: pd.DataFrame
    twins: Sequence[Descriptions] = field(repr=False)

    @property
    def fooled(self) -> float:
        """How often a unit of a twin is described as well as the median unit of the network."""
        scores = np.concatenate([twin.table["score"].to_numpy(float) for twin in self.twins])
        return float((scores >= self.table["score"].median()).mean())


def described_by_chance(
    found: Descriptions,
    system: Any,
    again: Callable[[Any], Descriptions],
    *,
    n: int = 19,
    nulls: Callable[[Any, int], Any] | None = None,
    seed: int,
) -> ChanceDescriptions:
    """The same pipeline on twins of a network that learned nothing.

    A captioner always says something, and random units have exemplars, too: a description is about
    what the network learned only where twins do not reach its score.

    Parameters
    ----------
    found : Descriptions
        Of the network.
    system : TorchSystem or torch.nn.Module
        The network; it stays as it is.
    again : callable
        From a twin to its descriptions: `top_stimuli` and `describe`, with the same settings.
    n : int
        How many twins.
    nulls : callable, optional
        ``nulls(system, seed)`` makes one; by default its weights are drawn anew.
    seed : int
        Of the twins.

    Returns
    -------
    ChanceDescriptions
        A p-value for each unit, and how often twins fool.

    Raises
    ------
    NotIdentifiable
        If there is no twin.
    """
    if n < 1:
        raise NotIdentifiable("no twins, no null: n must be 1 or more")
    make = nulls or (lambda one, key: untrained(one, seeds=key)[0])
    twins = [again(make(system, derive(seed, "twin", i))) for i in range(n)]
    each = [twin.table["score"].to_numpy(dtype=float) for twin in twins]
    score = found.table["score"].to_numpy(dtype=float)
    every = np.concatenate(each)
    best = np.array([scores.max() for scores in each])
    return ChanceDescriptions(
        found.table.assign(
            p=[permutation_p(one, every) for one in score],
            p_fwe=[permutation_p(one, best) for one in score],
        ),
        twins,
    )
