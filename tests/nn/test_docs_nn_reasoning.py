"""The code on the page about reasoning runs."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "nn_reasoning.md"


def test_the_page_runs():
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL):
        exec(block, names)
    assert names["number"] == 4
    assert 1 <= names["segments"].min() <= names["segments"].max() <= 8
    assert names["states"].shape == (20, 2 * 16 * 24)
