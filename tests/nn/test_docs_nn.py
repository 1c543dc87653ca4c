"""The code on the page about networks runs, and so do the snippets of both claims."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bregma.claims.nn.darlow_2025_ticks import darlow_2025_ticks
from bregma.claims.nn.kosowski_2025_synapses import kosowski_2025_synapses

PAGE = Path(__file__).resolve().parents[2] / "docs" / "nn.md"


def test_the_page_runs():
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    names: dict = {}
    for block in blocks:
        exec(block, names)
    assert names["learned"] > 0.9
    assert names["recording"].shape == (6, 6, 32)
    assert names["curve"][-1] < 0.9 * names["curve"][0]
    assert 0 < names["active"] < 0.4
    assert names["sigma"].shape == (2, 32, 2, 64, 64)


@pytest.mark.parametrize("claim", [darlow_2025_ticks, kosowski_2025_synapses])
def test_snippets_of_the_claims_run(claim):
    exec(claim.use, {})
