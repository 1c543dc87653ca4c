"""A network for six tasks: three share one circuit, and three another one."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from bregma.datasets._lexicon import Lexicon, distinct
from bregma.datasets._prompt_pairs import PromptPairs
from bregma.datasets._wired import Edge, Wired
from bregma.datasets._wiring import LOGIT, arranged, check_wired, edges, only, previous, rest, same
from bregma.errors import InvalidArgument
from bregma.nn import Copy, Match, WiredHead, hand_wired
from bregma.run import spawn_torch

# Cues of a formal task: two that ask for a form each, and one that asks for nothing.
FORMAL = {
    "agreement": ("cat cats sheep", "is are"),
    "licensing": ("nobody somebody who", "ever already"),
    "gender": ("king queen child", "he she"),
}
# Of a functional task: who, what is said of them, and what that stands for.
FUNCTIONAL = {
    "binding": ("Ada Ben Cleo Dan Eva Finn Gina Hugo", "pen cup book key hat ball bag lamp", ""),
    "capital": (
        "Iris Jack Kate Liam Mia Noah Olga Paul",
        "Peru Chile Cuba Japan Egypt Kenya Spain Italy",
        "Lima Santiago Havana Tokyo Cairo Nairobi Madrid Rome",
    ),
    "successor": (
        "Quin Rosa Sam Tara Uma Vera Will Zoe",
        "1 2 3 4 5 6 7 8",
        "two three four five six seven eight nine",
    ),
}
LEXICON = Lexicon(
    start="<start>",
    fillers="today here often maybe also really quite still",
    others="the that now , .",
    **{f"{task} cues": cues for task, (cues, _) in FORMAL.items()},
    **{f"{task} forms": forms for task, (_, forms) in FORMAL.items()},
    **{f"{task} keys": keys for task, (keys, _, _) in FUNCTIONAL.items()},
    **{f"{task} values": values for task, (_, values, _) in FUNCTIONAL.items()},
    **{f"{task} answers": answers for task, (_, _, answers) in FUNCTIONAL.items() if answers},
)
N, PLACES, SCRATCH = len(LEXICON.words), 11, 16


def wired_families(
    n: int = 64, *, copies: int = 1, n_heads: int = 4, strength: float = 10.0, seed: int
) -> Wired:
    """Three layers that do three formal and three functional tasks.

    Formal: a word asks for a form at the end, ``here the cats that often maybe now`` for "are",
    whatever is between. Layer 0: *carrier* brings the cue to "that"; layer 1: *agreer* brings it
    from there to the end; the perceptron of layer 1 gives the form. Functional: ``Ada pen , Ben
    cup , Cleo hat . Ben`` asks for cup, and with other words for the capital or the successor of
    what was said. Layer 0: *previous* writes to every token which one was before it; layer 1:
    *matcher* looks at what comes behind the same name; the perceptron of layer 2 gives what it
    stands for. Words in corrupt prompts ask for nothing: a neutral cue, or a name that is not
    there.

    With copies of each head any one of them is enough, and each is stronger for some of the tasks:
    circuits that were found for two tasks of a family may then have no head in common although
    either circuit does both tasks.

    Parameters
    ----------
    n : int
        Pairs of prompts for each task.
    copies : int
        Heads of each role. With more than one, circuits hold the edges of all copies, and the
        answer suffers only if those alike are cut together.
    n_heads : int
        Heads of a layer, at least twice the copies. Others are distractors.
    strength : float
        Of attention: a head leaves exp(-strength / 2) of it to the first token. Derivatives are as
        small as that; at 100 there are none.
    seed : int
        Draws prompts, distractors and the order of heads, and turns the residual stream.

    Returns
    -------
    Wired
        With the tasks ``"agreement"``, ``"licensing"``, ``"gender"`` (formal) and ``"binding"``,
        ``"capital"``, ``"successor"`` (functional).

    Raises
    ------
    InvalidArgument
        A number out of range.

    References
    ----------
    Hanna, Pezzelle and Belinkov (2025), Are formal and functional linguistic mechanisms
    dissociated in language models?

    Examples
    --------
    >>> wired = wired_families(2, seed=0)
    >>> print(wired.tasks["agreement"].text(0))
    clean:   <start> still the cats that also here now -> are, not is
    corrupt: <start> still the sheep that also here now
    >>> print(wired.tasks["capital"].text(0))
    clean:   <start> Liam Chile , Paul Spain , Olga Egypt . Liam -> Santiago, not Cairo
    corrupt: <start> Kate Peru , Noah Kenya , Iris Cuba . Mia
    """
    check_wired(n, strength)
    if copies < 1:
        raise InvalidArgument(f"copies must be 1 or more, not {copies}")
    idle = Copy("token", "scratch", torch.eye(N, SCRATCH))
    layers, roles = arranged(
        _roles(copies, strength), {"previous": previous(PLACES, strength, idle)}, n_heads, seed
    )
    spaces = {"token": N, "place": PLACES, "cue": 6, "form": 6, "previous": N, "found": N}
    formal, functional = _circuits(copies, roles)
    return Wired(
        net=hand_wired(
            {**spaces, "answer": N, "scratch": SCRATCH},
            layers,
            [[], [Copy("form", "answer", LOGIT * _forms())], [_meaning()]],
            seed=seed,
        ),
        tasks={
            **{task: _formal_prompts(task, n, seed) for task in FORMAL},
            **{task: _functional_prompts(task, n, seed) for task in FUNCTIONAL},
        },
        circuits={**dict.fromkeys(FORMAL, formal), **dict.fromkeys(FUNCTIONAL, functional)},
        roles=roles,
    )


def _roles(copies: int, strength: float) -> list[dict[str, WiredHead]]:
    """Heads of circuits, layer by layer."""
    sink = rest(N, strength)
    that, now = (only(torch.tensor(LEXICON(word)), N) for word in ("that", "now"))
    cues = only(torch.cat([LEXICON[f"{task} cues"] for task in FORMAL]), N)
    asks = torch.cat([LEXICON[f"{task} cues"][:2] for task in FORMAL])
    first, second, third = {}, {}, dict[str, WiredHead]()
    for copy in range(copies):
        of_form, of_key, of_value = torch.ones(6), torch.ones(N), torch.ones(N)
        for number, task in enumerate(FUNCTIONAL):
            if copies > 1 and number % copies == copy:  # strong for a task of each family
                of_form[2 * number : 2 * number + 2] = 1.5
                of_key[LEXICON[f"{task} keys"]] = 1.5
                of_value[LEXICON[f"{task} values"]] = 1.5
        keys, values = (
            torch.cat([LEXICON[f"{task} {group}"] for task in FUNCTIONAL])
            for group in ("keys", "values")
        )
        cue = torch.zeros(N, 6)
        cue[asks] = torch.diag(of_form)
        first[f"carrier {copy}"] = WiredHead(
            [Match("token", "token", that.T * cues, strength), sink], [Copy("token", "cue", cue)]
        )
        first[f"previous {copy}"] = previous(
            PLACES, strength, Copy("token", "previous", same(keys, N) * of_key)
        )
        second[f"agreer {copy}"] = WiredHead(
            [Match("token", "token", now.T * that, strength), sink],
            [Copy("cue", "form", torch.diag(of_form))],
        )
        second[f"matcher {copy}"] = WiredHead(
            [Match("token", "previous", torch.eye(N), strength), sink],
            [Copy("token", "found", same(values, N) * of_value)],
        )
    return [first, second, third]


def _forms() -> Tensor:
    """Form of a cue: (cue, answer)."""
    forms = torch.cat([LEXICON[f"{task} forms"] for task in FORMAL])
    return torch.eye(N)[forms]


def _meaning() -> Copy:
    """What was found to what it stands for."""
    weight = torch.zeros(N, N)
    for task in FUNCTIONAL:
        weight[LEXICON[f"{task} values"], _answers(task)] = LOGIT
    return Copy("found", "answer", weight)


def _answers(task: str) -> Tensor:
    return LEXICON[f"{task} answers" if FUNCTIONAL[task][2] else f"{task} values"]


def _circuits(copies: int, roles: Mapping[str, str]) -> tuple[frozenset[Edge], frozenset[Edge]]:
    formal, functional = ["1.mlp > logits"], ["2.mlp > logits"]
    for i in range(copies):
        formal += [f"embed > carrier {i}.v", f"agreer {i} > 1.mlp"]
        formal += [f"carrier {i} > agreer {j}.v" for j in range(copies)]
        functional += [f"embed > previous {i}.v", f"matcher {i} > 2.mlp"]
        functional += [f"embed > matcher {i}.{part}" for part in "qv"]
        functional += [f"previous {i} > matcher {j}.k" for j in range(copies)]
    return edges("\n".join(formal), roles), edges("\n".join(functional), roles)


def _formal_prompts(task: str, n: int, seed: int) -> PromptPairs:
    rng = spawn_torch(seed, "wired_families", task)
    cues, forms = LEXICON[f"{task} cues"], LEXICON[f"{task} forms"]
    x, y, z = distinct(LEXICON["fillers"], n, 3, rng)
    which = torch.arange(n)[torch.randperm(n, generator=rng)] % 2

    def prompt(cue: Tensor) -> Tensor:
        return LEXICON.fill("<start> x the cue that y z now", x=x, y=y, z=z, cue=cue)

    return PromptPairs(
        clean=prompt(cues[which]),
        corrupt=prompt(cues[2].expand(n)),
        right=forms[which],
        wrong=forms[1 - which],
        words=LEXICON.words,
        name=task,
    )


def _functional_prompts(task: str, n: int, seed: int) -> PromptPairs:
    rng = spawn_torch(seed, "wired_families", task)
    keys = distinct(LEXICON[f"{task} keys"], n, 7, rng)
    numbers = distinct(torch.arange(8), n, 6, rng)
    asked = torch.stack([torch.randperm(3, generator=rng) for _ in range(n)])  # asked, wrong, rest

    def prompt(keys: list[Tensor], numbers: list[Tensor], it: Tensor) -> Tensor:
        values = [LEXICON[f"{task} values"][number] for number in numbers]
        return LEXICON.fill(
            "<start> a x , b y , c z . it",
            **dict(zip("abcxyz", [*keys, *values], strict=True)),
            it=it,
        )

    def chosen(options: list[Tensor], which: int) -> Tensor:
        return torch.stack(options[:3], 1).gather(1, asked[:, which, None])[:, 0]

    return PromptPairs(
        clean=prompt(keys[:3], numbers[:3], chosen(keys, 0)),
        corrupt=prompt(keys[3:6], numbers[3:], keys[6]),
        right=_answers(task)[chosen(numbers, 0)],
        wrong=_answers(task)[chosen(numbers, 1)],
        words=LEXICON.words,
        name=task,
    )
