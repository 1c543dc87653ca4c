"""The code on the page about circuits runs."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "dynamics.md"


def test_the_page_runs():
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, object] = {}
    for block in blocks:
        exec(block, names)
    assert names["recording"].shape == (8, 40)
    assert (names["lesioned"].values != names["recording"].values).any()
    assert [e.model for e in names["evidence"]] == ["without I", "rewired"]
