"""The code on the page about circuits of features runs."""

from __future__ import annotations

import pytest
import torch

from pages import run_page


def test_the_page_runs():
    names = run_page("feature_circuits.md")
    assert names["direct"].shape == names["through"].shape == (64, 64)
    trace, feature = names["trace"], names["feature"]
    assert names["parts"].total == pytest.approx(trace.active(1)[-1, feature].item(), abs=1e-4)
    assert torch.isfinite(names["drives"]).all()
    assert 0 < len(names["found"].edges) <= 24
    assert names["scores"].shape == (12,)
    assert abs(names["change"]).max() > 0.1
    assert names["core"].sum() >= 3
