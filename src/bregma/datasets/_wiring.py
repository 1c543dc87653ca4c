"""What wired networks have in common: kinds of heads, where they sit, names of their edges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from bregma.datasets._wired import Edge
from bregma.errors import InvalidArgument
from bregma.nn import Copy, Match, WiredHead
from bregma.run import spawn

STRENGTH = 100.0  # of a score: other places get exp(-STRENGTH / 2) at most

LOGIT = 10.0  # of the answer that the network gives


def only(tokens: Tensor, n: int) -> Tensor:
    """Ones for some tokens: (1, n)."""
    return torch.zeros(1, n).index_fill(1, tokens.reshape(-1), 1.0)


def same(tokens: Tensor, n: int) -> Tensor:
    """Some tokens meet their like, or stay as they are: (n, n)."""
    return torch.diag(only(tokens, n)[0])


def rest(n: int, strength: float) -> Match:
    """Look at the first token, which is always the same, where nothing else scores higher."""
    return Match("token", "token", torch.ones(n, 1) * only(torch.tensor(0), n), strength / 2)


def previous(n_places: int, strength: float, *copies: Copy) -> WiredHead:
    """A head that looks at the token before."""
    return WiredHead([Match("place", "place", torch.eye(n_places).roll(-1, 1), strength)], copies)


def check_wired(n: int, strength: float) -> None:
    """Refuse no prompts, and heads that do not choose."""
    if n < 1 or strength < 5:
        raise InvalidArgument(
            f"n must be 1 or more, not {n}, and strength 5 or more, not {strength:g}"
        )


def arranged(
    roles: Sequence[Mapping[str, WiredHead]],
    distractors: Mapping[str, WiredHead],
    n_heads: int,
    seed: int,
) -> tuple[list[list[WiredHead | None]], dict[str, str]]:
    """Heads of every layer in random order, filled up with distractors; and where each role sits.

    Distractors are random heads and those given, in turn.
    """
    most = max(map(len, roles))
    if n_heads < most:
        raise InvalidArgument(f"{n_heads} heads in a layer are not enough: it takes {most}")
    rng = spawn(seed, "wired", "order")
    layers, where = list[list[WiredHead | None]](), dict[str, str]()
    other = ["", *distractors]
    for number, own in enumerate(roles):
        named: list[tuple[str, WiredHead | None]] = list(own.items())
        for spare in range(n_heads - len(own)):
            kind = other[(spare + number) % len(other)]
            named.append(
                (f"distractor: {kind}", distractors[kind]) if kind else ("distractor", None)
            )
        named = [named[i] for i in rng.permutation(n_heads)]
        layers.append([head for _, head in named])
        where.update({f"{number}.h{h}": role for h, (role, _) in enumerate(named)})
    return layers, where


def edges(text: str, roles: Mapping[str, str]) -> frozenset[Edge]:
    """Edges from lines like ``embed > previous.v``, with names of roles put into those of heads."""
    heads = {role: head for head, role in roles.items() if not role.startswith("distractor")}

    def named(end: str) -> str:
        role, *part = end.rsplit(".", 1)
        return ".".join([heads[role], *part]) if role in heads else end

    ends = (line.split(">") for line in text.splitlines() if line.strip())
    return frozenset((named(sender.strip()), named(receiver.strip())) for sender, receiver in ends)
