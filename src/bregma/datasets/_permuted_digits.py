"""The same digits under other orders of their pixels: tasks that follow on one another."""

from __future__ import annotations

from dataclasses import replace

import torch

from bregma.datasets._digits import PIXELS, digits
from bregma.datasets._task import Task
from bregma.errors import InvalidArgument
from bregma.run import spawn_torch


def permuted_digits(
    n_tasks: int, *, enlarged: int = 2, n_test: int = 597, seed: int
) -> list[tuple[Task, Task]]:
    """Tasks of handwritten digits, each with its own fixed order of the pixels.

    All tasks are equally hard for a network that does not know of neighbours. Digits of 8 x 8
    pixels fill their 64 dimensions; enlarged, as those of MNIST, they leave room for other tasks.

    Parameters
    ----------
    n_tasks : int
        How many; the first one keeps the order.
    enlarged : int
        How often each pixel is repeated in both directions.
    n_test : int
        How many images of each task are for testing.
    seed : int
        Draws the orders and the images.

    Returns
    -------
    list of (Task, Task)
        Training and test examples of each task, (example, (8 enlarged)^2); ten classes.

    Raises
    ------
    InvalidArgument
        If there are no tasks, no pixels or an empty half.

    References
    ----------
    Goodfellow, Mirza, Xiao, Courville and Bengio (2014), An empirical investigation of catastrophic
    forgetting in gradient-based neural networks.

    Examples
    --------
    >>> tasks = permuted_digits(3, seed=0)
    >>> len(tasks), tasks[0][0].inputs.shape
    (3, torch.Size([1200, 256]))
    """
    if n_tasks < 1 or enlarged < 1:
        raise InvalidArgument(f"n_tasks {n_tasks} and enlarged {enlarged} must be 1 or more")
    halves = [_larger(task, enlarged) for task in digits(n_test=n_test, seed=seed)]
    n_pixels = halves[0].inputs.shape[1]
    tasks = []
    for number in range(n_tasks):
        rng = spawn_torch(seed, "permuted_digits", number)
        order = torch.randperm(n_pixels, generator=rng) if number else torch.arange(n_pixels)
        train, test = (replace(half, inputs=half.inputs[:, order]) for half in halves)
        tasks.append((train, test))
    return tasks


def _larger(task: Task, times: int) -> Task:
    images = task.inputs.reshape(-1, PIXELS, PIXELS)
    wide = images.repeat_interleave(times, 1).repeat_interleave(times, 2)
    return replace(task, inputs=wide.flatten(1))
