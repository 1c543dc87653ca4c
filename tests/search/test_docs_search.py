"""The code on the page about architecture search runs."""

from __future__ import annotations

import torch

from pages import run_page


def test_the_page_runs():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        names = run_page("search.md")
    assert names["difference"] < 1e-5
    assert names["encoder"].linear2.in_features == 48
    assert len(names["tried"]) == 6
