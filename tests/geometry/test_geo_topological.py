"""Geo-topological transforms against hand-worked RDMs, plain loops, networkx and rsatoolbox."""

from __future__ import annotations

import math

import networkx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bregma import Dissimilarity
from bregma.errors import InvalidArgument
from bregma.evidence import source_keys
from bregma.geometry import Geodesic, GeoTopological, RDMPearson, RDMTransform

QUANTILES = st.tuples(st.floats(0, 0.95), st.floats(0, 1)).map(lambda lu: tuple(sorted(lu)))


def random_rdms(seed, n_rdms=3, n_stimuli=7):
    values = np.random.default_rng(seed).gamma(2.0, size=(n_rdms, n_stimuli * (n_stimuli - 1) // 2))
    return Dissimilarity(values, rdms={"subject": np.arange(n_rdms)}, measure="gamma", name="three")


def f(d, low, high):
    """The definition, for one distance."""
    if d <= low:
        return 0.0
    return 1.0 if d >= high else (d - low) / (high - low)


def graph_of(weights, n, *, zero_is_an_edge=True):
    graph = networkx.Graph()
    graph.add_nodes_from(range(n))
    for w, i, j in zip(weights, *np.triu_indices(n, 1), strict=True):
        if w < 1 and (zero_is_an_edge or w > 0):
            graph.add_edge(int(i), int(j), weight=w)
    return graph


def all_paths(graph, n):
    """Lengths by Bellman-Ford, pair by pair; infinite where there is no path."""
    lengths = [
        networkx.bellman_ford_path_length(graph, i, j) if networkx.has_path(graph, i, j) else np.inf
        for i, j in zip(*np.triu_indices(n, 1), strict=True)
    ]
    return np.array(lengths)


def test_a_hand_worked_rdm():
    distances = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 9.0])  # quantiles 0.2 and 0.8 are 2 and 5
    rdm = Dissimilarity(distances)
    np.testing.assert_allclose(GeoTopological(0.2, 0.8)(rdm).values, [[0, 0, 1 / 3, 2 / 3, 1, 1]])
    np.testing.assert_allclose(GeoTopological(0.4, 0.4)(rdm).values, [[0, 0, 0, 1, 1, 1]])
    np.testing.assert_allclose(GeoTopological()(rdm).values, [(distances - 1) / 8])


def test_a_hand_worked_geodesic():
    # Pairs 01 02 03 12 13 23; the quantile 0.6 is 5, so 02, 03 and 13 are no neighbours, and the
    # edges 01, 12, 23 have the lengths (d - 1) / 4: 1/4, 1/2, 0.
    rdm = Dissimilarity([2.0, 5.0, 9.0, 3.0, 8.0, 1.0])
    np.testing.assert_allclose(
        Geodesic(0.0, 0.6)(rdm).values, [[0.25, 0.75, 0.75, 0.5, 0.5, 0.0]], atol=1e-15
    )


@settings(max_examples=40)
@given(st.integers(0, 10**6), QUANTILES)
def test_equals_the_definition(seed, thresholds):
    rdms = random_rdms(seed)
    found = GeoTopological(*thresholds)(rdms).values
    for row, out in zip(rdms.values, found, strict=True):
        low, high = np.quantile(row, thresholds)
        assert out == pytest.approx([f(d, low, high) for d in row], abs=1e-12)


@settings(max_examples=25)
@given(st.integers(0, 10**6), QUANTILES)
def test_geodesics_equal_bellman_ford(seed, thresholds):
    rdms = random_rdms(seed)
    weights = GeoTopological(*thresholds)(rdms).values
    for row, out in zip(weights, Geodesic(*thresholds)(rdms).values, strict=True):
        lengths = all_paths(graph_of(row, 7), 7)
        joined = np.isfinite(lengths)
        farthest = max(1.0, lengths[joined].max(initial=0))
        assert out == pytest.approx(np.where(joined, lengths, farthest), abs=1e-12)


def test_two_islands_are_as_far_apart_as_the_longest_path_and_at_least_1():
    near, far = np.array([[0.0], [0.4], [1.0]]), np.array([[90.0], [90.3], [91.0]])
    points = np.concatenate([near, far])
    i, j = np.triu_indices(6, 1)
    rdm = Dissimilarity(np.abs(points[i, 0] - points[j, 0]))
    out = Geodesic(0.0, 0.4)(rdm).square()[0]
    assert (out[:3, 3:] == 1).all()
    assert (out[:3, :3] <= 1).all()
    graph = Geodesic(0.39, 0.39)(rdm).square()[0]  # without lengths: which island
    assert (graph == np.kron(1 - np.eye(2), np.ones((3, 3)))).all()


