"""The code on the page about matching pursuit runs."""

from __future__ import annotations

from pages import run_page


def test_the_page_runs():
    names = run_page("matching_pursuit.md")
    assert names["errors"]["pursuit"] < names["errors"]["flat"]
    assert names["shares"]["pursuit"] > names["shares"]["flat"]
    assert names["chosen"].mean() < 0.5 * names["whole"][0]
    assert 0 <= names["absorbed"] < 1
    assert names["order"].shape == (4000, 2)
