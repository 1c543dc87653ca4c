"""The code on the page about comparing representations runs, and shows what it says."""

from __future__ import annotations

from pages import run_page


def test_the_page_runs():
    names = run_page("geometry.md")
    assert names["found"].accuracy > 2 * names["found"].chance
    assert names["stitched"] > 0.85
    assert names["rotated"] > 0.85
    assert names["alike"] > 0.3
    x = names["torch"].rand(3, 64)
    assert names["model"](x).shape == names["moved"](x).shape == (3, 10)
