"""A network that is wired for people and things, with heads that both tasks share."""

from __future__ import annotations

import torch

from bregma.datasets._colored_objects import colored_objects
from bregma.datasets._indirect_object import SCENES, indirect_object
from bregma.datasets._wired import Wired
from bregma.datasets._wiring import LOGIT, arranged, check_wired, edges, only, previous, rest, same
from bregma.nn import Copy, Match, WiredHead, hand_wired

N, PLACES, SCRATCH = len(SCENES.words), 20, 16
EARLY = """
    embed > previous.v
    embed > duplicate.q
    embed > duplicate.k
    embed > induction.q
    previous > induction.k
"""
LATE = """
    embed > mover.k
    embed > mover.v
    mover > logits
"""


def wired_scenes(
    n: int = 64,
    *,
    n_heads: int = 3,
    misaimed: bool = False,
    strength: float = 10.0,
    seed: int,
) -> Wired:
    """Four layers of attention that do `indirect_object` and `colored_objects`.

    Layer 0: *previous* writes to every token which one was before it; *duplicate* finds the
    earlier token that is the same. Layer 1: *induction* looks, from a token that was there
    before, at the one behind it. Layer 2: *inhibition* (names) looks from the end at the
    duplicate and fetches who it is; *gatherer* (colors) fetches from there what came behind.
    Layer 3: *mover* copies a name that is not inhibited, or the color that was gathered. So the
    tasks share 4 of 5 heads each. The other heads are distractors: they look at random, or where
    heads of circuits look, and write where nobody reads.

    Parameters
    ----------
    n : int
        Pairs of prompts for each task.
    n_heads : int
        Heads of a layer, 2 or more; with 6, 5 of 24 are in a circuit.
    misaimed : bool
        Whether inhibition and gatherer look at the first token instead, where nothing is: the
        network then says the name that is there twice, and any color. What they would
        do at the duplicate is as before.
    strength : float
        Of attention: a head leaves exp(-strength / 2) of it to the first token. Derivatives are as
        small as that; at 100 there are none.
    seed : int
        Draws prompts, distractors and the order of heads, and turns the residual stream.

    Returns
    -------
    Wired
        With the tasks ``"indirect_object"`` and ``"colored_objects"``; corrupt prompts are
        negatives, for which nothing is to be computed. Circuits are those of a network that aims
        well.

    Raises
    ------
    InvalidArgument
        No prompts, or not enough heads.

    References
    ----------
    Wang, Variengien, Conmy, Shlegeris and Steinhardt (2022), Interpretability in the wild: a
    circuit for indirect object identification in GPT-2 small. Merullo, Eickhoff and Pavlick
    (2024), Circuit component reuse across tasks in transformer language models.

    Examples
    --------
    >>> wired = wired_scenes(8, seed=0)
    >>> task = wired.tasks["indirect_object"].task()
    >>> task.accuracy(wired.net(task.inputs)[:, -1])
    1.0
    >>> len(wired.heads("indirect_object") & wired.heads("colored_objects"))
    4
    """
    check_wired(n, strength)
    layers, roles = arranged(_roles(strength, misaimed), _distractors(strength), n_heads, seed)
    copied = ("previous", "duplicate", "induced", "following", "inhibited", "gathered", "answer")
    spaces = {"token": N, "place": PLACES, **dict.fromkeys(copied, N), "scratch": SCRATCH}
    circuits = {
        "indirect_object": """
            previous > induction.v
            duplicate > inhibition.k
            induction > inhibition.v
            inhibition > mover.q""",
        "colored_objects": """
            embed > induction.v
            duplicate > gatherer.k
            induction > gatherer.v
            gatherer > mover.q""",
    }
    return Wired(
        net=hand_wired(spaces, layers, seed=seed),
        tasks={
            "indirect_object": indirect_object(n, seed=seed),
            "colored_objects": colored_objects(n, seed=seed),
        },
        circuits={name: edges(EARLY + own + LATE, roles) for name, own in circuits.items()},
        roles=roles,
    )


def _roles(strength: float, misaimed: bool) -> list[dict[str, WiredHead]]:
    """Heads of circuits, layer by layer."""
    content = torch.cat([SCENES[group] for group in ("names", "objects")])
    names, colors = only(SCENES["names"], N), only(SCENES["colors"], N)
    ends = {word: only(torch.tensor(SCENES(word)), N) for word in ("to", "?")}
    sink, alike = rest(N, strength), same(content, N)

    def at_duplicate(end: str, *copies: Copy) -> WiredHead:
        aim = Match("token", "duplicate", ends[end].T * torch.ones(1, N), strength)
        return WiredHead([rest(N, 20 * strength)] if misaimed else [aim, sink], copies)

    answers = torch.cat([SCENES["names"], SCENES["colors"]])
    candidates = ends["to"].T * names + 0.75 * ends["?"].T * colors
    return [
        {
            "previous": previous(PLACES, strength, Copy("token", "previous")),
            "duplicate": WiredHead(
                [
                    Match("token", "token", alike, strength),
                    Match("place", "place", torch.eye(PLACES), -2 * strength),  # not itself
                    sink,
                ],
                [Copy("token", "duplicate", alike)],
            ),
        },
        {
            "induction": WiredHead(
                [Match("token", "previous", alike, strength), sink],
                [
                    Copy("previous", "induced", same(SCENES["names"], N)),
                    Copy("token", "following", same(SCENES["colors"], N)),
                ],
            ),
        },
        {
            "inhibition": at_duplicate("to", Copy("induced", "inhibited")),
            "gatherer": at_duplicate("?", Copy("following", "gathered")),
        },
        {
            "mover": WiredHead(
                [
                    Match("token", "token", candidates, strength),
                    Match("inhibited", "token", torch.eye(N), -2 * strength),
                    Match("gathered", "token", torch.eye(N), strength),
                    sink,
                ],
                [Copy("token", "answer", LOGIT * same(answers, N))],
            ),
        },
    ]


def _distractors(strength: float) -> dict[str, WiredHead]:
    """Heads that look where heads of circuits look."""
    idle = Copy("token", "scratch", torch.eye(N, SCRATCH))
    ends = only(torch.tensor([SCENES("to"), SCENES("?")]), N)
    named = only(torch.cat([SCENES["names"], SCENES["colors"]]), N)
    return {
        "names and colors": WiredHead(
            [Match("token", "token", ends.T * named, strength), rest(N, strength)], [idle]
        ),
        "previous": previous(PLACES, strength, idle),
    }
