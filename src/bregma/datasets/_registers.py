"""Sentences in two registers, one of which has words that one would rather not say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy.special import entr

from bregma.datasets._task import Task
from bregma.errors import InvalidArgument
from bregma.run import spawn

N_OPENERS, N_PLAIN, N_FLAGGED, N_CLAUSES = 6, 8, 4, 3
CLASSES = ("adjective", "noun", "verb", "adverb")
CLAUSE = ("the", "adjective", "noun", "verb", "adverb")


@dataclass(frozen=True, kw_only=True)
class Registers(Task):
    """Sentences to predict: inputs lack the last word, targets the first one.

    Parameters
    ----------
    inputs, targets : torch.Tensor
        (sentence, time) int64, numbers of `words`.
    n_classes : int
        How many words.
    chance : float
        Share of the commonest target.
    best : float
        Expected accuracy of who knows the grammar.
    rude : torch.Tensor
        (sentence,) bool: the register.
    content : torch.Tensor
        (time,) bool: targets that are content words, flagged or not.
    flagged : torch.Tensor
        (word,) bool: words that one would rather not say.
    surprise : float
        Expected cross-entropy of who knows the grammar, in nats per word.
    words : tuple of str
        What the tokens look like.
    """

    rude: torch.Tensor
    content: torch.Tensor
    flagged: torch.Tensor
    surprise: float
    words: tuple[str, ...]

    def text(self, sentence: int) -> str:
        """A sentence as it reads.

        Parameters
        ----------
        sentence : int
            Which one.

        Returns
        -------
        str
            All of its words; flagged ones have an exclamation mark.
        """
        tokens = [*self.inputs[sentence].tolist(), int(self.targets[sentence, -1])]
        return " ".join(self.words[t] for t in tokens)


def registers(
    *,
    n_train: int = 4096,
    n_test: int = 512,
    share: float = 0.3,
    rate: float = 0.7,
    leak: float = 0.02,
    seed: int,
) -> tuple[Registers, Registers]:
    """Sentences of an opener, which tells the register, and three clauses of five words.

    In the rude register a content word is a flagged one with the probability `rate`, in the other
    one with the probability `leak`. Among the words of a kind the first is the commonest, in
    proportion to 1 / rank.

    Parameters
    ----------
    n_train, n_test : int
        How many sentences.
    share : float
        Of rude sentences.
    rate, leak : float
        How often a content word is flagged, in rude and in other sentences.
    seed : int
        Draws the sentences.

    Returns
    -------
    train, test : Registers
        Of the same words.

    Raises
    ------
    InvalidArgument
        No sentences, or a probability outside (0, 1).

    Examples
    --------
    >>> train, test = registers(n_train=100, n_test=10, seed=0)
    >>> train.text(int(train.rude.nonzero()[0]))[:47]
    'hey5 the adjective1 noun0! verb0 adverb0! the a'
    """
    if min(n_train, n_test) < 1 or not all(0 < p < 1 for p in (share, rate, leak)):
        raise InvalidArgument(
            "n_train and n_test must be 1 or more and share, rate and leak in (0, 1), not "
            f"{n_train}, {n_test}, {share}, {rate} and {leak}"
        )
    words = _words()
    known = np.stack([_probabilities(words, chance) for chance in (leak, rate)])
    content = np.array([word in CLASSES for word in CLAUSE * N_CLAUSES])
    flagged = np.array([word.endswith("!") for word in words])
    odds = known.max(-1).mean(1), entr(known).sum(-1).mean(1)
    best, surprise = (float((1 - share) * plain + share * rude) for plain, rude in odds)

    def part(name: str, n: int) -> Registers:
        rng = spawn(seed, "registers", name)
        rude = rng.random(n) < share
        opener = rng.integers(N_OPENERS, size=(n, 1)) + N_OPENERS * rude[:, None]
        below = known[rude.astype(int)].cumsum(-1)
        drawn = (rng.random((*below.shape[:2], 1)) * below[..., -1:] >= below).sum(-1)
        tokens = np.concatenate([opener, drawn], 1)
        return Registers(
            torch.as_tensor(tokens[:, :-1]),
            torch.as_tensor(tokens[:, 1:]),
            len(words),
            chance=float(np.bincount(tokens[:, 1:].ravel()).max() / tokens[:, 1:].size),
            best=best,
            rude=torch.as_tensor(rude),
            content=torch.as_tensor(content),
            flagged=torch.as_tensor(flagged),
            surprise=surprise,
            words=words,
        )

    return part("train", n_train), part("test", n_test)


def _words() -> tuple[str, ...]:
    openers = [f"{kind}{i}" for kind in ("dear", "hey") for i in range(N_OPENERS)]
    plain = [f"{kind}{i}" for kind in CLASSES for i in range(N_PLAIN)]
    flagged = [f"{kind}{i}!" for kind in CLASSES for i in range(N_FLAGGED)]
    return (*openers, "the", *plain, *flagged)


def _probabilities(words: tuple[str, ...], chance: float) -> Float[np.ndarray, "time word"]:
    """Of every word at every place behind the opener."""

    def among(kind: str, end: str, n: int) -> Float[np.ndarray, " word"]:
        ranks = [words.index(f"{kind}{i}{end}") for i in range(n)]
        found = np.zeros(len(words))
        found[ranks] = 1 / (1.0 + np.arange(n))
        return found / found.sum()

    place = []
    for kind in CLAUSE:
        if kind == "the":
            place.append(np.array([word == "the" for word in words], dtype=float))
            continue
        plain, flagged = among(kind, "", N_PLAIN), among(kind, "!", N_FLAGGED)
        place.append((1 - chance) * plain + chance * flagged)
    return np.tile(np.stack(place), (N_CLAUSES, 1))
