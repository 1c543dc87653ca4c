"""The code on the page about patterns of attention runs, and gives what the page says."""

from __future__ import annotations

from bregma.mechanism import homogeneity, zero_sum
from pages import run_page


def test_the_page_runs():
    names = run_page("attention_patterns.md")
    net, test = names["net"], names["test"]
    assert homogeneity(net.look[:, :5, :5]).min() > 0.9
    assert zero_sum(net.say.detach()) > 0.8
    assert test.best_error < test.error(net(test.inputs).detach()) < 0.3 * test.chance
