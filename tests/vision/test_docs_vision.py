"""The code on the page about vision runs."""

from __future__ import annotations

import torch

from pages import run_page


def test_the_page_runs():
    names = run_page("vision.md")
    assert (names["opponency"] > 0).all()
    assert (names["component"] > names["pattern"]).float().mean() > 0.5
    assert names["flow"].shape == (8, 2, 8, 8)
    assert (names["directions"].cos() > 0.7).all()
    assert 0 < names["active"] < 0.5
    assert names["error"] < (names["patches"] ** 2).mean()
    assert isinstance(names["shape"].r2, torch.Tensor)
