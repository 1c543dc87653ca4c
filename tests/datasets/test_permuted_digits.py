"""Permuted digits: the same images, other places."""

from __future__ import annotations

import pytest
import torch

from bregma.datasets import digits, permuted_digits
from bregma.errors import InvalidArgument


def test_tasks_show_the_same_pixels_in_other_orders():
    plain = digits(n_test=300, seed=3)
    tasks = permuted_digits(3, enlarged=1, n_test=300, seed=3)
    for k, halves in enumerate(tasks):
        for half, original in zip(halves, plain, strict=True):
            assert torch.equal(half.inputs.sort(1).values, original.inputs.sort(1).values)
            assert torch.equal(half.targets, original.targets)
            assert torch.equal(half.inputs, original.inputs) == (k == 0)
    # One order for both halves of a task: the pixels' means agree between them as in the original.
    first, second = (half.inputs.mean(0) for half in tasks[1])
    assert torch.corrcoef(torch.stack([first, second]))[0, 1] > 0.98
    assert not torch.equal(tasks[1][0].inputs, tasks[2][0].inputs)


def test_enlarged_images_have_the_rank_of_the_small_ones():
    [(train, _)] = permuted_digits(1, seed=0)
    assert train.inputs.shape == (1200, 256)
    image = train.inputs[0].reshape(16, 16)
    assert torch.equal(image[::2, ::2], image[1::2, 1::2])
    assert torch.linalg.matrix_rank(train.inputs) <= 64


def test_the_seed_decides():
    one, two, three = (permuted_digits(2, seed=s)[1][0].inputs for s in (1, 1, 2))
    assert torch.equal(one, two)
    assert not torch.equal(one, three)


def test_what_cannot_be_had():
    with pytest.raises(InvalidArgument, match="n_tasks 0"):
        permuted_digits(0, seed=0)
    with pytest.raises(InvalidArgument, match="n_test"):
        permuted_digits(1, n_test=0, seed=0)
