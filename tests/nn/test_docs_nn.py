"""The code on the page about networks runs."""

from __future__ import annotations

from pages import run_page


def test_the_page_runs():
    names = run_page("nn.md")
    assert names["learned"] > 0.9
    assert names["recording"].shape == (6, 6, 32)
    assert names["curve"][-1] < 0.9 * names["curve"][0]
    assert 0 < names["active"] < 0.4
    assert names["sigma"].shape == (2, 32, 2, 64, 64)
