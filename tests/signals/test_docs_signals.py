"""The code on the page about signals runs."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "signals.md"


def test_the_page_runs():
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, object] = {}
    for block in blocks:
        exec(block, names)
    assert names["losses"][-1] < names["losses"][0]
    assert names["waves"].shape == (20, 64, 32)
    assert names["features"].shape == (20, 8, 8, 32)
