"""The planted chain is what its truth says."""

from __future__ import annotations

import pytest
import torch

from bregma.datasets import planted_chain
from bregma.errors import InvalidArgument


def test_what_is_written_follows_from_the_truth():
    chain = planted_chain(50, width=20, features=16, later=8, links=2, active=2, seed=3)
    for x, first, second in zip(chain.inputs, chain.first, chain.second, strict=True):
        z = [max(float(x @ u) - 0.75, 0) for u in chain.reads]
        torch.testing.assert_close(sum(a * v for a, v in zip(z, chain.writes, strict=True)), first)
        z = [max(float((x + first) @ u) - 0.75, 0) for u in chain.later_reads]
        want = sum(a * v for a, v in zip(z, chain.later_writes, strict=True))
        torch.testing.assert_close(want, second)


def test_links_are_seen_in_the_weights_and_nothing_else_is():
    chain = planted_chain(4000, seed=0)
    weights = chain.writes @ chain.later_reads.T
    torch.testing.assert_close(weights, chain.links.float(), atol=1e-5, rtol=0)
    assert (chain.links.sum(0) == 3).all()
    amplitudes = chain.inputs @ chain.reads.T
    on = amplitudes > 0.5
    assert 2.8 < on.sum(1).float().mean() < 3.2
    assert amplitudes[on].min() + 1e-4 >= 1
    assert amplitudes[on].max() <= 2.0001


def test_the_same_seed_gives_the_same_chain():
    one, two, other = (planted_chain(5, seed=s) for s in (1, 1, 2))
    assert torch.equal(one.second, two.second)
    assert not torch.equal(one.links, other.links)


@pytest.mark.parametrize(
    "wrong", [{"n": 0}, {"features": 65}, {"later": 0}, {"links": 65}, {"active": 0}]
)
def test_bad_input(wrong):
    with pytest.raises(InvalidArgument):
        planted_chain(**{"n": 5, "seed": 0} | wrong)
