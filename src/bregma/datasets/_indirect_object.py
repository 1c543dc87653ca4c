"""Who was given it? The name that is there once, not the one that is there twice."""

from __future__ import annotations

import torch

from bregma.datasets._lexicon import Lexicon, distinct
from bregma.datasets._prompt_pairs import PromptPairs
from bregma.errors import InvalidArgument
from bregma.run import spawn_torch

# Of people and of things: models can be made that do both tasks.
SCENES = Lexicon(
    start="<start>",
    names="Ada Ben Cleo Dan Eva Finn Gina Hugo Iris Jack Kate Liam Mia Noah Olga Paul",
    objects="pen cup book key hat ball bag lamp",
    colors="red blue green black white brown pink gold",
    places="park shop school beach",
    others="then and met at the gave to on table : , . what color is ?",
)


def indirect_object(n: int, *, seed: int) -> PromptPairs:
    """Two names, one of them again, and the other one is the answer.

    ``then Ada and Ben met at the park and Ben gave the pen to`` asks for Ada. The name that is
    there twice was the first or the second one, in half of the prompts each: neither the order of
    names nor the last one gives the answer away. Corrupt prompts have three other names, all
    different, so that they ask for nothing: the answers are about alike after them.

    Parameters
    ----------
    n : int
        How many pairs.
    seed : int
        Draws them.

    Returns
    -------
    PromptPairs
        Right is the name that is there once, wrong the one that is there twice. There are 16
        names, so that chance is 1 in 16; any of the two names is right in half of the cases.

    Raises
    ------
    InvalidArgument
        Nothing is asked for.

    References
    ----------
    Wang, Variengien, Conmy, Shlegeris and Steinhardt (2022), Interpretability in the wild: a
    circuit for indirect object identification in GPT-2 small.

    Examples
    --------
    >>> print(indirect_object(1, seed=0).text(0))
    clean:   <start> then Eva and Paul met at the beach and Eva gave the hat to -> Paul, not Eva
    corrupt: <start> then Finn and Jack met at the beach and Ada gave the hat to
    """
    if n < 1:
        raise InvalidArgument(f"n must be 1 or more, not {n}")
    rng = spawn_torch(seed, "indirect_object")
    once, twice, *others = distinct(SCENES["names"], n, 5, rng)
    (place,), (thing,) = (distinct(SCENES[group], n, 1, rng) for group in ("places", "objects"))
    first_twice = torch.arange(n)[torch.randperm(n, generator=rng)] % 2 == 0
    template = "<start> then a and b met at the place and c gave the thing to"
    return PromptPairs(
        clean=SCENES.fill(
            template,
            a=torch.where(first_twice, twice, once),
            b=torch.where(first_twice, once, twice),
            c=twice,
            place=place,
            thing=thing,
        ),
        corrupt=SCENES.fill(
            template, a=others[0], b=others[1], c=others[2], place=place, thing=thing
        ),
        right=once,
        wrong=twice,
        words=SCENES.words,
        name="indirect_object",
    )
