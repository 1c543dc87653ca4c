"""The code on the page about comparing representations runs, and shows what it says."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "geometry.md"


def test_the_page_runs():
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, object] = {}
    for block in blocks:
        exec(block, names)
    assert names["found"].accuracy > 2 * names["found"].chance
    assert names["stitched"] > 0.85
    assert names["rotated"] > 0.85
    assert names["alike"] > 0.3
    x = names["torch"].rand(3, 64)
    assert names["model"](x).shape == names["moved"](x).shape == (3, 10)
