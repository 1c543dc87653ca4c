"""Match and copy: what is in a sequence, and what can be had without a match."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bregma.datasets import induction
from bregma.errors import InvalidArgument


@given(
    pairs=st.integers(2, 4),
    classes=st.integers(4, 9),
    labels=st.integers(4, 7),
    seed=st.integers(0, 99),
)
def test_the_answer_follows_from_the_sequence_by_search(pairs, classes, labels, seed):
    task = induction(20, n_classes=classes, n_labels=labels, n_pairs=pairs, seed=seed)
    assert task.inputs.shape == (20, 2 * pairs + 1)
    for row, target in zip(task.inputs.tolist(), task.targets.tolist(), strict=True):
        exemplars, shown, query = row[0:-1:2], row[1:-1:2], row[-1]
        assert len(set(exemplars)) == len(set(shown)) == pairs
        assert max(exemplars) < classes <= min(shown)
        assert shown[exemplars.index(query)] - classes == target


def test_chance_and_copying_without_a_match():
    task = induction(20_000, n_labels=5, seed=0)
    assert task.targets.bincount().float().div(20_000).max() == pytest.approx(
        task.chance, abs=0.015
    )
    assert task.accuracy(task.inputs[:, 1] - 50) == pytest.approx(0.5, abs=0.015)
    # A class says nothing about its label.
    of_class = task.targets[task.inputs[:, 4] == 3]
    assert of_class.bincount(minlength=5).float().div(len(of_class)).max() < 0.32


def test_the_seed_decides():
    assert torch.equal(induction(9, seed=1).inputs, induction(9, seed=1).inputs)
    assert not torch.equal(induction(9, seed=1).inputs, induction(9, seed=2).inputs)


@pytest.mark.parametrize(
    "wrong", [{"n": 0}, {"n": 3, "n_pairs": 1}, {"n": 3, "n_labels": 1}, {"n": 3, "n_classes": 1}]
)
def test_what_cannot_be_drawn(wrong):
    with pytest.raises(InvalidArgument):
        induction(**wrong, seed=0)
