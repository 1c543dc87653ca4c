"""The code on the page about mechanisms runs."""

from __future__ import annotations

import math

from pages import run_page


def test_the_page_runs():
    names = run_page("mechanism.md")
    assert names["found"].p_value == 1 / 20
    assert names["best"].n["candidates"] == 24
    assert names["loss"].item() < math.log(5)
