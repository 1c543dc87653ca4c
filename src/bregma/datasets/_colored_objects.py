"""Which color has it? The one that was said with the object that is asked for."""

from __future__ import annotations

import torch

from bregma.datasets._indirect_object import SCENES
from bregma.datasets._lexicon import distinct
from bregma.datasets._prompt_pairs import PromptPairs
from bregma.errors import InvalidArgument
from bregma.run import spawn_torch


def colored_objects(n: int, *, seed: int) -> PromptPairs:
    """Three objects and their colors, and one of the objects is asked for.

    ``on the table : pen red , cup blue , hat pink . what color is the cup ?`` asks for blue. The
    vocabulary is that of `indirect_object`. Corrupt prompts have other objects and colors, and ask
    for an object that is not there: the answers are about alike after them.

    Parameters
    ----------
    n : int
        How many pairs.
    seed : int
        Draws them.

    Returns
    -------
    PromptPairs
        Wrong is one of the two other colors. Chance is 1 in 8 colors; any color of the prompt is
        right in a third of the cases.

    Raises
    ------
    InvalidArgument
        Nothing is asked for.

    References
    ----------
    Merullo, Eickhoff and Pavlick (2024), Circuit component reuse across tasks in transformer
    language models. Srivastava et al. (2022), Beyond the imitation game (BIG-bench).

    Examples
    --------
    >>> said, question = colored_objects(1, seed=0).text(0).splitlines()[0].split(" . ")
    >>> said
    'clean:   <start> on the table : ball brown , book blue , lamp gold'
    >>> question
    'what color is the lamp ? -> gold, not blue'
    """
    if n < 1:
        raise InvalidArgument(f"n must be 1 or more, not {n}")
    rng = spawn_torch(seed, "colored_objects")
    things = distinct(SCENES["objects"], n, 7, rng)
    colors = distinct(SCENES["colors"], n, 6, rng)
    asked = torch.stack([torch.randperm(3, generator=rng) for _ in range(n)])  # asked, wrong, rest

    def prompts(
        things: list[torch.Tensor], colors: list[torch.Tensor], it: torch.Tensor
    ) -> torch.Tensor:
        return SCENES.fill(
            "<start> on the table : a one , b two , c three . what color is the it ?",
            **dict(zip("abc", things, strict=True)),
            **dict(zip(("one", "two", "three"), colors, strict=True)),
            it=it,
        )

    def chosen(options: list[torch.Tensor], which: int) -> torch.Tensor:
        return torch.stack(options[:3], 1).gather(1, asked[:, which, None])[:, 0]

    return PromptPairs(
        clean=prompts(things[:3], colors[:3], chosen(things, 0)),
        corrupt=prompts(things[3:6], colors[3:], things[6]),
        right=chosen(colors, 0),
        wrong=chosen(colors, 1),
        words=SCENES.words,
        name="colored_objects",
    )
