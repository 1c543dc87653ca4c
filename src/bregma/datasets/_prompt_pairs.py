"""Prompts in pairs that differ in what the answer depends on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from bregma.datasets._task import Task
from bregma.errors import InvalidArgument
from bregma.run import spawn


@dataclass(frozen=True)
class PromptPairs:
    """Clean and corrupt prompts, token by token alike, and two answers that tell them apart.

    The answer is read at the last token. The right one is that of the clean prompt; the wrong
    one is what somebody would say who had read the corrupt prompt, or who missed what the two
    prompts differ in.

    Parameters
    ----------
    clean, corrupt : torch.Tensor
        (pair, token) int64, both of the same shape.
    right, wrong : torch.Tensor
        (pair,) int64: tokens of the answers, different ones.
    words : tuple of str
        What every token of the vocabulary looks like.
    name : str
        Of the task.
    best : float
        Expected accuracy of the best possible answer to the clean prompts: below 1 where several
        answers are as good and one of them was drawn.

    Raises
    ------
    InvalidArgument
        Nothing at all, parts that do not fit together, numbers that are no tokens, a pair whose
        two answers are the same, or whose prompts are.

    Examples
    --------
    >>> pairs = PromptPairs(
    ...     clean=torch.tensor([[0, 1, 0], [1, 0, 1]]),
    ...     corrupt=torch.tensor([[0, 1, 1], [1, 0, 0]]),
    ...     right=torch.tensor([1, 0]),
    ...     wrong=torch.tensor([0, 1]),
    ...     words=("tick", "tock"),
    ...     name="clock",
    ... )
    >>> print(pairs.text(0))
    clean:   tick tock tick -> tock, not tick
    corrupt: tick tock tock
    """

    clean: Int[Tensor, "pair token"]
    corrupt: Int[Tensor, "pair token"]
    right: Int[Tensor, " pair"]
    wrong: Int[Tensor, " pair"]
    words: tuple[str, ...]
    name: str
    best: float = 1.0

    def __post_init__(self) -> None:
        shape = tuple(self.clean.shape)
        if len(shape) != 2 or 0 in shape or tuple(self.corrupt.shape) != shape:
            raise InvalidArgument(
                "clean and corrupt must be (pair, token), of one shape and not empty, "
                f"not {shape} and {tuple(self.corrupt.shape)}"
            )
        for name, tokens in self._tokens().items():
            if tokens.dtype != torch.int64:
                raise InvalidArgument(f"{name} must be int64 tokens, not {tokens.dtype}")
            if name in ("right", "wrong") and tuple(tokens.shape) != shape[:1]:
                raise InvalidArgument(
                    f"{name} must have one token for each of {shape[0]} pairs, "
                    f"not the shape {tuple(tokens.shape)}"
                )
            low, high = int(tokens.min()), int(tokens.max())
            if low < 0 or high >= len(self.words):
                raise InvalidArgument(
                    f"{name} has tokens from {low} to {high}; there are words for "
                    f"0 to {len(self.words) - 1}"
                )
        for what, same in (
            ("the right answer is the wrong one", self.right == self.wrong),
            ("the clean prompt is the corrupt one", (self.clean == self.corrupt).all(1)),
        ):
            if same.any():
                raise InvalidArgument(f"{what} in pair {int(same.nonzero()[0])}")

    def __len__(self) -> int:
        return len(self.clean)

    def __getitem__(self, rows: slice | Sequence[int] | Tensor | np.ndarray) -> PromptPairs:
        where = rows if isinstance(rows, slice) else torch.as_tensor(rows)
        if isinstance(where, Tensor) and (where.ndim != 1 or where.is_floating_point()):
            raise InvalidArgument(f"rows are a slice, numbers or a mask of pairs, not {rows!r}")
        if isinstance(where, Tensor) and where.dtype == torch.bool and len(where) != len(self):
            raise InvalidArgument(f"a mask of {len(where)} is none of {len(self)} pairs")
        return replace(
            self,
            clean=self.clean[where],
            corrupt=self.corrupt[where],
            right=self.right[where],
            wrong=self.wrong[where],
        )

    def split(self, share: float = 0.5, *, seed: int) -> tuple[PromptPairs, PromptPairs]:
        """Two parts that have no prompt in common, be it a clean or a corrupt one.

        Parameters
        ----------
        share : float
            Of the pairs that go to the first part, above 0 and below 1. Pairs that share a prompt
            stay together, so it is met as nearly as that allows.
        seed : int
            Draws them.

        Returns
        -------
        first, second : PromptPairs
            In the order of before.

        Raises
        ------
        InvalidArgument
            No such share, or one part would be empty.
        """
        if not 0 < share < 1:
            raise InvalidArgument(f"share must be above 0 and below 1, not {share}")
        groups = self._groups()
        sizes = np.bincount(groups)
        order = spawn(seed, "PromptPairs", "split").permutation(len(sizes))
        before = np.cumsum(sizes[order]) - sizes[order] / 2  # a group belongs where its middle is
        chosen = np.isin(groups, order[before < share * len(self)])
        if chosen.all() or not chosen.any():
            raise InvalidArgument(
                f"{len(self)} pairs in {len(sizes)} groups that share prompts cannot be split "
                f"{share:g} to {1 - share:g}: draw more pairs, or from more different words"
            )
        return self[chosen], self[~chosen]

    def task(self) -> Task:
        """The clean prompts and their answers, to train or test on.

        Returns
        -------
        Task
            Inputs are prompts, targets tokens, classes the whole vocabulary; the chance level is
            the share of the commonest answer.
        """
        return Task(
            self.clean,
            self.right,
            len(self.words),
            chance=float(self.right.bincount().max() / len(self)),
            best=self.best,
        )

    def text(self, pair: int) -> str:
        """A pair as it reads.

        Parameters
        ----------
        pair : int
            Which one.

        Returns
        -------
        str
            A line for each prompt; both answers are behind the arrow.
        """

        def line(tokens: Tensor) -> str:
            return " ".join(self.words[t] for t in tokens[pair].tolist())

        right, wrong = (self.words[int(answer[pair])] for answer in (self.right, self.wrong))
        return f"clean:   {line(self.clean)} -> {right}, not {wrong}\ncorrupt: {line(self.corrupt)}"

    def _tokens(self) -> dict[str, Tensor]:
        return {name: getattr(self, name) for name in ("clean", "corrupt", "right", "wrong")}

    def _groups(self) -> Int[np.ndarray, " pair"]:
        """Numbers of the groups of pairs that hang together by common prompts."""
        n = len(self)
        prompts = torch.cat([self.clean, self.corrupt]).cpu().numpy()
        _, which = np.unique(prompts, axis=0, return_inverse=True)
        ends = np.tile(np.arange(n), 2), n + which.reshape(-1)
        graph = coo_array((np.ones(2 * n), ends), shape=(n + which.max() + 1,) * 2)
        _, found = connected_components(graph, directed=False)
        return np.unique(found[:n], return_inverse=True)[1]
