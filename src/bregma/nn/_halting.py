"""Adaptive computation time by Q-learning: a reasoner learns when it may stop."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from bregma.errors import InvalidArgument
from bregma.nn._deep_supervision import Attempt, answer_loss
from bregma.nn._reasoner import solved

if TYPE_CHECKING:
    from bregma.run._fit import Batches


def adaptive_supervision(batches: Batches, *, most: int, explore: float = 0.1) -> Batches:
    """Show each batch segment after segment until all of its examples have halted.

    Made for `bregma.run.fit` with the loss `halting_loss`. Checkpoints: as for `deep_supervision`.

    Parameters
    ----------
    batches : callable
        ``batches(generator)`` gives one epoch of pairs (tokens, targets), as `minibatches` does.
    most : int
        Largest number of segments, 2 or more.
    explore : float
        Share of examples that have to stay for a random number of segments, 2 to `most`.

    Returns
    -------
    callable
        Given a generator, one epoch of `Attempt`; examples leave their attempt as they halt.

    Raises
    ------
    InvalidArgument
        If `most` is below 2 or `explore` is no share.

    References
    ----------
    Wang et al. (2025), Hierarchical reasoning model.
    """
    if most < 2 or not 0 <= explore <= 1:
        raise InvalidArgument(
            f"most must be 2 or more and explore from 0 to 1, not {most} and {explore}"
        )

    def epoch(generator: torch.Generator) -> Iterator[Attempt]:
        pairs: Iterable[tuple[Tensor, Tensor]] = batches(generator)
        for tokens, targets in pairs:
            stays = torch.rand(len(tokens), generator=generator) < explore
            longer = torch.randint(2, most + 1, (len(tokens),), generator=generator)
            least = torch.where(stays, longer, 1).to(tokens.device)
            attempt = Attempt(tokens, targets, most=most, least=least)
            for _ in range(most):
                yield attempt
                if not len(attempt.tokens):
                    break

    return epoch


def halting_loss(reasoner: nn.Module, attempt: Attempt) -> Tensor:
    """Loss of the answers and of the two values after the next segment; who halts, leaves.

    The value of halting is to be whether all answers are right; that of going on is to be the
    larger value of the next segment (that of halting, where the next one would be one too many).
    Examples halt where the value of halting is the larger one, and they have stayed long enough.

    Parameters
    ----------
    reasoner : Reasoner
        What is trained; or any module that maps (tokens, state) to a `Segment`.
    attempt : Attempt
        The batch, from `adaptive_supervision`; it remembers the detached states of those who stay.

    Returns
    -------
    Tensor
        A scalar: cross-entropy, and half of the binary cross-entropies of both values.

    Raises
    ------
    InvalidArgument
        If the attempt does not come from `adaptive_supervision`.

    References
    ----------
    Wang et al. (2025), Hierarchical reasoning model.
    """
    if attempt.least is None:
        raise InvalidArgument("nothing says how long examples stay: use adaptive_supervision")
    segment = reasoner(attempt.tokens, attempt.state)
    attempt.advance(segment.state)
    right = solved(segment.logits, attempt.targets).to(segment.halt.dtype)
    with torch.no_grad():
        ahead = reasoner(attempt.tokens, attempt.state).halt.sigmoid()
    on = ahead[:, 0] if attempt.segment >= attempt.most else ahead.amax(-1)
    values = F.binary_cross_entropy_with_logits(segment.halt, torch.stack([right, on], -1))
    halts = (segment.halt[:, 0] > segment.halt[:, 1]) & (attempt.segment >= attempt.least)
    loss = answer_loss(segment.logits, attempt.targets) + values
    _leave(attempt, halts)
    return loss


def _leave(attempt: Attempt, halts: Tensor) -> None:
    """Take examples out of a batch."""
    assert attempt.state is not None
    assert attempt.least is not None
    attempt.tokens, attempt.targets = attempt.tokens[~halts], attempt.targets[~halts]
    attempt.state = tuple(z[~halts] for z in attempt.state)
    attempt.least = attempt.least[~halts]


@torch.no_grad()
def think_until_halt(
    reasoner: nn.Module, tokens: Int[Tensor, "batch token"], *, most: int
) -> tuple[Float[Tensor, "batch token answer"], Int[Tensor, " batch"]]:
    """Let each example stop where halting is worth more than going on.

    Parameters
    ----------
    reasoner : Reasoner
        Trained with `halting_loss`.
    tokens : Int[Tensor, "batch token"]
        The input.
    most : int
        Largest number of segments; more than in training, too.

    Returns
    -------
    logits : Float[Tensor, "batch token answer"]
        Scores of the answers at each example's last segment.
    segments : Int[Tensor, "batch"]
        How many segments each example took.

    Raises
    ------
    InvalidArgument
        If there is no segment.
    """
    if most < 1:
        raise InvalidArgument(f"most must be 1 or more, not {most}")
    segment = reasoner(tokens)
    logits = segment.logits.clone()
    used = torch.ones(len(tokens), dtype=torch.int64, device=tokens.device)
    state, thinking = segment.state, torch.arange(len(tokens), device=tokens.device)
    for _ in range(most - 1):
        on = segment.halt[:, 0] <= segment.halt[:, 1]
        thinking, state = thinking[on], tuple(z[on] for z in state)
        if not len(thinking):
            break
        segment = reasoner(tokens[thinking], state)
        state = segment.state
        logits[thinking] = segment.logits
        used[thinking] += 1
    return logits, used
