"""Text of a small grammar with planted topics and repeated strings, and what can be known of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from bregma.datasets._task import Task
from bregma.errors import InvalidArgument
from bregma.run import spawn

N_CONCEPTS, N_WORDS, N_LETTERS = 8, 4, 4  # words of a concept, letters of a word
LETTERS = "abcdefghijklmnop"  # each one once in the words of every concept
SYMBOLS = LETTERS + ".!= "
RUN, COPY, AGAIN, SPACE = (SYMBOLS.index(s) for s in ".!= ")
RUN_WORDS, COPIED = 3, 7  # words in a run, letters in a string that is repeated
SEGMENT = 1 + RUN_WORDS * (N_LETTERS + 1)
assert SEGMENT == 2 + 2 * COPIED, "both kinds of segments are equally long"


@dataclass(frozen=True, kw_only=True)
class Documents(Task):
    """Text to predict, with its truth: inputs lack the last token, targets the first one.

    Parameters
    ----------
    inputs, targets : torch.Tensor
        (document, time) int64, numbers of `symbols`.
    n_classes : int
        How many symbols.
    chance : float
        Share of the commonest target.
    best : float
        Expected accuracy of who knows the grammar.
    concepts : torch.Tensor
        (document,) int64: the topic of every document.
    repeated : torch.Tensor
        (document, time) bool: targets that follow from the string that is being repeated.
    surprise : float
        Expected cross-entropy of who knows the grammar, in nats per token: no model is below it
        on average over documents.
    symbols : str
        What the tokens look like.
    """

    concepts: torch.Tensor
    repeated: torch.Tensor
    surprise: float
    symbols: str = SYMBOLS

    def text(self, document: int) -> str:
        """A document as it reads.

        Parameters
        ----------
        document : int
            Which one.

        Returns
        -------
        str
            All of its tokens.
        """
        tokens = [*self.inputs[document].tolist(), int(self.targets[document, -1])]
        return "".join(self.symbols[t] for t in tokens)


def concept_text(
    *, n_train: int = 4096, n_test: int = 512, n_segments: int = 4, seed: int
) -> tuple[Documents, Documents]:
    """Documents with one of 8 topics each, in a grammar that one can learn completely.

    Half of a document's segments are runs of three words of its topic (``.abcd efgh abcd ``), the
    other half a random string and the same once more (``!hcofabd=hcofabd``), in random order.
    Every topic has four words of its own. They use each of the 16 letters once, so that letters
    alone say nothing about the topic.

    Parameters
    ----------
    n_train, n_test : int
        How many documents.
    n_segments : int
        Segments of 16 symbols in a document, an even number.
    seed : int
        Makes the words and the documents.

    Returns
    -------
    train, test : Documents
        With the same words.

    Raises
    ------
    InvalidArgument
        An odd number of segments, or nothing to train or test on.

    Examples
    --------
    >>> train, test = concept_text(n_train=100, n_test=50, seed=0)
    >>> train.text(0), int(train.concepts[0])
    ('!obcklmh=obcklmh!ickaemj=ickaemj.dcob dcob aieg .fhpk aieg nljm ', 4)
    """
    if min(n_train, n_test) < 1 or n_segments < 2 or n_segments % 2:
        raise InvalidArgument(
            "n_train and n_test must be 1 or more and n_segments even, "
            f"not {n_train}, {n_test} and {n_segments}"
        )
    words = _vocabulary(spawn(seed, "concept_text", "words"))

    def part(name: str, n: int) -> Documents:
        rng = spawn(seed, "concept_text", name)
        concepts = rng.permutation(np.arange(n) % N_CONCEPTS)
        runs = rng.permuted(np.tile(np.arange(n_segments) % 2 == 0, (n, 1)), axis=1)
        tokens, repeated = _written(words, concepts, runs, rng)
        known = _known(words, tokens, runs)[:, 1:]
        targets = tokens[:, 1:]
        told = np.take_along_axis(known, targets[..., None], -1)
        return Documents(
            torch.as_tensor(tokens[:, :-1]),
            torch.as_tensor(targets),
            len(SYMBOLS),
            chance=float(np.bincount(targets.ravel()).max() / targets.size),
            best=float(known.max(-1).mean()),
            concepts=torch.as_tensor(concepts),
            repeated=torch.as_tensor(repeated[:, 1:]),
            surprise=float(-np.log(told).mean()),
        )

    return part("train", n_train), part("test", n_test)


def _vocabulary(rng: np.random.Generator) -> Int[np.ndarray, "concept word letter"]:
    """Words, all different: the letters in another order for every concept, cut into words."""
    while True:
        orders = rng.permuted(np.tile(np.arange(len(LETTERS)), (N_CONCEPTS, 1)), axis=1)
        words = orders.reshape(N_CONCEPTS, N_WORDS, N_LETTERS)
        if len(np.unique(words.reshape(-1, N_LETTERS), axis=0)) == N_CONCEPTS * N_WORDS:
            return words


def _written(
    words: Int[np.ndarray, "concept word letter"],
    concepts: Int[np.ndarray, " document"],
    runs: Bool[np.ndarray, "document segment"],
    rng: np.random.Generator,
) -> tuple[Int[np.ndarray, "document time"], Bool[np.ndarray, "document time"]]:
    """Tokens, and which of them follow from a string that is being repeated."""
    n, n_segments = runs.shape
    drawn = words[concepts[:, None, None], rng.integers(N_WORDS, size=(n, n_segments, RUN_WORDS))]
    spaces = np.full((*drawn.shape[:-1], 1), SPACE)
    run = np.concatenate([drawn, spaces], -1).reshape(n, n_segments, -1)
    letters = rng.permuted(np.tile(np.arange(len(LETTERS)), (n, n_segments, 1)), axis=2)
    string = letters[..., :COPIED]
    again = np.full((n, n_segments, 1), AGAIN)
    body = np.where(runs[..., None], run, np.concatenate([string, again, string], -1))
    marker = np.where(runs, RUN, COPY)[..., None]
    # The first letter of a copy follows too, but from '!', not from an earlier pair of letters.
    inside = np.arange(SEGMENT) > COPIED + 2
    repeated = ~runs[..., None] & inside
    return np.concatenate([marker, body], -1).reshape(n, -1), repeated.reshape(n, -1)


def _known(
    words: Int[np.ndarray, "concept word letter"],
    tokens: Int[np.ndarray, "document time"],
    runs: Bool[np.ndarray, "document segment"],
) -> Float[np.ndarray, "document time symbol"]:
    """Probability of every symbol given all before it, for who knows the words and the grammar."""
    n, n_segments = runs.shape
    tokens = tokens.reshape(n, n_segments, SEGMENT)
    known = np.zeros((*tokens.shape, len(SYMBOLS)))
    belief = np.full((n, N_CONCEPTS), 1 / N_CONCEPTS)
    for segment in range(n_segments):
        left = n_segments // 2 - runs[:, :segment].sum(1)
        known[:, segment, 0, RUN] = left / (n_segments - segment)
        known[:, segment, 0, COPY] = 1 - known[:, segment, 0, RUN]
        here = runs[:, segment]
        _of_copy(known[:, segment], tokens[:, segment], ~here)
        belief = _of_run(known[:, segment], tokens[:, segment], here, words, belief)
    return known.reshape(n, -1, len(SYMBOLS))


def _of_copy(known: np.ndarray, tokens: np.ndarray, here: np.ndarray) -> None:
    """Fill in a segment that repeats a string: letters that were not there yet, then certainty."""
    for k in range(COPIED):
        known[here, 1 + k, : len(LETTERS)] = 1 / (len(LETTERS) - k)
        for earlier in range(k):
            known[here, 1 + k, tokens[here, 1 + earlier]] = 0
        known[here, 2 + COPIED + k, tokens[here, 1 + k]] = 1
    known[here, 1 + COPIED, AGAIN] = 1


def _of_run(
    known: np.ndarray,
    tokens: np.ndarray,
    here: np.ndarray,
    words: np.ndarray,
    belief: np.ndarray,
) -> np.ndarray:
    """Fill in a run of words, and give the belief about the concept after it."""
    belief = belief.copy()
    for word in range(RUN_WORDS):
        at = 1 + word * (N_LETTERS + 1)
        fits = np.repeat(belief[here, :, None] / N_WORDS, N_WORDS, -1)  # (document, concept, word)
        for k in range(N_LETTERS):
            for letter in range(len(LETTERS)):
                known[here, at + k, letter] = (fits * (words[..., k] == letter)).sum((1, 2))
            known[here, at + k] /= known[here, at + k].sum(-1, keepdims=True)
            fits = fits * (words[..., k] == tokens[here, at + k][:, None, None])
        known[here, at + N_LETTERS, SPACE] = 1
        belief[here] = fits.sum(-1) / fits.sum((1, 2))[:, None]
    return belief