def test_equals_rsatoolbox():
    toolbox = pytest.importorskip("rsatoolbox").rdm
    rdms = random_rdms(3)
    for k in range(3):  # one at a time: rsatoolbox 0.3.2 takes quantiles over all of them together
        one = toolbox.RDMs(rdms.values[[k]].copy())
        theirs = toolbox.transform.__globals__["geotopological_transform"](one, 0.2, 0.7)
        ours = GeoTopological(0.2, 0.7)(rdms).values[k]
        np.testing.assert_allclose(ours, theirs.get_vectors()[0], atol=1e-12)


def test_geodesics_keep_the_nearest_neighbours_which_rsatoolbox_drops():
    toolbox = pytest.importorskip("rsatoolbox").rdm
    rdms, differ = random_rdms(3), False
    weights = GeoTopological()(rdms).values
    theirs = toolbox.transform.__globals__["geodesic_transform"](toolbox.RDMs(rdms.values.copy()))
    for row, ours, other in zip(
        weights, Geodesic()(rdms).values, theirs.get_vectors(), strict=True
    ):
        np.testing.assert_allclose(ours, all_paths(graph_of(row, 7), 7), atol=1e-12)
        without = graph_of(row, 7, zero_is_an_edge=False)
        np.testing.assert_allclose(other, all_paths(without, 7), atol=1e-12)
        differ |= not np.allclose(ours, other)
    assert differ


@pytest.mark.parametrize("kind", [GeoTopological, Geodesic])
@settings(max_examples=25)
@given(
    seed=st.integers(0, 10**6),
    thresholds=QUANTILES,
    scale=st.floats(0.1, 100),
    shift=st.floats(-9, 9),
)
def test_units_and_offsets_cancel(kind, seed, thresholds, scale, shift):
    rdms = random_rdms(seed)
    moved = Dissimilarity(scale * rdms.values + shift)
    transform = kind(*thresholds)
    np.testing.assert_allclose(
        transform(moved).values, transform(rdms).values, atol=1e-7 if kind is Geodesic else 1e-9
    )


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.sampled_from([np.exp, np.sqrt, np.cbrt, lambda d: d**3 + d]))
def test_topology_is_the_same_after_any_rising_change(seed, change):
    rdms, graph = random_rdms(seed), GeoTopological(0.35, 0.35)
    bent = Dissimilarity(change(rdms.values))
    np.testing.assert_array_equal(graph(bent).values, graph(rdms).values)


@settings(max_examples=25)
@given(st.integers(0, 10**6), QUANTILES)
def test_geodesics_are_no_longer_than_edges_and_obey_the_triangle(seed, thresholds):
    rdms = random_rdms(seed, n_rdms=1)
    weights = GeoTopological(*thresholds)(rdms).square()[0]
    out = Geodesic(*thresholds)(rdms).square()[0]
    assert (out <= np.where(weights < 1, weights, np.inf) + 1e-12).all()
    assert (out[:, None, :] <= out[:, :, None] + out[None, :, :] + 1e-12).all()


def test_the_whole_range_is_the_rdm_itself():
    rdms = random_rdms(0)
    same = RDMPearson().compare(GeoTopological()(rdms).values, rdms.values)
    np.testing.assert_allclose(np.diag(same), 1, atol=1e-12)


@pytest.mark.parametrize("kind", [GeoTopological, Geodesic])
def test_labels_stay(kind):
    rdms = random_rdms(0)
    out = kind(0.1, 0.5)(rdms)
    assert isinstance(kind(), RDMTransform)
    assert set(kind.citations) <= set(source_keys())
    assert (out.rdms["subject"] == rdms.rdms["subject"]).all()
    assert (out.stimuli == rdms.stimuli).all()
    assert out.name == "three"
    assert out.measure == f"{kind.word} [0.1, 0.5] of gamma"


@pytest.mark.parametrize("kind", [GeoTopological, Geodesic])
@pytest.mark.parametrize(
    "wrong", [(0.6, 0.5), (-0.1, 0.5), (0.2, 1.2), (math.nan, 0.5), (1.0, 1.0)]
)
def test_wrong_thresholds(kind, wrong):
    with pytest.raises(InvalidArgument, match="quantile"):
        kind(*wrong)


def test_equal_distances_are_neighbours():
    rdm = Dissimilarity([2.0, 2.0, 2.0, 2.0, 2.0, 7.0])
    np.testing.assert_array_equal(GeoTopological(0.2, 0.6)(rdm).values, [[0, 0, 0, 0, 0, 1]])
    with pytest.raises(InvalidArgument, match="lower < 1"):
        GeoTopological(1.0, 1.0)
