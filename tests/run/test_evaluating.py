"""Evaluation mode for a while."""

from __future__ import annotations

import pytest
import torch

from bregma.run._evaluating import evaluating


def test_each_part_goes_back_to_its_own_mode():
    net = torch.nn.Sequential(torch.nn.Dropout(), torch.nn.BatchNorm1d(3), torch.nn.ReLU())
    net.train()
    net[1].eval()  # frozen while the others are trained

    def fails() -> None:
        with evaluating(net):
            assert not any(part.training for part in net.modules())
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert [part.training for part in net.modules()] == [True, True, False, True]
