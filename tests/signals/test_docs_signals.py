"""The code on the page about signals runs."""

from __future__ import annotations

from pages import run_page


def test_the_page_runs():
    names = run_page("signals.md")
    assert names["losses"][-1] < names["losses"][0]
    assert names["waves"].shape == (20, 64, 32)
    assert names["features"].shape == (20, 8, 8, 32)
