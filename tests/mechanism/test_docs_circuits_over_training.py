"""The code on the page about circuits over training runs."""

from __future__ import annotations

from pages import run_page


def test_the_page_runs():
    names = run_page("circuits_over_training.md")
    history = names["history"]
    assert history.active.shape == (4, 8)
    assert history.resampled.shape == (2, 4, 8)
    assert names["rewarded"][-1] > 0.25  # chance is 1 / 7
    assert names["grown"].active[-1].any()
