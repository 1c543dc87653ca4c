"""The code on the page about circuits runs."""

from __future__ import annotations

from pages import run_page


def test_the_page_runs():
    names = run_page("dynamics.md")
    assert names["recording"].shape == (8, 40)
    assert (names["lesioned"].values != names["recording"].values).any()
    assert [e.model for e in names["evidence"]] == ["without I", "rewired"]
