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
    sinks, world = names["sinks"], names["world"]
    assert len(names["table"]) == (world.created >= 0).sum()
    assert (sinks.kinds()[:, 1:] == "secondary").any()
    assert (names["without"].created[world.created > 1] == -1).mean() > 0.9
    assert (names["before"] - names["after"]).abs().mean() < 0.2
