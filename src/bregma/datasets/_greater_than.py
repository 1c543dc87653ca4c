"""A war ends after it began: any later year is right."""

from __future__ import annotations

import torch

from bregma.datasets._lexicon import Lexicon
from bregma.datasets._prompt_pairs import PromptPairs
from bregma.errors import InvalidArgument
from bregma.run import spawn_torch

YEARS = Lexicon(
    start="<start>",
    years=" ".join(f"{year:02d}" for year in range(100)),
    centuries=" ".join(f"{century}__" for century in range(11, 18)),
    events="war siege voyage drought strike reign famine trial",
    others="the lasted from year to",
)


def greater_than(n: int, *, seed: int) -> PromptPairs:
    """A span of years whose end is to be said: two digits greater than those of its beginning.

    ``the war lasted from the year 17__ 41 to the year 17__`` may go on with 42 or 99. A pair has
    one of the years that are right, and one that is wrong, each drawn from all there are: means
    over pairs are those over both sets. To use the sets themselves: the token of year y is
    ``words.index("00") + y``. Corrupt prompts begin with 01, after which all the answers are
    possible.

    Parameters
    ----------
    n : int
        How many pairs.
    seed : int
        Draws them.

    Returns
    -------
    PromptPairs
        Years begin with 02 to 98. Which one of the right years was drawn nobody can know, so
        that the best accuracy is little above chance (0.05), and that of always saying 99: use
        the difference of right and wrong, or the probability of all right years together.

    Raises
    ------
    InvalidArgument
        Nothing is asked for.

    References
    ----------
    Hanna, Liu and Variengien (2023), How does GPT-2 compute greater-than?

    Examples
    --------
    >>> print(greater_than(1, seed=0).text(0))
    clean:   <start> the voyage lasted from the year 16__ 48 to the year 16__ -> 51, not 35
    corrupt: <start> the voyage lasted from the year 16__ 01 to the year 16__
    """
    if n < 1:
        raise InvalidArgument(f"n must be 1 or more, not {n}")
    rng = spawn_torch(seed, "greater_than")
    years = YEARS["years"]
    begin = torch.randint(2, 99, (n,), generator=rng)
    later = begin + 1 + (torch.rand(n, generator=rng) * (99 - begin)).long()
    earlier = 2 + (torch.rand(n, generator=rng) * (begin - 1)).long()  # up to the year itself
    event, century = (
        YEARS[group][torch.randint(len(YEARS[group]), (n,), generator=rng)]
        for group in ("events", "centuries")
    )

    def prompts(year: torch.Tensor) -> torch.Tensor:
        return YEARS.fill(
            "<start> the event lasted from the year century yy to the year century",
            event=event,
            century=century,
            yy=years[year],
        )

    return PromptPairs(
        clean=prompts(begin),
        corrupt=prompts(torch.ones_like(begin)),
        right=years[later],
        wrong=years[earlier],
        words=YEARS.words,
        name="greater_than",
        best=float((1 / (99.0 - torch.arange(2, 99))).mean()),
    )
