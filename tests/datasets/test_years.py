"""Years: how often each is said, what follows what, and that both are as promised."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bregma.datasets import years
from bregma.errors import InvalidArgument, NotIdentifiable


@pytest.fixture(scope="module")
def world():
    return years(4000, length=25, first=2000, last=2049, reference=2025, spread=8.0, seed=0)


def test_frequencies_are_kept_by_the_chain(world):
    away = abs(world.years - 2025)
    np.testing.assert_allclose(world.frequency * (1 + away) / world.frequency[25], 1)
    np.testing.assert_allclose(world.next.sum(1), 1, atol=1e-8)
    np.testing.assert_allclose(world.frequency @ world.next, world.frequency, atol=1e-9)
    both = world.frequency[:, None] * world.next  # in either order
    np.testing.assert_allclose(both, both.T, atol=1e-9)
    assert (np.diag(world.next) == 0).all()


def test_nearness_knows_nothing_of_the_reference(world):
    """Without what single years are worth, exp(-distance / spread) is left: by double ratios."""
    log = np.log(world.frequency[:, None] * world.next + np.eye(50))
    for a, b, c, d in [(0, 10, 20, 33), (5, 24, 25, 26), (40, 41, 3, 2)]:
        ratio = log[a, b] + log[c, d] - log[a, d] - log[c, b]
        near = -(abs(a - b) + abs(c - d) - abs(a - d) - abs(c - b)) / 8.0
        assert ratio == pytest.approx(near)


def test_sequences_are_drawn_from_them(world):
    tokens = torch.cat([world.inputs, world.targets[:, -1:]], 1)
    assert torch.equal(tokens[:, 1:], world.targets)
    for step in (0, 12, 25):
        counts = np.bincount(tokens[:, step], minlength=50) / 4000
        assert abs(counts - world.frequency).max() < 4 * np.sqrt(0.25 / 4000)
    after = np.bincount(world.targets[world.inputs == 25], minlength=50)
    assert abs(after / after.sum() - world.next[25]).max() < 0.02


def test_what_can_be_reached(world):
    known = torch.as_tensor(world.next).log()[world.inputs]
    assert world.accuracy(known) == pytest.approx(world.best, abs=0.01)
    lost = -known.gather(-1, world.targets[..., None]).mean()
    assert float(lost) == pytest.approx(world.surprise, abs=0.02)
    constant = torch.full_like(world.targets, 25)
    assert world.accuracy(constant) == pytest.approx(world.chance, abs=0.01)
    assert world.chance < world.best


def test_without_a_reference_all_are_alike():
    even = years(2, first=1900, last=1959, reference=None, seed=0)
    np.testing.assert_allclose(even.frequency, 1 / 60)
    again, other = (years(2, first=1900, last=1959, reference=None, seed=s) for s in (0, 1))
    assert torch.equal(even.inputs, again.inputs)
    assert not torch.equal(even.inputs, other.inputs)


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"n": 0}, InvalidArgument),
        ({"spread": 0.0}, InvalidArgument),
        ({"reference": 1975}, InvalidArgument),
        ({"last": 1976}, InvalidArgument),
        ({"first": 2024, "last": 2026}, NotIdentifiable),  # the middle one would follow itself
    ],
)
def test_what_is_wrong_is_said(wrong, error):
    with pytest.raises(error):
        years(**({"n": 2} | wrong), seed=0)
