"""The code on the page about sparse dictionaries runs."""

from __future__ import annotations

import numpy as np

from pages import run_page


def test_the_page_runs():
    names = run_page("dictionaries.md")
    assert names["scores"].l0 <= 2
    assert names["found"].mean > 0.9
    assert names["lives_in"].shape == (64, 2)
    assert 0 < names["spliced"].recovered <= 1
    used, on = names["used"], names["on"]
    correlation = np.corrcoef(used.T, on.T)[:2, 2:]
    assert (correlation.max(0) > 0.8).all()
    assert names["index"].shape == (300, 8, 1)
