"""The code on the page about codebooks runs."""

from __future__ import annotations

from pages import run_page


def test_the_page_runs():
    names = run_page("codebooks.md")
    assert names["index"].shape == (1500,)
    assert names["by_code"].score.mean() > names["by_neuron"].score.mean() + 0.1
    assert names["by_code"].p_value.max() < 0.2
    moved = (names["next_digit"] * names["may"][names["wanted"]]).sum(1).mean()
    assert moved > 0.7
