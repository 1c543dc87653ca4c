"""The code on the page about agents runs."""

from __future__ import annotations

from pages import run_page


def test_the_page_runs():
    names = run_page("agents.md")
    assert names["compression"] > 5
    assert names["found"].rewards.min() > 0.01
    stream, recall = names["stream"], names["recall"]
    true = stream.scenes[stream.scene[7]] - stream.vision.mean(0)
    assert (recall.answer * true.ravel()).sum() > 0
