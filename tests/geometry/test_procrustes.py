"""Procrustes against SciPy's rotation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import orthogonal_procrustes

from bregma.geometry import Procrustes, procrustes_distance


def unit(x):
    x = x - x.mean(axis=0)
    return x / np.linalg.norm(x)


def padded(x, columns):
    return np.pad(x, ((0, 0), (0, columns - x.shape[1])))


@pytest.mark.parametrize("shapes", [(5, 5), (4, 9), (30, 6)])
def test_equals_the_best_rotation(shapes):
    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal((12, columns)) for columns in shapes)
    a, b = (padded(unit(part), max(shapes)) for part in (x, y))
    rotation, product = orthogonal_procrustes(b, a)
    assert Procrustes().compare(x, y) == pytest.approx(product, rel=1e-10)
    distance = np.linalg.norm(a - b @ rotation)
    assert procrustes_distance(x, y) == pytest.approx(distance, rel=1e-10)
    angle = np.arccos(np.sum(a * (b @ rotation)))
    assert procrustes_distance(x, y, angular=True) == pytest.approx(angle, rel=1e-10)
    assert Procrustes(angular=True).compare(x, y) == pytest.approx(1 - 2 * angle / np.pi, rel=1e-10)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6), st.booleans())
def test_distances_are_metrics(seed, angular):
    rng = np.random.default_rng(seed)
    x, y, z = (rng.standard_normal((8, columns)) for columns in (3, 4, 5))
    xy, yz, xz = (procrustes_distance(a, b, angular=angular) for a, b in ((x, y), (y, z), (x, z)))
    assert xz <= xy + yz + 1e-9
    assert xy == pytest.approx(procrustes_distance(y, x, angular=angular))
    # near 0 the square root (and the arc cosine) of rounding is 1e-8
    assert procrustes_distance(x, 2 * x[:, ::-1] + 1, angular=angular) == pytest.approx(0, abs=1e-6)
