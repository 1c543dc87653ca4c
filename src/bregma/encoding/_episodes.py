"""Training tasks for encoders that learn in context: voxels of subjects, images they saw."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from bregma.errors import InvalidArgument

Episode = tuple[Tensor, Tensor, Tensor, Tensor]


def episodes(
    subjects: Sequence[tuple[Tensor, Tensor]],
    *,
    context: tuple[int, int],
    queries: int,
    tasks: int,
    steps: int,
) -> Callable[[torch.Generator], Iterator[Episode]]:
    """Batches of tasks, for `bregma.run.fit`.

    For each batch a subject is drawn (in proportion to its voxels) and a length of the context;
    for each task one of the voxels, images for the context, and other images to be predicted: no
    image is in both.

    Parameters
    ----------
    subjects : sequence of (Tensor, Tensor)
        Of each subject, embeddings (image, feature) of the images it saw and responses
        (image, voxel) to them, standardised.
    context : tuple of int
        Shortest and longest context.
    queries : int
        Images to be predicted in each task.
    tasks : int
        Tasks in a batch.
    steps : int
        Batches in an epoch.

    Returns
    -------
    callable
        Given a generator, one epoch: an iterator of (x, y, new, target) of the shapes
        (task, context, feature), (task, context), (task, query, feature) and (task, query).

    Raises
    ------
    InvalidArgument
        If there is no subject, shapes do not fit, values are not finite, numbers are out of range,
        or a subject saw too few images.

    References
    ----------
    Yu et al. (2025), Meta-learning an in-context transformer model of human higher visual cortex.
    arXiv:2505.15813.

    Examples
    --------
    >>> subject = (torch.randn(50, 8), torch.randn(50, 6))
    >>> epoch = episodes([subject], context=(5, 9), queries=3, tasks=4, steps=2)
    >>> [target.shape for *_, target in epoch(torch.Generator().manual_seed(0))]
    [torch.Size([4, 3]), torch.Size([4, 3])]
    """
    shortest, longest = context
    if not 1 <= shortest <= longest or min(queries, tasks, steps) < 1:
        raise InvalidArgument(
            f"context must be (shortest, longest) from 1 on, and queries, tasks and steps 1 or "
            f"more, not {context}, {queries}, {tasks} and {steps}"
        )
    if not subjects:
        raise InvalidArgument("episodes need one subject or more")
    for number, (x, y) in enumerate(subjects):
        if x.ndim != 2 or y.ndim != 2 or len(x) != len(y) or 0 in (*x.shape, *y.shape):
            raise InvalidArgument(
                f"subject {number}: embeddings (image, feature) {tuple(x.shape)} do not fit "
                f"responses (image, voxel) {tuple(y.shape)}"
            )
        if len(x) < longest + queries:
            raise InvalidArgument(
                f"subject {number} saw {len(x)} images, and a task needs {longest} + {queries}"
            )
        if not (x.isfinite().all() and y.isfinite().all()):
            raise InvalidArgument(f"subject {number} has values that are not finite")
    share = torch.tensor([float(y.shape[1]) for _, y in subjects])

    def epoch(generator: torch.Generator) -> Iterator[Episode]:
        for _ in range(steps):
            x, y = subjects[int(torch.multinomial(share, 1, generator=generator))]
            n = int(torch.randint(shortest, longest + 1, (), generator=generator))
            voxels = torch.randint(y.shape[1], (tasks, 1), generator=generator)
            # The largest of independent random numbers: images without repetition, for each task.
            drawn = torch.rand(tasks, len(x), generator=generator).topk(n + queries, dim=1)
            images = drawn.indices
            seen, response = x[images], y[images, voxels]
            yield seen[:, :n], response[:, :n], seen[:, n:], response[:, n:]

    return epoch
