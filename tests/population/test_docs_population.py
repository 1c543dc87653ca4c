"""The code on the page about populations runs."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

PAGE = Path(__file__).resolve().parents[2] / "docs" / "population.md"


def test_the_page_runs():
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, object] = {}
    for block in blocks:
        exec(block, names)
    assert names["probability"].shape == (1, 1000, 2)
    np.testing.assert_allclose(names["probability"].sum(-1), 1, atol=1e-6)
    assert names["best"]["n_states"] in (1, 2)
