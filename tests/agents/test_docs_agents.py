"""The code on the page about agents runs."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "agents.md"


def test_the_page_runs():
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, object] = {}
    for block in blocks:
        exec(block, names)
    assert names["compression"] > 5
    assert names["found"].rewards.min() > 0.01
    stream, recall = names["stream"], names["recall"]
    true = stream.scenes[stream.scene[7]] - stream.vision.mean(0)
    assert (recall.answer * true.ravel()).sum() > 0
