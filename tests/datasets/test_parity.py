"""Cumulative parity, counted by hand."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bregma.datasets import parity
from bregma.errors import InvalidArgument


@settings(max_examples=20)
@given(n_bits=st.integers(4, 70), seed=st.integers(0, 1000))
def test_every_place_says_whether_the_ones_so_far_are_odd(n_bits, seed):
    train, test = parity(n_bits=n_bits, n_train=10, n_test=6, seed=seed)
    rows = torch.cat([train.inputs, test.inputs]).tolist()
    assert len({tuple(row) for row in rows}) == 16  # nothing to test was trained on
    for row, answers in zip(rows, torch.cat([train.targets, test.targets]).tolist(), strict=True):
        assert answers == [sum(row[: k + 1]) % 2 for k in range(n_bits)]


def test_all_patterns_can_be_had_and_a_constant_answer_is_at_chance():
    train, test = parity(n_bits=8, n_train=128, n_test=128, seed=3)
    both = torch.cat([train.targets, test.targets]).float()
    assert both.mean(0).tolist() == [0.5] * 8
    assert train.chance == 0.5
    assert train.best == 1.0


def test_all_bits_but_one_tell_nothing():
    train, test = parity(n_bits=6, n_train=32, n_test=32, seed=0)
    inputs = torch.cat([train.inputs, test.inputs])
    last = torch.cat([train.targets, test.targets])[:, -1]
    for hidden in range(6):
        rest = torch.cat([inputs[:, :hidden], inputs[:, hidden + 1 :]], 1)
        answers: dict = {}
        for row, answer in zip(rest.tolist(), last.tolist(), strict=True):
            answers.setdefault(tuple(row), []).append(answer)
        assert all(sorted(seen) == [0, 1] for seen in answers.values())


def test_the_seed_makes_the_examples():
    first, again, other = (parity(n_bits=30, n_train=50, n_test=9, seed=s)[0] for s in (1, 1, 2))
    assert torch.equal(first.inputs, again.inputs)
    assert not torch.equal(first.inputs, other.inputs)


def test_examples_differ_where_there_are_too_many_to_shuffle():
    train, test = parity(n_bits=21, n_train=2**14, n_test=1000, seed=0)
    both = torch.cat([train.inputs, test.inputs])
    assert len(both.unique(dim=0)) == 2**14 + 1000
    assert both.float().mean().item() == pytest.approx(0.5, abs=0.005)


@pytest.mark.parametrize("wrong", [{"n_bits": 0}, {"n_bits": 5}, {"n_test": 0}])
def test_too_many_examples_are_refused(wrong):
    with pytest.raises(InvalidArgument, match="different examples"):
        parity(**({"n_bits": 8, "n_train": 30, "n_test": 10} | wrong), seed=0)
