"""Sentences as numbers, and a small language model of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from bregma.errors import InvalidArgument
from bregma.run import derive, private_randomness

END, UNKNOWN = 0, 1  # the end of a sentence also stands before its first word


class Vocabulary:
    """Words that are numbered through; a sentence is its words, split at spaces, and an end.

    Parameters
    ----------
    texts : iterable of str
        Sentences whose words to take.
    least : int
        Words that come less often are unknown.

    Examples
    --------
    >>> words = Vocabulary(["a red circle", "a square"])
    >>> words.encode(["a red square"]).tolist(), words.decode([2, 5])
    ([[2, 3, 5, 0]], 'a square')
    """

    def __init__(self, texts: Iterable[str], *, least: int = 1) -> None:
        count: dict[str, int] = {}
        for text in texts:
            for word in text.split():
                count[word] = count.get(word, 0) + 1
        kept = [word for word, times in count.items() if times >= least]
        if not kept:
            raise InvalidArgument("these texts have no words")
        self.words = ("<end>", "<unknown>", *kept)
        self._number = {word: i for i, word in enumerate(self.words)}

    def __len__(self) -> int:
        return len(self.words)

    def encode(self, texts: Sequence[str]) -> Int[Tensor, "text word"]:
        """Numbers of words, one sentence a row.

        Parameters
        ----------
        texts : sequence of str
            Sentences.

        Returns
        -------
        Tensor of int (text, word)
            The words and the end; -1 behind it.
        """
        rows = [[*(self._number.get(w, UNKNOWN) for w in t.split()), END] for t in texts]
        out = torch.full((len(rows), max(map(len, rows), default=1)), -1)
        for i, row in enumerate(rows):
            out[i, : len(row)] = torch.tensor(row)
        return out

    def decode(self, numbers: Sequence[int]) -> str:
        """The words of numbers, up to the end.

        Parameters
        ----------
        numbers : sequence of int
            Of words.

        Returns
        -------
        str
            The sentence.
        """
        words = []
        for number in numbers:
            if number == END:
                break
            words.append(self.words[number])
        return " ".join(words)


def shifted(sentences: Int[Tensor, "text word"]) -> Int[Tensor, "text word"]:
    """What stands before each word: the end before the first one."""
    return F.pad(sentences[:, :-1], (1, 0), value=END).clamp_min(END)


def log_likelihood(
    scores: Float[Tensor, "text word entry"], sentences: Int[Tensor, "text word"]
) -> Float[Tensor, " text"]:
    """log p of sentences of which -1 is no part."""
    each = scores.log_softmax(-1).gather(-1, sentences.clamp_min(0)[..., None])[..., 0]
    return (each * (sentences >= 0)).sum(1)


class SentencePrior(nn.Module):
    """A language model of descriptions: an LSTM of two layers, p(d).

    Train it with `bregma.run.fit` on `loss` over the same descriptions as the captioner.

    Parameters
    ----------
    vocabulary : Vocabulary
        Its words.
    width : int
        Of embeddings and states.
    layers : int
        Of the LSTM.
    seed : int
        Of the first weights.

    References
    ----------
    Hernandez et al. (2022), Natural language descriptions of deep visual features.
    """

    def __init__(
        self, vocabulary: Vocabulary, *, width: int = 64, layers: int = 2, seed: int = 0
    ) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        with private_randomness(derive(seed, "SentencePrior")):
            self.embed = nn.Embedding(len(vocabulary), width)
            self.lstm = nn.LSTM(width, width, layers, batch_first=True)
            self.out = nn.Linear(width, len(vocabulary))

    def forward(self, sentences: Int[Tensor, "text word"]) -> Float[Tensor, " text"]:
        """log p of each sentence, in nats."""
        states, _ = self.lstm(self.embed(shifted(sentences)))
        return log_likelihood(self.out(states), sentences)

    def loss(self, sentences: Int[Tensor, "text word"]) -> Float[Tensor, ""]:
        """Mean surprise of a word.

        Parameters
        ----------
        sentences : Tensor of int (text, word)
            As `Vocabulary.encode` gives them.

        Returns
        -------
        Tensor
            In nats.
        """
        return -self(sentences).sum() / (sentences >= 0).sum()

    @torch.no_grad()
    def log_prob(self, texts: Sequence[str]) -> Float[np.ndarray, " text"]:
        """How common texts are.

        Parameters
        ----------
        texts : sequence of str
            Descriptions.

        Returns
        -------
        array (text,)
            log p(d) in nats.
        """
        sentences = self.vocabulary.encode(texts).to(self.out.weight.device)
        return self(sentences).double().cpu().numpy()


Step = Callable[[Int[Tensor, " beam"], Any], tuple[Float[Tensor, "beam entry"], Any]]


def beam_search(step: Step, state: Any, n: int, *, longest: int) -> list[tuple[list[int], float]]:
    """The most probable sentences of a model that writes word by word.

    Parameters
    ----------
    step : callable
        ``step(words, state)`` gives log p of the next word (beam, entry) and the new state, whose
        tensors have the beam as their first axis.
    state : tuple of Tensor
        The state before the first word, of one sentence.
    n : int
        Width of the beam.
    longest : int
        Words at most; sentences without an end by then are dropped.

    Returns
    -------
    list of (list of int, float)
        Sentences with their ends and log p, most probable first; n at most.
    """
    done: list[tuple[list[int], float]] = []
    texts: list[list[int]] = [[]]
    totals, words = torch.zeros(1), torch.full((1,), END)
    for _ in range(longest + 1):
        scores, state = step(words.to(state[0].device), state)
        total = totals[:, None] + scores.double().cpu()
        best, index = total.flatten().topk(min(n, total.numel()))
        rows, words = index // total.shape[1], index % total.shape[1]
        ended = words == END
        new = [[*texts[r], w] for r, w in zip(rows.tolist(), words.tolist(), strict=True)]
        done += [(new[i], best[i].item()) for i in ended.nonzero()[:, 0].tolist()]
        done = sorted(done, key=lambda one: -one[1])[:n]
        go = ~ended
        if not go.any() or (len(done) == n and best[go].max() <= done[-1][1]):
            break
        texts = [new[i] for i in go.nonzero()[:, 0].tolist()]
        totals, words = best[go], words[go]
        state = tuple(part[rows[go].to(part.device)] for part in state)
    return done
