"""The smallest wired network: two heads that continue a sequence that was there before."""

from __future__ import annotations

import torch

from bregma.datasets._lexicon import Lexicon, distinct
from bregma.datasets._prompt_pairs import PromptPairs
from bregma.datasets._wired import Wired
from bregma.datasets._wiring import LOGIT, arranged, check_wired, edges, previous, rest, same
from bregma.errors import InvalidArgument
from bregma.nn import Copy, Match, WiredHead, hand_wired
from bregma.run import spawn_torch

LETTERS = Lexicon(start="<start>", letters=" ".join("abcdefghijklmnopqrstuvwx"))
N, SCRATCH = len(LETTERS.words), 8
CIRCUIT = """
    embed > previous.v
    previous > induction.k
    embed > induction.q
    embed > induction.v
    induction > logits
"""


def wired_induction(
    n: int = 64, *, n_pairs: int = 4, n_heads: int = 2, strength: float = 10.0, seed: int
) -> Wired:
    """Two layers of attention that know what comes after a letter from where it was before.

    ``a x b y c z b`` is followed by y. Layer 0: *previous* writes to every letter which one was
    before it; layer 1: *induction* looks at the letter whose previous one is the last of all.
    Corrupt prompts have the same pairs of letters, moved on by one, and ask for the next pair.

    Parameters
    ----------
    n : int
        Pairs of prompts.
    n_pairs : int
        Pairs of letters in a prompt, from 3 to 12.
    n_heads : int
        Heads of a layer; all but one are distractors.
    strength : float
        Of attention: a head leaves exp(-strength / 2) of it to the first token. Derivatives are as
        small as that; at 100 there are none.
    seed : int
        Draws prompts, distractors and the order of heads, and turns the residual stream.

    Returns
    -------
    Wired
        With the task ``"induction"``; any letter of a pair is right in 1 of `n_pairs` cases.

    Raises
    ------
    InvalidArgument
        A number out of range.

    References
    ----------
    Olsson et al. (2022), In-context learning and induction heads.

    Examples
    --------
    >>> wired = wired_induction(2, seed=0)
    >>> sorted(wired.heads("induction"))
    ['0.h0', '1.h1']
    """
    check_wired(n, strength)
    if not 3 <= n_pairs <= 12:
        raise InvalidArgument(f"n_pairs must be from 3 to 12, not {n_pairs}")
    n_places, content = 2 * n_pairs + 2, same(LETTERS["letters"], N)
    layers, roles = arranged(
        [
            {"previous": previous(n_places, strength, Copy("token", "previous"))},
            {
                "induction": WiredHead(
                    [Match("token", "previous", content, strength), rest(N, strength)],
                    [Copy("token", "answer", LOGIT * content)],
                )
            },
        ],
        {"previous": previous(n_places, strength, Copy("token", "scratch", torch.eye(N, SCRATCH)))},
        n_heads,
        seed,
    )
    spaces = {"token": N, "place": n_places, "previous": N, "answer": N, "scratch": SCRATCH}
    return Wired(
        net=hand_wired(spaces, layers, seed=seed),
        tasks={"induction": _prompts(n, n_pairs, seed)},
        circuits={"induction": edges(CIRCUIT, roles)},
        roles=roles,
    )


def _prompts(n: int, n_pairs: int, seed: int) -> PromptPairs:
    rng = spawn_torch(seed, "wired_induction")
    drawn = torch.stack(distinct(LETTERS["letters"], n, 2 * n_pairs, rng), 1)
    pairs = drawn.view(n, n_pairs, 2)
    asked, rows = torch.randint(n_pairs, (n,), generator=rng), torch.arange(n)

    def prompt(pairs: torch.Tensor) -> torch.Tensor:
        start = torch.full((n, 1), LETTERS("<start>"))
        return torch.cat([start, pairs.flatten(1), pairs[rows, asked, :1]], 1)

    moved = pairs.roll(-1, 1)
    return PromptPairs(
        clean=prompt(pairs),
        corrupt=prompt(moved),
        right=pairs[rows, asked, 1],
        wrong=moved[rows, asked, 1],
        words=LETTERS.words,
        name="induction",
    )
