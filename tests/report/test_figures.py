"""The geometry that is drawn is the geometry of the data."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from bregma.report._figures import in_the_plane, order_of, rdm_map, turned_to


def test_points_of_a_plane_are_found_again():
    truth = np.random.default_rng(0).normal(size=(15, 2))
    points, fit = in_the_plane(cdist(truth, truth))
    np.testing.assert_allclose(cdist(points, points), cdist(truth, truth), atol=1e-8)
    assert fit == pytest.approx(1)


def test_majorisation_lowers_the_stress():
    truth = np.random.default_rng(1).normal(size=(30, 8))
    wanted = cdist(truth, truth)

    def stress(n_steps):
        points, _ = in_the_plane(wanted, n_steps)
        return ((cdist(points, points) - wanted) ** 2).sum()

    stresses = [stress(n) for n in (0, 1, 5, 50, 300)]
    assert stresses == sorted(stresses, reverse=True)
    assert stresses[-1] < 0.6 * stresses[0]


def test_negative_and_equal_dissimilarities_are_no_trouble():
    values = np.random.default_rng(2).normal(size=(6, 6))
    square = values + values.T
    np.fill_diagonal(square, 0)
    points, fit = in_the_plane(square)
    assert np.isfinite(points).all()
    assert -1 <= fit <= 1
    assert in_the_plane(np.zeros((4, 4)))[1] == 1.0


def test_turning_keeps_the_shape():
    rng = np.random.default_rng(3)
    target = rng.normal(size=(9, 2))
    target /= np.sqrt((target**2).sum(1).mean())
    angle = 0.7
    mirror = np.array([[np.cos(angle), np.sin(angle)], [np.sin(angle), -np.cos(angle)]])
    np.testing.assert_allclose(turned_to(5 * target @ mirror, target), target, atol=1e-12)


def test_stimuli_are_ordered_by_category_and_thinned_evenly():
    assert order_of(list("abcd"), ["x", "y", "x", "y"]) == [0, 2, 1, 3]
    order = order_of(list(range(1000)), None)
    assert len(order) == 200
    assert order[0] == 0
    assert order[-1] == 999


def test_maps_show_percentiles():
    square = np.array([[0, 1.0, 2], [1, 0, 7], [2, 7, 0]])
    z = np.asarray(rdm_map(square, ["a", "b", "c"], None).data[0].z)
    np.testing.assert_allclose(z, [[0, 0, 50], [0, 0, 100], [50, 100, 0]])
