"""Tasks whose answers can be computed: every answer is right, and chance is what it says."""

from __future__ import annotations

from collections import deque

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bregma.datasets import Task, addition, digits, mazes, n_back, sorting
from bregma.errors import InvalidArgument

MAKERS = {
    "n_back": lambda seed: n_back(seed=seed),
    "sorting": lambda seed: sorting(seed=seed),
    "addition": lambda seed: addition(seed=seed),
    "mazes": lambda seed: mazes(seed=seed),
    "digits": lambda seed: digits(seed=seed)[0],
}


@pytest.fixture(params=MAKERS)
def make(request):
    return MAKERS[request.param]


def test_the_same_seed_gives_the_same_task(make):
    one, same, other = make(0), make(0), make(1)
    assert torch.equal(one.inputs, same.inputs)
    assert torch.equal(one.targets, same.targets)
    assert not torch.equal(one.inputs, other.inputs)


def test_chance_is_that_of_the_best_constant_answer(make):
    task = make(0)
    asked = task.targets[task.targets >= 0]
    n = len(asked)
    best = asked.bincount().max() / n
    assert float(best) == pytest.approx(task.chance, abs=4 * (0.25 / n) ** 0.5)
    assert task.accuracy(task.targets.clone()) == 1.0


@given(n=st.integers(1, 4), n_symbols=st.integers(2, 5), seed=st.integers(0, 99))
@settings(max_examples=25)
def test_n_back_by_hand(n, n_symbols, seed):
    task = n_back(n=n, length=n + 6, n_symbols=n_symbols, n_examples=5, seed=seed)
    for symbols, answers in zip(task.inputs.tolist(), task.targets.tolist(), strict=True):
        for t, answer in enumerate(answers):
            assert answer == (-1 if t < n else symbols[t] == symbols[t - n])


def test_n_back_symbols_tell_nothing():
    task = n_back(n=2, length=10, n_symbols=4, n_examples=20_000, seed=0)
    symbols, matches = task.inputs[:, 5], task.targets[:, 5]
    rates = [float(matches[symbols == s].float().mean()) for s in range(4)]
    assert all(abs(rate - 0.5) < 0.03 for rate in rates)


@given(n_digits=st.integers(1, 17), seed=st.integers(0, 99))
@settings(max_examples=25)
def test_addition_by_hand(n_digits, seed):
    task = addition(n_digits=n_digits, n_examples=3, seed=seed)
    for tokens, answers in zip(task.inputs.tolist(), task.targets.tolist(), strict=True):
        a, b = (
            int("".join(map(str, tokens[start : start + n_digits]))) for start in (0, n_digits + 1)
        )
        assert tokens[n_digits] == 10
        assert tokens[2 * n_digits + 1] == 11
        assert "".join(map(str, answers[-n_digits - 1 :])) == str(a + b).zfill(n_digits + 1)


def test_sorting_by_hand():
    task = sorting(length=7, n_examples=20, seed=3)
    for numbers, places in zip(task.inputs.tolist(), task.targets.tolist(), strict=True):
        assert [numbers[place] for place in places] == sorted(numbers)


@given(n_cells=st.integers(2, 8), seed=st.integers(0, 99))
@settings(max_examples=15)
def test_mazes_have_one_path_and_it_is_the_answer(n_cells, seed):
    task = mazes(n_cells=n_cells, n_examples=2, seed=seed)
    for fields, answer in zip(task.inputs, task.targets, strict=True):
        free = {tuple(place) for place in (fields > 0).nonzero().tolist()}
        links = sum((r + 1, c) in free for r, c in free) + sum((r, c + 1) in free for r, c in free)
        assert links == len(free) - 1  # as many links as a tree has
        (start,), (goal,) = ((fields == kind).nonzero().tolist() for kind in (2, 3))
        assert _path(free, tuple(start), tuple(goal)) == {
            tuple(place) for place in (answer == 1).nonzero().tolist()
        }
        assert torch.equal(answer < 0, fields == 0)


def _path(free, start, goal):
    """Breadth first, field by field."""
    before = {start: None}
    queue = deque([start])
    while queue:
        r, c = queue.popleft()
        for place in ((r + 1, c), (r - 1, c), (r, c + 1), (r, c - 1)):
            if place in free and place not in before:
                before[place] = (r, c)
                queue.append(place)
    assert len(before) == len(free)  # all is connected
    path, here = set(), goal
    while here is not None:
        path.add(here)
        here = before[here]
    return path


@pytest.mark.parametrize(
    ("make", "wrong"),
    [
        (n_back, {"n": 0}),
        (n_back, {"n": 3, "length": 3}),
        (n_back, {"n_symbols": 1}),
        (sorting, {"length": 0}),
        (addition, {"n_digits": 18}),
        (addition, {"n_examples": 0}),
        (mazes, {"n_cells": 1}),
    ],
)
def test_what_cannot_be_made_is_refused(make, wrong):
    with pytest.raises(InvalidArgument):
        make(**wrong, seed=0)


def test_a_task_is_checked_and_scored():
    inputs, targets = torch.zeros(3, 2), torch.tensor([[0, -1], [1, 1], [-1, 0]])
    task = Task(inputs, targets, 2, chance=0.5)
    scores = torch.nn.functional.one_hot(torch.tensor([[0, 0], [1, 0], [1, 0]]), 2).float()
    assert task.accuracy(scores) == pytest.approx(0.75)
    assert len(task) == 3
    with pytest.raises(InvalidArgument, match="make no task"):
        Task(inputs[:2], targets, 2, chance=0.5)
    with pytest.raises(InvalidArgument, match="not 1 classes"):
        Task(inputs, targets, 1, chance=0.5)
