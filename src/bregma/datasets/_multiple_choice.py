"""Questions with four options: say the label of the right one."""

from __future__ import annotations

from string import ascii_uppercase

import torch
from torch import Tensor

from bregma.datasets._lexicon import Lexicon, distinct
from bregma.datasets._prompt_pairs import PromptPairs
from bregma.errors import InvalidArgument, UnknownName
from bregma.run import spawn_torch

QUESTIONS = Lexicon(
    start="<start>",
    letters=" ".join(ascii_uppercase),
    questions="sky grass snow coal blood milk sun rose sand sea night fire lead coin leaf brick",
    answers="blue green white black red cream yellow pink "
    "beige teal navy orange gray gold lime rust",
    others="what color is ? answer :",
)


def multiple_choice(n: int, *, labels: str = "ABCD", seed: int) -> PromptPairs:
    """Four labelled options, one of which answers the question; its label is asked for.

    ``what color is snow ? A red B teal C white D lime answer :`` asks for C. The answer to each of
    16 questions is always the same and can be learned; where it stands cannot. Corrupt
    prompts have the same options in another order, in which the wrong label is the right one.

    Parameters
    ----------
    n : int
        How many pairs.
    labels : str
        ``"ABCD"`` in this order; ``"shuffled"``: these in random order; ``"random"``: any four
        letters.
    seed : int
        Draws questions, options and labels.

    Returns
    -------
    PromptPairs
        Any label of the prompt is right in a quarter of the cases; chance over all answers is
        1 in 4, or 1 in 26 with random labels. The token of the k-th label of a prompt is at
        place 6 + 2 k.

    Raises
    ------
    InvalidArgument
        Nothing is asked for.
    UnknownName
        No such labels.

    References
    ----------
    Lieberum, Rahtz, Kramár, Nanda, Irving, Shah and Mikulik (2023), Does circuit analysis
    interpretability scale? Evidence from multiple choice capabilities in Chinchilla.

    Examples
    --------
    >>> print(multiple_choice(1, seed=0).text(0))
    clean:   <start> what color is coin ? A pink B red C gold D black answer : -> C, not D
    corrupt: <start> what color is coin ? A black B pink C red D gold answer :
    """
    if n < 1:
        raise InvalidArgument(f"n must be 1 or more, not {n}")
    letters = QUESTIONS["letters"]
    if labels not in ("ABCD", "shuffled", "random"):
        raise UnknownName.of("kind of labels", labels, ("ABCD", "shuffled", "random"))
    rng = spawn_torch(seed, "multiple_choice")
    options = torch.stack(distinct(torch.arange(16), n, 4, rng), 1)  # the first one is right
    places = torch.stack(distinct(torch.arange(4), n, 4, rng), 1)  # of the four options
    moved = (places + torch.randint(1, 4, (n, 1), generator=rng)) % 4
    among = letters if labels == "random" else letters[:4]
    named = torch.stack(distinct(among, n, 4, rng), 1)
    if labels == "ABCD":
        named = letters[:4].expand(n, 4)

    def prompts(places: Tensor) -> Tensor:
        ordered = torch.empty_like(options).scatter(1, places, QUESTIONS["answers"][options])
        return QUESTIONS.fill(
            "<start> what color is it ? k a l b m c n d answer :",
            it=QUESTIONS["questions"][options[:, 0]],
            **dict(zip("klmnabcd", [*named.T, *ordered.T], strict=True)),
        )

    def label(places: Tensor) -> Tensor:
        return named.gather(1, places[:, :1])[:, 0]

    return PromptPairs(
        clean=prompts(places),
        corrupt=prompts(moved),
        right=label(places),
        wrong=label(moved),
        words=QUESTIONS.words,
        name="multiple_choice",
    )
