"""The code on the page about encoding runs."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import torch

PAGE = Path(__file__).resolve().parents[2] / "docs" / "encoding.md"


def test_the_page_runs(transformers):
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, object] = {}
    for block in blocks:
        exec(block, names)
    assert names["predicted"].shape == names["together"].shape == (80, 6)
    assert names["maps"].shape == (80, 3, 16)
    torch.testing.assert_close(names["maps"].sum(dim=2), torch.ones(80, 3))
    assert names["weights"].shape == (400, 16)
    assert np.isfinite(names["losses"]).all()
