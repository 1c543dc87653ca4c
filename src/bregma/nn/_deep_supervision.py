"""Deep supervision: a loss and an update after every segment of reasoning, on detached states."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bregma.errors import InvalidArgument
from bregma.nn._reasoning_core import States

if TYPE_CHECKING:
    from bregma.run._fit import Batches


@dataclass
class Attempt:
    """A batch on its way through the segments.

    Parameters
    ----------
    tokens, targets : Tensor (batch, token)
        The input and the right answers (-1 where nothing is asked).
    most : int
        How many segments there may be.
    least : Tensor (batch,), optional
        How many segments each example has to stay, where examples may halt.
    state : tuple of Tensor, optional
        Where to go on from, detached; none before the first segment.
    segment : int
        How many segments are over.
    """

    tokens: Tensor
    targets: Tensor
    most: int
    least: Tensor | None = None
    state: States | None = None
    segment: int = 0

    def advance(self, state: States) -> None:
        """Note the end of a segment; no derivative passes from here to the next one.

        Parameters
        ----------
        state : tuple of Tensor (batch, token, width)
            The states at its end.
        """
        self.state = tuple(z.detach() for z in state)
        self.segment += 1


def deep_supervision(batches: Batches, *, segments: int) -> Batches:
    """Show each batch for several segments in a row, with an update after each.

    Made for `bregma.run.fit` with the loss `segment_loss`. A run that goes on from a checkpoint
    in the middle of a batch starts that batch anew: save at the ends of epochs only (a large
    ``every``) where bits matter.

    Parameters
    ----------
    batches : callable
        ``batches(generator)`` gives one epoch of pairs (tokens, targets), as `minibatches` does.
    segments : int
        Number of segments.

    Returns
    -------
    callable
        Given a generator, one epoch of `Attempt`, each of them `segments` times.

    Raises
    ------
    InvalidArgument
        If there is no segment.

    References
    ----------
    Wang et al. (2025), Hierarchical reasoning model.

    Examples
    --------
    >>> from bregma.run import minibatches
    >>> batches = minibatches(torch.zeros(4, 9), torch.zeros(4, 9), size=2)
    >>> len(list(deep_supervision(batches, segments=3)(torch.Generator())))
    6
    """
    if segments < 1:
        raise InvalidArgument(f"segments must be 1 or more, not {segments}")

    def epoch(generator: torch.Generator) -> Iterator[Attempt]:
        pairs: Iterable[tuple[Tensor, Tensor]] = batches(generator)
        for tokens, targets in pairs:
            attempt = Attempt(tokens, targets, most=segments)
            for _ in range(segments):
                yield attempt

    return epoch


def segment_loss(reasoner: nn.Module, attempt: Attempt) -> Tensor:
    """Cross-entropy after the next segment, which the attempt goes through.

    Parameters
    ----------
    reasoner : Reasoner
        What is trained; or any module that maps (tokens, state) to a `Segment`.
    attempt : Attempt
        The batch; it remembers the detached states.

    Returns
    -------
    Tensor
        A scalar: the mean over all places that are asked for.
    """
    segment = reasoner(attempt.tokens, attempt.state)
    attempt.advance(segment.state)
    return answer_loss(segment.logits, attempt.targets)


def answer_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy over the places that are asked for."""
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-1)
