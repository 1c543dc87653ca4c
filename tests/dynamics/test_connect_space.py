"""Connections by distance and on a ring."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from scipy import stats

from bregma.dynamics.connect._connect_space import SmallWorld, Spatial, grid_positions
from bregma.dynamics.connect._space_kernels import box_tree
from bregma.errors import InvalidArgument, UnknownName

KEY = 2**61 + 17
PERIOD = (20.0, 15.0)
PLACES = grid_positions(15, 20)
FALL = {
    "gaussian": lambda d: np.exp(-(d**2) / (2 * 2.5**2)),
    "exponential": lambda d: np.exp(-d / 2.5),
    "disc": lambda d: (d <= 2.5).astype(float),
}


def dense(rule, n_pre, n_post, key=KEY):
    rows = rule.rows(n_pre, n_post, key, 0, n_pre)
    out = np.zeros((n_pre, n_post), int)
    out[np.repeat(np.arange(n_pre), np.diff(rows.indptr)), rows.targets] += 1
    return out


def distances(pre, post, period):
    d = np.abs(pre[:, None] - post[None])
    if period is not None:
        d = np.minimum(d, np.asarray(period) - d)
    return np.sqrt((d**2).sum(-1))


# Space


def test_grid():
    assert grid_positions(2, 3, spacing=0.5).tolist() == [
        [0, 0], [0.5, 0], [1, 0], [0, 0.5], [0.5, 0.5], [1, 0.5],
    ]  # fmt: skip


@pytest.mark.parametrize("period", [None, PERIOD])
@pytest.mark.parametrize("p_max", [0.3, 1.0])
@pytest.mark.parametrize("profile", FALL)
def test_each_pair_has_its_probability(profile, p_max, period):
    n, n_graphs = len(PLACES), 200
    rule = Spatial(profile, 2.5, p_max, PLACES, PLACES, period)
    count = sum(dense(rule, n, n, key) for key in range(n_graphs))
    d = distances(PLACES, PLACES, period)
    p = p_max * FALL[profile](d)
    assert (count[p == 0] == 0).all()
    assert (count[p == 1] == n_graphs).all()
    # pairs at one distance are many: their synapses are binomial
    p_values = []
    for distance in np.unique(d.round(9)):
        here = np.isclose(d, distance) & (p > 0) & (p < 1)
        if here.any():
            trials = int(here.sum()) * n_graphs
            p_values.append(stats.binomtest(int(count[here].sum()), trials, p[here][0]).pvalue)
    if profile != "disc" or p_max < 1:
        assert min(p_values) * len(p_values) > 0.01
    # and single pairs scatter around it as they must
    inside = (p * n_graphs > 5) & ((1 - p) * n_graphs > 5)
    if inside.any():
        z2 = (count - p * n_graphs)[inside] ** 2 / (p * (1 - p) * n_graphs)[inside]
        assert abs(z2.mean() - 1) < 4 * np.sqrt(2 / inside.sum())


@pytest.mark.parametrize("n_axes", [1, 3])
def test_scattered_units_in_any_number_of_dimensions(n_axes):
    rng = np.random.default_rng(n_axes)
    pre, post = rng.uniform(0, 10, (40, n_axes)), rng.uniform(0, 10, (300, n_axes))
    period = (10.0,) * n_axes
    rule = Spatial("gaussian", 2.5, 0.7, pre, post, period)
    count = sum(dense(rule, 40, 300, key) for key in range(300))
    p = 0.7 * FALL["gaussian"](distances(pre, post, period))
    z2 = (count - p * 300) ** 2 / (p * (1 - p) * 300)
    inside = p * 300 > 5
    assert abs(z2[inside].mean() - 1) < 4 * np.sqrt(2 / inside.sum())
    assert (
        stats.norm.cdf((count.sum() - 300 * p.sum()) / np.sqrt(300 * (p * (1 - p)).sum())) > 0.005
    )


def test_synapses_of_a_row_are_independent():
    # were boxes chosen by what was drawn before, neighbouring targets would know of each other
    rule = Spatial("gaussian", 4.0, 0.4, PLACES[:1], PLACES)
    graphs = np.stack([dense(rule, 1, len(PLACES), key)[0] for key in range(4000)])
    likely = graphs[:, graphs.mean(0) > 0.05]
    r = np.corrcoef(likely.T)[np.triu_indices(likely.shape[1], 1)]
    assert stats.kstest(r * np.sqrt(len(graphs)), "norm").pvalue > 0.01


def test_many_units_in_one_place():
    places = np.zeros((100, 2))
    count = dense(Spatial("gaussian", 1.0, 0.5, places, places, self_connections=False), 100, 100)
    assert count.trace() == 0
    assert stats.binomtest(int(count.sum()), 9900, 0.5).pvalue > 0.01


def test_nobody_to_connect():
    none = np.zeros((0, 2))
    rule = Spatial("disc", 1.0, 0.5, PLACES, none)
    assert dense(rule, len(PLACES), 0).size == 0
    assert dense(Spatial("disc", 1.0, 0.0, PLACES, PLACES), 300, 300).sum() == 0


@pytest.mark.parametrize("n", [0, 1, 8, 9, 1000])
def test_tree_holds_each_point_in_its_boxes(n):
    points = np.random.default_rng(0).normal(size=(n, 2)).round(1)
    order, begin, end, following, low, high = box_tree(points)
    assert sorted(order) == list(range(n))
    leaves, box = [], 0
    while box < len(begin):
        members = points[order[begin[box] : end[box]]]
        np.testing.assert_array_equal(members.min(0), low[box])
        np.testing.assert_array_equal(members.max(0), high[box])
        if following[box] == box + 1:
            leaves += range(begin[box], end[box])
        else:  # the boxes inside divide it
            assert begin[box + 1] == begin[box]
            second = following[box + 1]
            assert end[box + 1] == begin[second]
            assert end[second] == end[box]
            assert following[second] == following[box]
        box += 1
    assert leaves == list(range(n))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"profile": "gaussain"}, UnknownName, "gaussian"),
        ({"scale": -1.0}, InvalidArgument, "scale"),
        ({"scale": 0.0}, InvalidArgument, "scale"),
        ({"scale": 1e-200}, InvalidArgument, "square"),
        ({"p_max": 1.5}, InvalidArgument, "p_max"),
        ({"post": np.zeros((4, 3))}, InvalidArgument, "axes"),
        ({"period": (20.0,)}, InvalidArgument, "period"),
        ({"period": (20.0, -1.0)}, InvalidArgument, "period"),
        ({"period": (20.0, 3.0)}, InvalidArgument, "between 0 and the period"),
        ({"pre": np.full((300, 2), np.nan)}, InvalidArgument, "NaN"),
    ],
)
@pytest.mark.usefixtures("unchecked_types")
def test_impossible_spaces_are_refused(change, error, message):
    given = {"profile": "disc", "scale": 1.0, "p_max": 0.5, "pre": PLACES, "post": PLACES, **change}
    with pytest.raises(error, match=message):
        Spatial(**given)


def test_sizes_must_be_those_of_the_positions():
    with pytest.raises(InvalidArgument, match="positions of 300 and 300"):
        Spatial("disc", 1.0, 0.5, PLACES, PLACES).rows(300, 299, KEY, 0, 1)


def test_positions_are_not_those_of_the_caller():
    mine = PLACES.copy()
    rule = Spatial("disc", 1.0, 1.0, mine, mine)
    mine[:] = 0
    np.testing.assert_array_equal(rule.pre, PLACES)
    assert dense(rule, 300, 300).sum() < 300 * 6


@pytest.mark.parametrize(("rows", "columns", "spacing"), [(0, 3, 1.0), (3, 0, 1.0), (3, 3, 0.0)])
def test_impossible_grids_are_refused(rows, columns, spacing):
    with pytest.raises(InvalidArgument, match="grid"):
        grid_positions(rows, columns, spacing=spacing)


# Small world


def graph(matrix):
    return nx.from_numpy_array(matrix, create_using=nx.DiGraph)


def test_without_moves_it_is_the_ring_of_networkx():
    expected = nx.to_numpy_array(nx.watts_strogatz_graph(50, 8, 0.0))
    np.testing.assert_array_equal(dense(SmallWorld(8, 0.0), 50, 50), expected)


def test_with_all_moved_it_is_a_random_graph_of_equal_degree():
    # clustering of a graph without order is k / n; networkx moves all edges as well
    n, k = 300, 12
    ours = [graph(dense(SmallWorld(k, 1.0), n, n, key)) for key in range(8)]
    theirs = [nx.watts_strogatz_graph(n, k, 1.0, seed=s).to_directed() for s in range(8)]
    clustering = [[nx.average_clustering(g) for g in graphs] for graphs in (ours, theirs)]
    assert abs(np.mean(clustering[0]) - k / n) < 0.15 * k / n
    assert abs(np.mean(clustering[0]) - np.mean(clustering[1])) < 0.15 * k / n
    path = [[nx.average_shortest_path_length(g) for g in graphs[:2]] for graphs in (ours, theirs)]
    assert abs(np.mean(path[0]) - np.mean(path[1])) < 0.03 * np.mean(path[1])


def test_few_moves_shorten_paths_and_keep_clustering():
    ring, small = (graph(dense(SmallWorld(12, p), 300, 300)) for p in (0.0, 0.05))
    assert nx.average_clustering(small) > 0.7 * nx.average_clustering(ring)
    assert nx.average_shortest_path_length(small) < 0.5 * nx.average_shortest_path_length(ring)


def test_moves_are_binomial_and_go_anywhere():
    n, k, p = 2000, 10, 0.3
    matrix = dense(SmallWorld(k, p), n, n)
    assert (matrix.sum(axis=1) == k).all()
    i, j = np.nonzero(matrix)
    away = np.minimum((i - j) % n, (j - i) % n)
    # one move of k / (n - 1) may come back to a place that an earlier move has left
    assert stats.binomtest(int((away > k // 2).sum()), n * k, p).pvalue > 0.01
    assert stats.kstest((away[away > 5] - 5.5) / (n / 2 - 5), "uniform").pvalue > 0.01


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SmallWorld(3, 0.1), "even"),
        (lambda: SmallWorld(-2, 0.1), "even"),
        (lambda: SmallWorld(4, 1.1), "p must lie"),
        (lambda: dense(SmallWorld(4, 0.1), 4, 4), "more than 4"),
        (lambda: dense(SmallWorld(4, 0.1), 9, 8), "with itself"),
    ],
)
def test_impossible_small_worlds_are_refused(make, message):
    with pytest.raises(InvalidArgument, match=message):
        make()
