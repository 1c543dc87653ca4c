"""Planted codes are what they say."""

import pytest
import torch

from bregma.datasets import planted_codes


def test_signals_are_sums_of_atoms():
    data = planted_codes(400, noise=0.05, seed=0)
    rest = data.signals - data.codes @ data.dictionary.T
    assert float(rest.std()) == pytest.approx(0.05, rel=0.05)
    assert ((data.codes != 0).sum(1) == 5).all()
    sizes = data.codes[data.codes != 0].abs()
    assert sizes.min() >= 1
    assert sizes.max() <= 2
    assert torch.allclose(data.dictionary.norm(dim=0), torch.ones(128), atol=1e-5)
    assert torch.equal(planted_codes(400, seed=0).signals, data.signals)


def test_f1_by_hand():
    data = planted_codes(1, pixels=4, atoms=4, active=2, seed=0)
    guess = torch.zeros_like(data.codes)
    first, _ = data.codes[0].nonzero().flatten().tolist()
    guess[0, first] = 1  # precision 1, recall 1/2
    assert data.f1(guess) == pytest.approx(2 / 3)
    assert data.f1(data.codes) == 1
