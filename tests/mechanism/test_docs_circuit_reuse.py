"""The code on the page about circuits that two tasks share runs, and finds what was wired."""

from __future__ import annotations

from pages import run_page


def test_the_page_runs():
    names = run_page("circuit_reuse.md")
    wired, shared = names["wired"], names["shared"]
    assert set(names["who"].edges) == wired.circuits["indirect_object"]
    assert (shared.n_shared, names["equal"].n_shared) == (4, 4)
    assert set(names["alike"]["head"].values) == wired.heads("indirect_object") & wired.heads(
        "colored_objects"
    )
    task, before, after = names["task"], names["before"], names["after"]
    assert task.accuracy(after.answers) == 1
    assert task.accuracy(before.answers) < 0.6
    assert names["screen"].scores.sizes == {"head": 4}
