"""Prompts in pairs: what fits together, how they are split, how they read."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bregma.datasets import PromptPairs
from bregma.errors import InvalidArgument

WORDS = ("a", "b", "c", "d")


def pairs(clean, corrupt, right=None, wrong=None, **more):
    n = len(clean)
    return PromptPairs(
        clean=torch.as_tensor(clean),
        corrupt=torch.as_tensor(corrupt),
        right=torch.zeros(n, dtype=torch.int64) if right is None else torch.as_tensor(right),
        wrong=torch.ones(n, dtype=torch.int64) if wrong is None else torch.as_tensor(wrong),
        words=more.pop("words", WORDS),
        name="letters",
        **more,
    )


def some():
    return pairs(
        [[0, 1], [1, 2], [2, 3], [3, 0]], [[0, 2], [1, 3], [2, 0], [3, 1]], [1, 2, 1, 3], [0] * 4
    )


def prompts(part):
    return {tuple(row) for row in torch.cat([part.clean, part.corrupt]).tolist()}


def test_rows_and_text():
    whole = some()
    assert len(whole) == 4
    for rows in (
        slice(1, 3),
        [1, 2],
        torch.tensor([1, 2]),
        np.array([False, True, True, False]),
    ):
        part = whole[rows]
        assert part.clean.tolist() == [[1, 2], [2, 3]]
        assert part.corrupt.tolist() == [[1, 3], [2, 0]]
        assert part.right.tolist() == [2, 1]
        assert part.wrong.tolist() == [0, 0]
        assert part.words == WORDS
    assert whole.text(0) == "clean:   a b -> b, not a\ncorrupt: a c"


def test_the_task_asks_for_the_right_answers():
    task = some().task()
    assert torch.equal(task.inputs, some().clean)
    assert torch.equal(task.targets, some().right)
    assert (task.n_classes, task.chance, task.best) == (4, 0.5, 1.0)
    assert pairs([[0]], [[1]], best=0.25).task().best == 0.25


@given(
    n=st.integers(2, 40),
    n_prompts=st.integers(3, 60),
    share=st.floats(0.1, 0.9),
    seed=st.integers(0, 9),
)
def test_no_prompt_is_in_both_parts(n, n_prompts, share, seed):
    rng = np.random.default_rng(seed)
    numbers = np.stack([rng.permutation(n_prompts)[:2] for _ in range(n)])
    clean, corrupt = (np.stack(np.unravel_index(numbers[:, k], (8, 8)), 1) for k in (0, 1))
    whole = pairs(clean, corrupt, words=tuple("abcdefgh"))
    try:
        first, second = whole.split(share, seed=seed)
    except InvalidArgument:
        return  # one is tested below
    assert len(first) + len(second) == n
    assert not prompts(first) & prompts(second)
    assert prompts(first) | prompts(second) == prompts(whole)


def test_the_share_is_met_and_the_seed_decides():
    numbers = torch.arange(1000)
    clean = torch.stack([numbers // 100, numbers // 10 % 10, numbers % 10], 1)
    whole = pairs(clean, torch.cat([clean[500:], clean[:500]]), words=tuple("abcdefghij"))
    first, second = whole.split(0.3, seed=0)  # pairs come in twos
    assert abs(len(first) - 300) <= 2
    assert torch.equal(first.clean, whole.split(0.3, seed=0)[0].clean)
    assert not torch.equal(first.clean[:99], whole.split(0.3, seed=1)[0].clean[:99])
    assert abs(len(second.split(seed=0)[0]) - 350) <= 2


def test_what_hangs_together_cannot_be_split():
    ring = pairs([[0, 0], [1, 1], [2, 2]], [[1, 1], [2, 2], [0, 0]])
    with pytest.raises(InvalidArgument, match="1 groups that share prompts"):
        ring.split(seed=0)


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: pairs([[0, 1]], [[0, 1, 2]]), "of one shape"),
        (lambda: pairs(torch.zeros(0, 2, dtype=torch.int64), torch.zeros(0, 2)), "not empty"),
        (lambda: pairs([[0.0]], [[1.0]]), "clean must be int64"),
        (lambda: pairs([[0]], [[1]], right=[0, 1]), "right must have one token"),
        (lambda: pairs([[0]], [[4]]), "corrupt has tokens from 4 to 4"),
        (lambda: pairs([[0], [1]], [[1], [0]], right=[0, 2], wrong=[1, 2]), "one in pair 1"),
        (lambda: pairs([[0]], [[0]]), "clean prompt is the corrupt one in pair 0"),
        (lambda: some()[2], "rows are a slice"),
        (lambda: some()[[]], "rows are|not empty"),
        (lambda: some()[torch.tensor([True])], "mask of 1"),
        (lambda: some().split(1.0, seed=0), "share must be"),
    ],
)
def test_what_is_wrong_is_said(make, says):
    with pytest.raises(InvalidArgument, match=says):
        make()
