"""Six tasks in one small language: three about its form, three about what it says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from bregma.datasets._held_out import training_task
from bregma.datasets._lexicon import Lexicon, distinct
from bregma.datasets._prompt_pairs import PromptPairs
from bregma.datasets._task import Task
from bregma.errors import InvalidArgument
from bregma.run import spawn_torch

LANGUAGE = Lexicon(
    start="<start>",
    fillers="today here often maybe also really quite still",
    one="cat dog king cook tree ship",
    many="cats dogs kings cooks trees ships",
    none="no few nobody's hardly-any",
    some="some most every several",
    he="Ben Dan Finn Hugo Jack Liam",
    she="Ada Cleo Eva Gina Iris Kate",
    events="war siege voyage drought strike reign",
    numbers="0 1 2 3 4 5 6 7 8 9",
    countries="Peru Chile Cuba Japan Egypt Kenya Spain Italy",
    capitals="Lima Santiago Havana Tokyo Cairo Nairobi Madrid Rome",
    forms="is are ever already he she",
    others="the near that saw has said to and met thanked from up capital of",
)
FORMAL = ("agreement", "licensing", "gender")
FUNCTIONAL = ("indirect_object", "greater_than", "capital")
Parts = dict[str, Tensor]


@dataclass(frozen=True)
class Grammars:
    """Tasks of a small language that one network can learn together.

    Parameters
    ----------
    formal, functional : mapping of str to PromptPairs
        Three tasks each, all with the same words and prompts of 9 tokens.
    training : Task
        Prompts of all tasks, and the token that comes after each. None of them is among the pairs.
    """

    formal: Mapping[str, PromptPairs]
    functional: Mapping[str, PromptPairs]
    training: Task

    @property
    def tasks(self) -> dict[str, PromptPairs]:
        """All six, the formal ones first."""
        return {**self.formal, **self.functional}


def grammars(n: int = 128, *, n_train: int = 12288, seed: int) -> Grammars:
    """Three formal and three functional tasks, each with 9 tokens before the answer.

    Formal: *agreement* of a verb with the first of two nouns; *licensing* of "ever" by a negative
    word, otherwise "already"; the *gender* of a name in a pronoun. Functional: *indirect_object*,
    the name that was not said again; *greater_than*, a number that ends a span; *capital* of a
    country, which is the same in all prompts and never said.

    Parameters
    ----------
    n : int
        Pairs of each task.
    n_train : int
        Prompts to train on, equally many of each task; those among the pairs are left out.
    seed : int
        Draws the prompts.

    Returns
    -------
    Grammars
        Corrupt prompts ask for the wrong answer; in *greater_than* they begin with 0, after which
        both answers are possible, and its answers are drawn as in `bregma.datasets.greater_than`.
        Chance, for who knows which task it is: 1/2 for formal ones, 1/12, about 0.3 and 1/8.

    Raises
    ------
    InvalidArgument
        Too few prompts.

    References
    ----------
    Hanna, Pezzelle and Belinkov (2025), Are formal and functional linguistic mechanisms
    dissociated in language models?

    Examples
    --------
    >>> for pairs in grammars(1, seed=0).tasks.values():
    ...     print(pairs.text(0).splitlines()[0])
    clean:   <start> here the cat near the cooks maybe often -> is, not are
    clean:   <start> also nobody's cats that the dog saw has -> ever, not already
    clean:   <start> maybe Jack said to the dog here that -> he, not she
    clean:   <start> often Finn and Cleo met and Finn thanked -> Cleo, not Finn
    clean:   <start> still the reign from 3 often up to -> 5, not 3
    clean:   <start> often the capital of Peru quite is the -> Lima, not Tokyo
    """
    if n < 1 or n_train < 6:
        raise InvalidArgument(f"n must be 1 or more, n_train 6 or more, not {n} and {n_train}")
    best = float((1 / (9.0 - torch.arange(1, 9))).mean())  # of the numbers that are right

    def pairs(task: str) -> PromptPairs:
        parts = _MAKERS[task](n, spawn_torch(seed, "grammars", task, "test"))
        of_task = best if task == "greater_than" else 1.0
        return PromptPairs(**parts, words=LANGUAGE.words, name=task, best=of_task)

    def training(task: str) -> Task:
        rng = spawn_torch(seed, "grammars", task, "train")
        # The number that corrupt prompts begin with is to be learned, too.
        make = _greater_than_any if task == "greater_than" else _MAKERS[task]
        parts = make(n_train // 6, rng)
        of_task = best if task == "greater_than" else 1.0
        return Task(parts["clean"], parts["right"], len(LANGUAGE.words), chance=0.0, best=of_task)

    formal, functional = ({task: pairs(task) for task in kind} for kind in (FORMAL, FUNCTIONAL))
    return Grammars(
        formal,
        functional,
        training_task(
            [training(task) for task in _MAKERS], [*formal.values(), *functional.values()], seed
        ),
    )


def _agreement(n: int, rng: torch.Generator) -> Parts:
    first, second, many, other_many = _drawn(6, 6, 2, 2, n=n, rng=rng)
    nouns = torch.stack([LANGUAGE["one"], LANGUAGE["many"]])
    forms = LANGUAGE["forms"][:2]
    return _made(
        "<start> x the it near the other y z",
        {"it": nouns[many, first]},
        {"it": nouns[1 - many, first]},
        forms[many],
        forms[1 - many],
        rng,
        other=nouns[other_many, second],
    )


def _licensing(n: int, rng: torch.Generator) -> Parts:
    kind, word, instead, first, second = _drawn(2, 4, 4, 6, 6, n=n, rng=rng)
    words, forms = torch.stack([LANGUAGE["none"], LANGUAGE["some"]]), LANGUAGE["forms"][2:4]
    return _made(
        "<start> x it noun that the other saw has",
        {"it": words[kind, word]},
        {"it": words[1 - kind, instead]},
        forms[kind],
        forms[1 - kind],
        rng,
        noun=LANGUAGE["many"][first],
        other=LANGUAGE["one"][second],
    )


def _gender(n: int, rng: torch.Generator) -> Parts:
    kind, name, instead, noun = _drawn(2, 6, 6, 6, n=n, rng=rng)
    names, forms = torch.stack([LANGUAGE["he"], LANGUAGE["she"]]), LANGUAGE["forms"][4:]
    return _made(
        "<start> x it said to the noun y that",
        {"it": names[kind, name]},
        {"it": names[1 - kind, instead]},
        forms[kind],
        forms[1 - kind],
        rng,
        noun=LANGUAGE["one"][noun],
    )


def _indirect_object(n: int, rng: torch.Generator) -> Parts:
    first, second = distinct(torch.cat([LANGUAGE["he"], LANGUAGE["she"]]), n, 2, rng)
    (again,) = _drawn(2, n=n, rng=rng)
    twice, once = (torch.where(again == k, first, second) for k in (0, 1))
    return _made(
        "<start> x a and b met and it thanked",
        {"it": twice},
        {"it": once},
        once,
        twice,
        rng,
        a=first,
        b=second,
    )


def _greater_than(n: int, rng: torch.Generator, lowest: int = 1) -> Parts:
    numbers = LANGUAGE["numbers"]
    begin = torch.randint(lowest, 9, (n,), generator=rng)
    (event,) = _drawn(6, n=n, rng=rng)
    later = begin + 1 + (torch.rand(n, generator=rng) * (9 - begin)).long()
    earlier = 1 + (torch.rand(n, generator=rng) * begin).long()  # up to the number itself
    return _made(
        "<start> x the event from it y up to",
        {"it": numbers[begin]},
        {"it": numbers[torch.zeros_like(begin)]},
        numbers[later],
        numbers[earlier],
        rng,
        event=LANGUAGE["events"][event],
    )


def _greater_than_any(n: int, rng: torch.Generator) -> Parts:
    return _greater_than(n, rng, lowest=0)


def _capital(n: int, rng: torch.Generator) -> Parts:
    which, other = distinct(torch.arange(8), n, 2, rng)
    countries, capitals = LANGUAGE["countries"], LANGUAGE["capitals"]
    return _made(
        "<start> x the capital of it y is the",
        {"it": countries[which]},
        {"it": countries[other]},
        capitals[which],
        capitals[other],
        rng,
    )


_MAKERS = {
    "agreement": _agreement,
    "licensing": _licensing,
    "gender": _gender,
    "indirect_object": _indirect_object,
    "greater_than": _greater_than,
    "capital": _capital,
}


def _drawn(*counts: int, n: int, rng: torch.Generator) -> list[Tensor]:
    return [torch.randint(count, (n,), generator=rng) for count in counts]


def _made(
    template: str,
    clean: Parts,
    corrupt: Parts,
    right: Tensor,
    wrong: Tensor,
    rng: torch.Generator,
    **slots: Tensor,
) -> Parts:
    """Both prompts of a template, in which x, y and z are fillers."""
    slots |= dict(zip("xyz", distinct(LANGUAGE["fillers"], len(right), 3, rng), strict=True))
    return {
        "clean": LANGUAGE.fill(template, **slots, **clean),
        "corrupt": LANGUAGE.fill(template, **slots, **corrupt),
        "right": right,
        "wrong": wrong,
    }
