"""Families of concepts are what their truth says."""

from __future__ import annotations

import numpy as np
import pytest

from bregma.datasets import concept_families
from bregma.errors import InvalidArgument


def test_patterns_share_a_core_within_families_only():
    world = concept_families(2000, noise=0.0, seed=0)
    np.testing.assert_allclose(world.activity, world.amounts @ world.patterns)
    np.testing.assert_allclose(np.linalg.norm(world.patterns, axis=1), 1)
    on = world.patterns != 0
    shared = on.astype(int) @ on.T.astype(int)
    same = world.family[:, None] == world.family
    assert (shared[same & ~np.eye(16, dtype=bool)] == 8).all()
    assert (shared[~same] == 0).all()
    assert (np.diag(shared) == 16).all()


@pytest.mark.parametrize("gated", [True, False])
def test_how_often_concepts_come_together(gated):
    world = concept_families(20000, gated=gated, seed=1)
    used = (world.amounts > 0).astype(float)
    np.testing.assert_allclose(used.mean(0), 1 / 6, atol=0.02)
    both = used.T @ used / len(used)
    want = 1 / 12 if gated else 1 / 36  # of a family that is on, or by chance
    assert both[0, 1] == pytest.approx(want, abs=0.01)
    assert both[0, 4] == pytest.approx(1 / 36, abs=0.01)
    noise = world.activity - world.amounts @ world.patterns
    assert noise.std() == pytest.approx(0.1, rel=0.02)


def test_the_same_seed_gives_the_same_world():
    one, two, other = (concept_families(5, seed=s).activity for s in (1, 1, 2))
    np.testing.assert_array_equal(one, two)
    assert not np.allclose(one, other)


@pytest.mark.parametrize("wrong", [{"n": 0}, {"core": 0}, {"noise": -1.0}, {"neurons": 100}])
def test_bad_input(wrong):
    with pytest.raises(InvalidArgument):
        concept_families(**{"n": 5, "seed": 0} | wrong)
