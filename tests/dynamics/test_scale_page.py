"""The page on large networks runs as it stands, and says the truth about spikes and memory."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

PAGE = Path(__file__).resolve().parents[2] / "docs" / "scale.md"


def test_the_page_runs():
    code = "\n".join(re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL))
    found: dict = {"__name__": "page"}
    exec(compile(code, str(PAGE), "exec"), found)
    stored, drawn = (found[n].spikes["E"] for n in ("stored", "drawn"))
    assert len(stored.times) > 1000
    np.testing.assert_array_equal(stored.times, drawn.times)
    np.testing.assert_array_equal(stored.unit_index, drawn.unit_index)
    before, after = (sum(bytes_of.values()) for bytes_of in found["needed"])
    assert before > 4 * 0.99 * 0.1 * 2000**2
    assert after == 0
