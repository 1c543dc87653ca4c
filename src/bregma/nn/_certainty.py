"""Answers at every tick: how certain they are, what to learn from, and when to stop."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from bregma.errors import InvalidArgument


def certainty(answers: Float[Tensor, "batch tick *place cls"]) -> Float[Tensor, "batch tick"]:
    """One minus the normalised entropy of the answer, averaged over places.

    Parameters
    ----------
    answers : Float[Tensor, "batch tick *place cls"]
        Scores of the classes before the softmax.

    Returns
    -------
    Float[Tensor, "batch tick"]
        From 0 for knowing nothing to 1.

    Raises
    ------
    InvalidArgument
        Fewer than two classes, or no tick.

    References
    ----------
    Darlow et al. (2025), Continuous thought machines. arXiv:2505.05522.

    Examples
    --------
    >>> certainty(torch.tensor([[[0.0, 0.0], [100.0, 0.0]]]))
    tensor([[0., 1.]])
    """
    _check(answers)
    logs = answers.log_softmax(-1)
    entropy = -(logs.exp() * logs).sum(-1) / math.log(answers.shape[-1])
    return 1 - entropy.flatten(2).mean(-1) if entropy.ndim > 2 else 1 - entropy


def two_tick_loss(
    answers: Float[Tensor, "batch tick *place cls"], targets: Int[Tensor, " batch *place"]
) -> Float[Tensor, ""]:
    """Cross-entropy at each example's best tick and at its most certain one, averaged.

    Each example picks its own two ticks, so that easy ones can be answered early, and nothing has
    to be said about when to halt.

    Parameters
    ----------
    answers : Float[Tensor, "batch tick *place cls"]
        Scores of the classes before the softmax.
    targets : Int[Tensor, " batch *place"]
        The right classes.

    Returns
    -------
    Float[Tensor, ""]
        Mean over examples.

    Raises
    ------
    InvalidArgument
        Targets of another shape, fewer than two classes, or no tick.

    References
    ----------
    Darlow et al. (2025), Continuous thought machines. arXiv:2505.05522.

    Examples
    --------
    >>> answers = torch.tensor([[[0.0, 0.0], [3.0, 0.0]]])
    >>> two_tick_loss(answers, torch.tensor([1]))  # best at tick 0, certain of the wrong one at 1
    tensor(1.8709)
    """
    _check(answers)
    if targets.shape != (answers.shape[0], *answers.shape[2:-1]):
        raise InvalidArgument(
            f"answers (batch, tick, ..., class) of the shape {tuple(answers.shape)} need targets "
            f"of the shape {(answers.shape[0], *answers.shape[2:-1])}, not {tuple(targets.shape)}"
        )
    expanded = targets[:, None].expand(answers.shape[:-1])
    losses = nn.functional.cross_entropy(
        answers.flatten(0, -2), expanded.flatten(), reduction="none"
    )
    losses = losses.view(*answers.shape[:2], -1).mean(-1)
    certain = losses.gather(1, certainty(answers).argmax(1, keepdim=True))
    return (losses.amin(1) + certain[:, 0]).mean() / 2


def answer_when_certain(
    answers: Float[Tensor, "batch tick *place cls"], threshold: float = 0.8
) -> tuple[Float[Tensor, "batch *place cls"], Int[Tensor, " batch"]]:
    """The answer at the first tick that is certain enough, else at the most certain one.

    Parameters
    ----------
    answers : Float[Tensor, "batch tick *place cls"]
        Scores of the classes before the softmax.
    threshold : float
        Certainty, from 0 to 1, above which thinking stops.

    Returns
    -------
    (Float[Tensor, "batch *place cls"], Int[Tensor, "batch"])
        The scores of each example, and the tick that they are from.

    Raises
    ------
    InvalidArgument
        A threshold outside 0 to 1, fewer than two classes, or no tick.

    Examples
    --------
    >>> answers = torch.tensor([[[0.0, 0.0], [5.0, 0.0], [9.0, 0.0]]])
    >>> answer_when_certain(answers)
    (tensor([[5., 0.]]), tensor([1]))
    """
    if not 0 <= threshold <= 1:
        raise InvalidArgument(f"the threshold must be from 0 to 1, not {threshold}")
    sure = certainty(answers)
    enough = sure > threshold
    ticks = torch.where(enough.any(1), enough.int().argmax(1), sure.argmax(1))
    return answers[torch.arange(len(answers), device=answers.device), ticks], ticks


def _check(answers: Tensor) -> None:
    if answers.ndim < 3 or answers.shape[-1] < 2 or answers.shape[1] < 1:
        raise InvalidArgument(
            "answers must have the shape (batch, tick, ..., class) with a tick and two classes "
            f"or more, not {tuple(answers.shape)}"
        )
