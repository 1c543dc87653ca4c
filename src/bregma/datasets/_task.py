"""Examples with their answers, and what anything can reach on them."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from bregma.errors import InvalidArgument


@dataclass(frozen=True)
class Task:
    """A supervised task: examples, answers, and the accuracy of knowing nothing and everything.

    Parameters
    ----------
    inputs : torch.Tensor
        (example, ...); tokens are int64, everything else float32.
    targets : torch.Tensor
        (example, ...) int64; -1 marks places without an answer.
    n_classes : int
        How many different answers there are.
    chance : float
        Expected accuracy, over the places with an answer, of the best constant answer.
    best : float
        Expected accuracy of the best possible answer (Bayes).

    Raises
    ------
    InvalidArgument
        If inputs and targets differ in length, are empty, or a target is no class.
    """

    inputs: torch.Tensor
    targets: torch.Tensor
    n_classes: int
    chance: float
    best: float = 1.0

    def __post_init__(self) -> None:
        if len(self.inputs) != len(self.targets) or not len(self.inputs):
            raise InvalidArgument(
                f"{len(self.inputs)} inputs and {len(self.targets)} targets make no task"
            )
        low, high = int(self.targets.min()), int(self.targets.max())
        if low < -1 or high >= self.n_classes:
            raise InvalidArgument(f"targets from {low} to {high} are not {self.n_classes} classes")

    def __len__(self) -> int:
        return len(self.inputs)

    def accuracy(self, answers: torch.Tensor) -> float:
        """Share of the asked places that were answered right.

        Parameters
        ----------
        answers : torch.Tensor
            Same shape as the targets (answers), or with classes as a last dimension (scores).

        Returns
        -------
        float
            Between 0 and 1.
        """
        if answers.ndim == self.targets.ndim + 1:
            answers = answers.argmax(-1)
        asked = self.targets >= 0
        return float((answers == self.targets)[asked].float().mean())
