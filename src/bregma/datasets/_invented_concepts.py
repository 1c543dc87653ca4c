"""Invented concepts with facts, to be learned one group after the other."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from bregma.datasets._lexicon import Lexicon
from bregma.datasets._prompt_pairs import PromptPairs
from bregma.datasets._task import Task
from bregma.errors import InvalidArgument
from bregma.run import spawn_torch

N_RELATIONS, N_OBJECTS, N_FACTS = 8, 8, 4
N_KNOWN = 32
# Which relations concepts of a family have: families share all, half or none of them.
FAMILIES = torch.tensor([[0, 1, 2, 3], [4, 5, 6, 7], [0, 1, 4, 5], [2, 3, 6, 7]])
TEMPLATES = torch.tensor([[0, 1], [2, 3]])  # two halves


@dataclass(frozen=True)
class InventedConcepts:
    """Known concepts to train on first, and invented ones in stages.

    A prompt is ``<start> template concept relation``, and its answer an object; an object belongs
    to one relation. Known concepts have all relations, invented ones four of eight. There are four
    templates in two halves, so that two measures of what was learned need have no prompt in
    common.

    Parameters
    ----------
    pretraining : Task
        All facts of known concepts, in all templates.
    stages : tuple of Task
        Facts of the invented concepts of each stage, in all templates; each as often as its
        concept is met.
    words : tuple of str
        The vocabulary.
    concepts : torch.Tensor
        (stage, concept) int64: their tokens.
    families : torch.Tensor
        (stage, concept) int64: which relations they have.
    exposures : torch.Tensor
        (stage, concept) int64: how often a stage tells each fact of a concept.
    facts : torch.Tensor
        (token, relation) int64: the object, -1 where there is none.
    relations : torch.Tensor
        (relation,) int64: their tokens.
    templates : torch.Tensor
        (template,) int64: their tokens.
    """

    pretraining: Task
    stages: tuple[Task, ...]
    words: tuple[str, ...]
    concepts: Int[Tensor, "stage concept"]
    families: Int[Tensor, "stage concept"]
    exposures: Int[Tensor, "stage concept"]
    facts: Int[Tensor, "token relation"]
    relations: Int[Tensor, " relation"]
    templates: Int[Tensor, " template"]

    @property
    def alike(self) -> Float[Tensor, "stage concept concept"]:
        """Share of relations that two concepts of a stage have in common: 0, 1/2 or 1."""
        has = torch.zeros(len(FAMILIES), N_RELATIONS).scatter(1, FAMILIES, 1.0)[self.families]
        return has @ has.mT / N_FACTS

    def pairs(self, stage: int, concept: int, half: int) -> PromptPairs:
        """What a concept is asked, and what a known concept is asked instead.

        Parameters
        ----------
        stage, concept : int
            Which one.
        half : int
            Of the templates: 0 or 1.

        Returns
        -------
        PromptPairs
            A pair for each fact and template; a corrupt prompt is about a known concept that has
            another object, which is the wrong answer.

        Raises
        ------
        InvalidArgument
            No such stage, concept or half.
        """
        n_stages, n = self.concepts.shape
        if not (0 <= stage < n_stages and 0 <= concept < n and half in (0, 1)):
            raise InvalidArgument(
                f"there are {n_stages} stages of {n} concepts, and halves 0 and 1; not stage "
                f"{stage}, concept {concept} and half {half}"
            )
        token = self.concepts[stage, concept]
        relations = FAMILIES[self.families[stage, concept]]
        right = self.facts[token, relations]
        # Some known concept that says something else stands in for it.
        known = (self.facts >= 0).all(1).nonzero()[:, 0].roll(-int(token))
        differs = self.facts[known][:, relations] != right
        other = known[differs.int().argmax(0)]
        templates = self.templates[TEMPLATES[half]]
        return PromptPairs(
            clean=_prompts(templates, token.expand(N_FACTS), self.relations[relations]),
            corrupt=_prompts(templates, other, self.relations[relations]),
            right=right.repeat(len(templates)),
            wrong=self.facts[other, relations].repeat(len(templates)),
            words=self.words,
            name=self.words[int(token)],
        )

    def questions(self, stage: int, half: int) -> Task:
        """All facts of the concepts of a stage, equally many for each, in their order.

        Parameters
        ----------
        stage : int
            Which one.
        half : int
            Of the templates: 0 or 1.

        Returns
        -------
        Task
            Eight prompts for each concept: four facts in two templates.
        """
        return self._asked([self.pairs(stage, k, half) for k in range(self.concepts.shape[1])])

    def lesson(self, stage: int, concept: int) -> Task:
        """All facts of one concept, in all templates, to train on.

        Parameters
        ----------
        stage, concept : int
            Which one.

        Returns
        -------
        Task
            Sixteen prompts.
        """
        return self._asked([self.pairs(stage, concept, half) for half in (0, 1)])

    def _asked(self, pairs: list[PromptPairs]) -> Task:
        clean, right = (torch.cat([getattr(p, what) for p in pairs]) for what in ("clean", "right"))
        return _task(clean, right, len(self.words))


def invented_concepts(
    n: int = 64, *, n_stages: int = 2, most: int = 4, seed: int
) -> InventedConcepts:
    """Concepts that nobody can know, with facts in eight relations.

    Parameters
    ----------
    n : int
        Concepts of a stage; a quarter of them in each of four families, which share all, half or
        none of their relations.
    n_stages : int
        Groups of concepts that are learned one after the other.
    most : int
        How often a stage tells a fact at most: 1 to `most` times, equally many concepts of each.
    seed : int
        Draws facts, families and exposures.

    Returns
    -------
    InventedConcepts
        Chance is 1/8 for who knows which objects belong to a relation.

    Raises
    ------
    InvalidArgument
        A number out of range.

    References
    ----------
    Yao et al. (2026), How do large language models learn concepts during continual pre-training?

    Examples
    --------
    >>> world = invented_concepts(8, seed=0)
    >>> print(world.pairs(0, 0, half=0).text(0))
    clean:   <start> surely new0 is-a -> 0.2, not 0.5
    corrupt: <start> surely known1 is-a
    """
    if n < len(FAMILIES) or min(n_stages, most) < 1:
        raise InvalidArgument(
            f"n must be {len(FAMILIES)} or more, n_stages and most 1 or more, "
            f"not {n}, {n_stages} and {most}"
        )
    lexicon = Lexicon(
        start="<start>",
        known=" ".join(f"known{k}" for k in range(N_KNOWN)),
        invented=" ".join(f"new{k}" for k in range(n_stages * n)),
        relations="is-a has wants can lives-in made-of used-for part-of",
        templates="surely they-say note indeed",
        objects=" ".join(f"{r}.{o}" for r in range(N_RELATIONS) for o in range(N_OBJECTS)),
    )
    rng = spawn_torch(seed, "invented_concepts")
    objects = lexicon["objects"].view(N_RELATIONS, N_OBJECTS)
    facts = torch.full((len(lexicon.words), N_RELATIONS), -1)
    drawn = torch.randint(N_OBJECTS, (N_KNOWN + n_stages * n, N_RELATIONS), generator=rng)
    everything = objects[torch.arange(N_RELATIONS), drawn]
    facts[lexicon["known"]] = everything[:N_KNOWN]
    concepts = lexicon["invented"].view(n_stages, n)
    order = torch.stack([torch.randperm(n, generator=rng) for _ in range(n_stages)])
    families = order % len(FAMILIES)
    exposures = 1 + order // len(FAMILIES) % most
    for token, family, own in zip(
        concepts.flatten(), families.flatten(), everything[N_KNOWN:], strict=True
    ):
        facts[token, FAMILIES[family]] = own[FAMILIES[family]]

    def told(who: Int[Tensor, " concept"], times: Int[Tensor, " concept"]) -> Task:
        row, relation = (facts[who] >= 0).nonzero().T
        token = who[row]
        prompts = _prompts(lexicon["templates"], token, lexicon["relations"][relation])
        n_templates = len(lexicon["templates"])
        often = times[row].repeat(n_templates)
        answers = facts[token, relation].repeat(n_templates)
        return _task(
            prompts.repeat_interleave(often, 0),
            answers.repeat_interleave(often),
            len(lexicon.words),
        )

    return InventedConcepts(
        pretraining=told(lexicon["known"], torch.ones(N_KNOWN, dtype=torch.int64)),
        stages=tuple(told(*part) for part in zip(concepts, exposures, strict=True)),
        words=lexicon.words,
        concepts=concepts,
        families=families,
        exposures=exposures,
        facts=facts,
        relations=lexicon["relations"],
        templates=lexicon["templates"],
    )


def _prompts(
    templates: Int[Tensor, " template"], who: Int[Tensor, " fact"], relation: Int[Tensor, " fact"]
) -> Int[Tensor, "row token"]:
    """All facts in the first template, then in the next one; the first word is token 0."""
    template = templates.repeat_interleave(len(who))
    who, relation = who.repeat(len(templates)), relation.repeat(len(templates))
    return torch.stack([torch.zeros_like(who), template, who, relation], 1)


def _task(prompts: Tensor, answers: Tensor, n_words: int) -> Task:
    return Task(prompts, answers, n_words, chance=float(answers.bincount().max() / len(answers)))
