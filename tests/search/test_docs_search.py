"""The code on the page about architecture search runs."""

from __future__ import annotations

import re
from pathlib import Path

import torch

PAGE = Path(__file__).resolve().parents[2] / "docs" / "search.md"


def test_the_page_runs():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        names: dict[str, object] = {}
        for block in re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL):
            exec(block, names)
    assert names["difference"] < 1e-5
    assert names["encoder"].linear2.in_features == 48
    assert len(names["tried"]) == 6
