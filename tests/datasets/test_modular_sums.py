"""Sums around a clock, of one step and of two."""

from __future__ import annotations

import pytest
import torch

from bregma.datasets import modular_sums
from bregma.errors import InvalidArgument


@pytest.mark.parametrize("terms", [2, 3])
def test_answers_are_sums_and_corrupt_prompts_differ_in_one_term(terms):
    pairs = modular_sums(300, terms=terms, modulus=5, seed=1)
    assert pairs.clean.shape == (300, 4)
    assert (pairs.clean[:, -1] == 6).all()
    for prompts, answers in ((pairs.clean, pairs.right), (pairs.corrupt, pairs.wrong)):
        for prompt, answer in zip(prompts.tolist(), answers.tolist(), strict=True):
            assert answer == sum(prompt[:terms]) % 5
            assert prompt[terms:3] == [5] * (3 - terms)
    differ = pairs.clean != pairs.corrupt
    assert (differ.sum(1) == 1).all()
    assert differ[:, :terms].any(0).all()  # each term is sometimes the one
    assert set(pairs.right.tolist()) == set(range(5))
    assert pairs.task().chance < 0.3


def test_the_same_seed_gives_the_same_pairs():
    one, two, other = (modular_sums(50, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(one.clean, two.clean)
    assert torch.equal(one.wrong, two.wrong)
    assert not torch.equal(one.clean, other.clean)


@pytest.mark.parametrize("wrong", [{"n": 0}, {"terms": 4}, {"modulus": 2}])
def test_what_makes_no_sums_is_refused(wrong):
    with pytest.raises(InvalidArgument, match="terms 2 or 3"):
        modular_sums(**wrong, seed=0)
