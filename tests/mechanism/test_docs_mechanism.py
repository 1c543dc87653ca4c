"""The code on the page about mechanisms runs."""

from __future__ import annotations

import math
import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "mechanism.md"


def test_the_page_runs():
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, object] = {}
    for block in blocks:
        exec(block, names)
    assert names["found"].p_value == 1 / 20
    assert names["best"].n["candidates"] == 24
    assert names["loss"].item() < math.log(5)
