"""Vocabularies in groups of words, and templates that are filled with them."""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor


class Lexicon:
    """Groups of words, numbered through, each word once.

    ``lexicon["names"]`` gives the tokens of a group, ``lexicon("ever")`` that of a word.
    """

    def __init__(self, **groups: str) -> None:
        self.words: tuple[str, ...] = tuple(" ".join(groups.values()).split())
        assert len(set(self.words)) == len(self.words), "a word is in two groups"
        self._token = {word: token for token, word in enumerate(self.words)}
        self._groups = {
            name: torch.tensor([self._token[word] for word in text.split()])
            for name, text in groups.items()
        }

    def __call__(self, word: str) -> int:
        return self._token[word]

    def __getitem__(self, group: str) -> Int[Tensor, " word"]:
        return self._groups[group]

    def fill(self, template: str, **slots: Int[Tensor, " row"]) -> Int[Tensor, "row token"]:
        """A row of tokens for each filling: names of slots stand for words of their own."""
        n = max(len(slot) for slot in slots.values())
        return torch.stack(
            [
                slots[word] if word in slots else torch.full((n,), self._token[word])
                for word in template.split()
            ],
            1,
        )


def distinct(
    group: Int[Tensor, " word"], n: int, k: int, rng: torch.Generator
) -> list[Int[Tensor, " row"]]:
    """n times k different words of a group: one tensor for each of the k."""
    return list(group[torch.rand(n, len(group), generator=rng).argsort(1)[:, :k]].T)
