"""The code on the page about learning runs."""

from __future__ import annotations

from pages import run_page


def test_the_page_runs():
    names = run_page("learning.md")
    assert min(names["accuracies"]) > 0.8
    assert names["accuracy"] > 0.8
