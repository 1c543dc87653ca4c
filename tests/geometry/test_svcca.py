"""SVCCA against canonical correlations computed in other ways."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import eigh, subspace_angles

from bregma.errors import InvalidArgument, NotIdentifiable
from bregma.geometry import SVCCA


def sides(seed=0, n=25):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, 6)) * [5, 4, 3, 0.1, 0.1, 0.1]
    return x, x[:, :3] @ rng.standard_normal((3, 4)) + rng.standard_normal((n, 4))


def leading(x, size):
    x = x - x.mean(axis=0)
    return x @ np.linalg.svd(x, full_matrices=False)[2][:size].T


def test_equals_the_angles_between_subspaces():
    x, y = sides()
    expected = np.cos(subspace_angles(leading(x, 3), leading(y, 2))).mean()
    assert SVCCA(components=3).compare(x, leading(y, 2)) == pytest.approx(expected, rel=1e-9)


def test_equals_the_generalised_eigenproblem():
    x, y = sides(1)
    a, b = leading(x, 3), leading(y, 3)
    zero = np.zeros((3, 3))
    cross = np.block([[zero, a.T @ b], [b.T @ a, zero]])
    within = np.block([[a.T @ a, zero], [zero, b.T @ b]])
    expected = np.sort(eigh(cross, within, eigvals_only=True))[-3:].mean()
    assert SVCCA(components=3).compare(x, y) == pytest.approx(expected, rel=1e-9)


def test_keeps_as_many_directions_as_the_variance_needs():
    x, _ = sides(2)
    assert SVCCA(0.99)._basis(x).shape[1] == 3
    assert SVCCA(1.0)._basis(x).shape[1] == 6
    assert SVCCA(0.99, components=2)._basis(x).shape[1] == 2
    assert SVCCA(0.01)._basis(x).shape[1] == 1


def test_too_many_directions_are_refused():
    rng = np.random.default_rng(4)
    x, y = rng.standard_normal((12, 40)), rng.standard_normal((12, 30))
    with pytest.raises(NotIdentifiable, match=r"SVCCA\(components=2\)"):
        SVCCA().compare(x, y)
    assert SVCCA(components=2).compare(x, y) < 1


def test_messages_say_what_to_do():
    with pytest.raises(InvalidArgument, match="share of variance"):
        SVCCA(0.0)
    with pytest.raises(InvalidArgument, match="at least one component"):
        SVCCA(components=0)
