"""Match and copy: labels that hold for one sequence only."""

from __future__ import annotations

import torch

from bregma.datasets._task import Task
from bregma.errors import InvalidArgument
from bregma.run import spawn_torch


def induction(
    n: int, *, n_classes: int = 50, n_labels: int = 5, n_pairs: int = 2, seed: int
) -> Task:
    """Sequences exemplar, label, exemplar, label, ..., query; the answer is the query's label.

    The query is one of the exemplars. Labels are drawn anew for each sequence, all different, so
    that nothing can be learned about a class: the only way is to find the query among the exemplars
    and to copy what came after it. Copying any label of the sequence, without a match, is right in
    1 of `n_pairs` cases.

    Parameters
    ----------
    n : int
        How many sequences.
    n_classes : int
        How many classes of exemplars; their tokens are 0 ... n_classes - 1.
    n_labels : int
        How many labels; their tokens follow on those of the classes.
    n_pairs : int
        How many exemplars, each of another class, with their labels before the query.
    seed : int
        Draws the sequences.

    Returns
    -------
    Task
        Inputs (example, 2 n_pairs + 1) of tokens; the target is the label of the query, from 0.

    Raises
    ------
    InvalidArgument
        If there are no sequences, or fewer classes or labels than pairs.

    References
    ----------
    Singh, Moskovitz, Hill, Chan and Saxe (2024), What needs to go right for an induction head? A
    mechanistic study of in-context learning circuits and their formation.

    Examples
    --------
    >>> task = induction(1, n_classes=4, n_labels=3, seed=0)
    >>> task.inputs.tolist(), task.targets.tolist()
    ([[3, 5, 1, 4, 1]], [0])
    """
    if n < 1:
        raise InvalidArgument(f"n must be 1 or more, not {n}")
    if n_pairs < 2 or min(n_classes, n_labels) < n_pairs:
        raise InvalidArgument(
            f"{n_pairs} pairs of different ones cannot be drawn from {n_classes} classes and "
            f"{n_labels} labels; 2 pairs or more are needed"
        )
    rng = spawn_torch(seed, "induction")
    # The first places of a random order: classes and labels of a sequence all differ.
    classes = torch.rand(n, n_classes, generator=rng).argsort(1)[:, :n_pairs]
    labels = torch.rand(n, n_labels, generator=rng).argsort(1)[:, :n_pairs]
    asked = torch.randint(n_pairs, (n, 1), generator=rng)
    pairs = torch.stack([classes, n_classes + labels], -1).flatten(1)
    inputs = torch.cat([pairs, classes.gather(1, asked)], 1)
    return Task(inputs, labels.gather(1, asked)[:, 0], n_labels, chance=1 / n_labels)
