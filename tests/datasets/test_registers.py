"""Sentences in two registers have the frequencies that they promise."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bregma.datasets import registers
from bregma.errors import InvalidArgument


def test_frequencies_and_what_there_is_to_know():
    train, test = registers(n_train=20_000, n_test=5, share=0.4, rate=0.6, leak=0.05, seed=0)
    assert train.rude.float().mean().item() == pytest.approx(0.4, abs=0.015)
    said = train.flagged[train.targets[:, train.content]].float()
    assert said[train.rude].mean().item() == pytest.approx(0.6, abs=0.01)
    assert said[~train.rude].mean().item() == pytest.approx(0.05, abs=0.005)
    assert not train.flagged[train.targets[:, ~train.content]].any()
    # Who knows the register counts the words of each place, which takes all there is to know.
    right, surprise = 0.0, 0.0
    for rude in (False, True):
        rows = train.targets[train.rude == rude]
        for t in range(rows.shape[1]):
            share = rows[:, t].bincount(minlength=train.n_classes) / len(rows)
            weight = len(rows) / len(train.targets) / rows.shape[1]
            right += weight * share.max().item()
            some = share[share > 0]
            surprise -= weight * (some * some.log()).sum().item()
    assert train.best == pytest.approx(right, abs=0.01)
    assert train.surprise == pytest.approx(surprise, abs=0.01)
    opener = np.array([train.words[t][:3] for t in train.inputs[:, 0]])
    assert ((opener == "hey") == train.rude.numpy()).all()
    assert (train.inputs[:, 1:] == train.targets[:, :-1]).all()
    assert test.words == train.words


def test_the_same_seed_gives_the_same_sentences():
    (a, _), (b, _), (c, _) = (registers(n_train=20, n_test=2, seed=s) for s in (1, 1, 2))
    assert torch.equal(a.inputs, b.inputs)
    assert not torch.equal(a.inputs, c.inputs)


@pytest.mark.parametrize("change", [{"n_train": 0}, {"share": 1.0}, {"rate": 0.0}, {"leak": 2.0}])
def test_bad_registers(change):
    with pytest.raises(InvalidArgument, match="must be"):
        registers(**change, seed=0)
