"""The code on the page about reasoning runs."""

from __future__ import annotations

from pages import run_page


def test_the_page_runs():
    names = run_page("nn_reasoning.md")
    assert names["number"] == 4
    assert 1 <= names["segments"].min() <= names["segments"].max() <= 8
    assert names["states"].shape == (20, 2 * 16 * 24)
