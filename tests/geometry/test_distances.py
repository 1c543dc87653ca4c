"""Distances against rsatoolbox, closed forms and brute force."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import pdist

from bregma.errors import InvalidArgument, NotIdentifiable, UnknownName
from bregma.geometry import (
    CorrelationDistance,
    CosineDistance,
    CrossnobisDistance,
    EuclideanDistance,
    MahalanobisDistance,
    PoissonKLDistance,
    correlation_distance,
    cosine_distance,
    crossnobis_distance,
    euclidean_distance,
    mahalanobis_distance,
    noise_precision,
    poisson_kl_distance,
    rdm,
)
from bregma.recording import Recording

STIMULI, REPEATS, UNITS = 9, 4, 12


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def peer(values, stimulus, method, **options):
    rsatoolbox = pytest.importorskip("rsatoolbox", reason="the peer is not installed")
    columns = {"stimulus": stimulus, "fold": options.pop("fold", np.zeros(len(stimulus), int))}
    data = rsatoolbox.data.Dataset(np.array(values, float), obs_descriptors=columns)
    if method == "crossnobis":
        options["cv_descriptor"] = "fold"
    rdms = rsatoolbox.rdm.calc_rdm(data, method, descriptor="stimulus", **options)
    return rdms.dissimilarities[0]


def repeated(rng, repeats=REPEATS):
    values = rng.standard_normal((STIMULI * repeats, UNITS)) + 1
    order = rng.permutation(STIMULI * repeats)
    stimulus = np.repeat(np.arange(STIMULI), repeats)[order]
    fold = np.tile(np.arange(repeats), STIMULI)[order]
    return values, stimulus, fold


def spd(rng, n=UNITS):
    half = rng.standard_normal((n, 2 * n))
    return half @ half.T / n


def recorded(values, stimulus, **columns):
    return Recording.from_array(values, presentation={"stimulus": stimulus, **columns})


@pytest.mark.parametrize(
    ("distance", "method"),
    [(EuclideanDistance(), "euclidean"), (CorrelationDistance(), "correlation"),
     (PoissonKLDistance(), "poisson"), (PoissonKLDistance(0.5, 0.3), "poisson")],
)  # fmt: skip
def test_equals_rsatoolbox_with_repeats_averaged(rng, distance, method):
    values, stimulus, _ = repeated(rng)
    options = {}
    if method == "poisson":
        values = rng.poisson(3, values.shape).astype(float)
        options = {"prior_lambda": distance.prior_rate, "prior_weight": distance.prior_weight}
    expected = peer(values, stimulus, method, **options)
    np.testing.assert_allclose(distance.pairs(values, stimulus), expected, rtol=1e-8, atol=1e-12)


def test_mahalanobis_equals_rsatoolbox(rng):
    values, stimulus, _ = repeated(rng)
    precision = spd(rng)
    expected = peer(values, stimulus, "mahalanobis", noise=precision)
    ours = MahalanobisDistance(precision).pairs(values, stimulus)
    np.testing.assert_allclose(ours, expected, rtol=1e-8)


def test_mahalanobis_estimates_its_noise_from_repeats(rng):
    values, stimulus, _ = repeated(rng)
    recording = recorded(values, stimulus)
    for method in ("ledoit_wolf", "diagonal"):
        ours = rdm(recording, MahalanobisDistance(method)).values[0]
        means = recording.average_repeats().values
        expected = mahalanobis_distance(means, noise_precision(recording, method=method))
        np.testing.assert_allclose(ours, expected, rtol=1e-10)


def test_cosine_equals_scipy(rng):
    patterns = rng.standard_normal((7, 5))
    np.testing.assert_allclose(cosine_distance(patterns), pdist(patterns, "cosine"), rtol=1e-10)


@pytest.mark.parametrize("noise", ["none", "one", "each"])
def test_crossnobis_equals_rsatoolbox(rng, noise):
    values, stimulus, fold = repeated(rng)
    precision = {"none": None, "one": spd(rng), "each": [spd(rng) for _ in range(REPEATS)]}[noise]
    given = [part.copy() for part in precision] if noise == "each" else precision
    expected = peer(values, stimulus, "crossnobis", fold=fold, noise=given)
    ours = crossnobis_distance(values, stimulus, fold, precision)
    np.testing.assert_allclose(ours, expected, rtol=1e-8, atol=1e-12)


def brute_force(values, stimulus, fold, precision):
    """Every pair of presentations' folds by itself; precision(k, m) of two folds."""
    out = []
    for i, j in itertools.combinations(range(stimulus.max() + 1), 2):
        terms = []
        for k, m in itertools.permutations(range(fold.max() + 1), 2):
            rows = [[(stimulus == s) & (fold == f) for s in (i, j)] for f in (k, m)]
            if all(row.any() for pair in rows for row in pair):
                first, second = (values[a].mean(0) - values[b].mean(0) for a, b in rows)
                terms.append(first @ precision(k, m) @ second)
        out.append(np.mean(terms) / values.shape[1])
    return np.array(out)


@pytest.mark.parametrize("noise", ["none", "one", "each"])
@pytest.mark.parametrize("unequal", ["within folds", "folds"])
def test_crossnobis_with_unequal_repeats_equals_brute_force(rng, noise, unequal):
    values, stimulus, fold = repeated(rng, repeats=6)
    if unequal == "within folds":  # each stimulus in each fold, one to three times
        fold = fold % 3
        keep = (rng.random(len(fold)) < 0.7) | (np.unique(fold * 100 + stimulus,
                                                          return_index=True)[1][:, None]
                                                == np.arange(len(fold))).any(0)  # fmt: skip
    else:  # some stimuli are missing in some folds
        keep = rng.random(len(fold)) < 0.75
    values, stimulus, fold = values[keep], stimulus[keep], fold[keep]
    each = [spd(rng) for _ in range(fold.max() + 1)]
    given, precision = {
        "none": (None, lambda k, m: np.eye(UNITS)),
        "one": (each[0], lambda k, m: each[0]),
        "each": (each, lambda k, m: np.linalg.inv(
            (np.linalg.inv(each[k]) + np.linalg.inv(each[m])) / 2)),
    }[noise]  # fmt: skip
    ours = crossnobis_distance(values, stimulus, fold, given)
    np.testing.assert_allclose(ours, brute_force(values, stimulus, fold, precision), rtol=1e-8)


@pytest.mark.parametrize("missing", [False, True])
def test_estimated_noise_never_sees_the_fold_that_it_whitens(rng, missing):
    values, stimulus, fold = repeated(rng, repeats=5)
    if missing:
        keep = ~((stimulus == 2) & (fold == 1))
        values, stimulus, fold = values[keep], stimulus[keep], fold[keep]
    without = [
        noise_precision(recorded(values[fold != k], stimulus[fold != k]), method="ledoit_wolf")
        for k in range(5)
    ]
    expected = brute_force(values, stimulus, fold, lambda k, m: without[k])
    ours = crossnobis_distance(values, stimulus, fold, "ledoit_wolf")
    np.testing.assert_allclose(ours, expected, rtol=1e-8)


@pytest.mark.parametrize("noise", [None, "diagonal", "ledoit_wolf", "matrix"])
@pytest.mark.parametrize("planted", [0.0, 0.5])
def test_crossnobis_is_unbiased(noise, planted):
    rng = np.random.default_rng(11)
    stimuli, repeats, units, sims = 4, 3, 6, 800
    scale = np.linspace(0.5, 2, units)  # noise standard deviation of each unit
    given = np.diag(scale**-2) if noise == "matrix" else noise
    patterns = np.zeros((stimuli, units))
    patterns[0] = np.sqrt(planted) * (1 if noise is None else scale)
    stimulus = np.tile(np.arange(stimuli), repeats)
    fold = np.repeat(np.arange(repeats), stimuli)
    found = np.array([
        crossnobis_distance(
            patterns[stimulus] + scale * rng.standard_normal((len(stimulus), units)),
            stimulus, fold, given,
        )
        for _ in range(sims)
    ])  # fmt: skip
    null = found[:, 3:]  # pairs among the three stimuli that evoke the same
    error = found.std(axis=0) / np.sqrt(sims)
    assert (np.abs(null.mean(axis=0)) < 4 * error[3:]).all()
    if noise in (None, "matrix"):  # an estimated precision is itself not unbiased: E[1/s2] > 1/s2
        assert (np.abs(found[:, :3].mean(axis=0) - planted) < 4 * error[:3]).all()


def test_a_precision_from_the_same_repeats_is_biased_and_ours_is_not():
    rng = np.random.default_rng(5)
    stimulus = np.tile(np.arange(4), 3)
    fold = np.repeat(np.arange(3), 4)
    same, ours = [], []
    for _ in range(600):
        values = rng.standard_normal((12, 6))
        whole = noise_precision(recorded(values, stimulus), method="diagonal")
        same.append(crossnobis_distance(values, stimulus, fold, whole).mean())
        ours.append(crossnobis_distance(values, stimulus, fold, "diagonal").mean())
    assert np.mean(same) > 6 * np.std(same) / np.sqrt(600)
    assert abs(np.mean(ours)) < 4 * np.std(ours) / np.sqrt(600)


def test_offsets_of_folds_drop_out(rng):
    values, stimulus, fold = repeated(rng)
    keep = ~((stimulus == 1) & (fold == 0))
    values, stimulus, fold = values[keep], stimulus[keep], fold[keep]
    moved = values + 10 * rng.standard_normal((REPEATS, UNITS))[fold]
    np.testing.assert_allclose(
        crossnobis_distance(moved, stimulus, fold), crossnobis_distance(values, stimulus, fold),
        rtol=1e-8, atol=1e-10,
    )  # fmt: skip


def test_a_slice_of_time_is_the_distance_at_that_time(rng):
    values, stimulus, fold = repeated(rng)
    movie = np.stack([values, rng.poisson(2, values.shape).astype(float) + 1])
    for distance in (EuclideanDistance(), CorrelationDistance(), CosineDistance(),
                     MahalanobisDistance("diagonal"), MahalanobisDistance(spd(rng)),
                     CrossnobisDistance(), CrossnobisDistance("ledoit_wolf"),
                     CrossnobisDistance(spd(rng))):  # fmt: skip
        both = distance.pairs(movie, stimulus, fold)
        for at in range(2):
            np.testing.assert_allclose(
                both[at], distance.pairs(movie[at], stimulus, fold), rtol=1e-10
            )


def test_single_precision_stays_single_and_integers_become_double(rng):
    patterns = rng.poisson(3, (5, 8)) + 1
    for function in (euclidean_distance, correlation_distance, cosine_distance,
                     poisson_kl_distance):  # fmt: skip
        exact = function(patterns)
        single = function(patterns.astype(np.float32))
        assert exact.dtype == np.float64
        assert single.dtype == np.float32
        np.testing.assert_allclose(single, exact, atol=1e-5)


def test_a_large_mean_costs_no_digits(rng):
    patterns = rng.standard_normal((6, 9))
    expected = pdist(patterns, "sqeuclidean") / 9
    np.testing.assert_allclose(euclidean_distance(patterns + 1e6), expected, rtol=1e-8)


patterns_of_any_size = arrays(
    float, st.tuples(st.integers(2, 6), st.integers(2, 7)),
    elements=st.floats(-10, 10, allow_subnormal=False),
)  # fmt: skip


@settings(deadline=None, max_examples=50)
@given(patterns_of_any_size, st.integers(0, 100))
def test_distances_do_not_see_a_rotation_of_units(patterns, seed):
    rng = np.random.default_rng(seed)
    n = patterns.shape[1]
    rotation = np.linalg.qr(rng.standard_normal((n, n)))[0]
    np.testing.assert_allclose(
        euclidean_distance(patterns @ rotation), euclidean_distance(patterns), atol=1e-9
    )
    precision = spd(rng, n)
    np.testing.assert_allclose(
        mahalanobis_distance(patterns @ rotation, rotation.T @ precision @ rotation),
        mahalanobis_distance(patterns, precision), rtol=1e-6, atol=1e-8,
    )  # fmt: skip


@settings(deadline=None, max_examples=50)
@given(patterns_of_any_size)
def test_euclidean_distances_are_never_negative_and_obey_the_triangle(patterns):
    from bregma.recording import Dissimilarity

    square = np.sqrt(Dissimilarity(euclidean_distance(patterns)).square()[0])
    for i, j, k in itertools.permutations(range(len(square)), 3):
        assert square[i, j] <= square[i, k] + square[k, j] + 1e-6


# The function of recordings


def test_rdm_has_one_row_for_each_label_and_carries_what_is_constant(rng):
    values, stimulus, fold = repeated(rng)
    recording = Recording.from_array(
        values,
        unit={"area": ["V1"] * 5 + ["IT"] * 7, "side": ["left"] * 12, "depth": np.arange(12)},
        presentation={"stimulus": stimulus, "repeat": fold, "task": ["fixate"] * len(fold)},
        name="monkey",
    )
    found = rdm(recording, by="area")
    assert found.rdms.to_dict("list") == {
        "area": ["V1", "IT"], "side": ["left"] * 2, "task": ["fixate"] * 2,
    }  # fmt: skip
    assert (found.name, found.measure) == ("monkey", "correlation")
    assert found.stimuli.tolist() == recording.unique_stimuli.tolist()
    one = rdm(recording.select(area="IT"))
    np.testing.assert_allclose(found.select(area="IT").values, one.values, rtol=1e-12)


def test_rdm_by_session_keeps_one_order_of_stimuli(rng):
    values, stimulus, fold = repeated(rng)
    names = np.array(list("hgfedcbai"))[stimulus]
    recording = recorded(values, names, session=np.array(["late", "early"])[fold % 2])
    found = rdm(recording, EuclideanDistance(), by="session")
    for session in ("late", "early"):
        part = rdm(recording.select(session=session), EuclideanDistance())
        np.testing.assert_allclose(
            found.select(session=session).values, part.select_stimuli(found.stimuli).values,
            rtol=1e-10,
        )  # fmt: skip
    lost = recording.select(presentation=np.flatnonzero((fold % 2 == 0) | (stimulus != 4)))
    with pytest.raises(InvalidArgument, match="different stimuli"):
        rdm(lost, by="session")


def test_repeats_are_numbered_where_no_coordinate_does_it(rng):
    values, stimulus, _ = repeated(rng)
    counted = np.zeros(len(stimulus), int)
    for s in range(STIMULI):
        counted[stimulus == s] = np.arange(REPEATS)
    names = np.array([f"s{i}" for i in stimulus])
    bare = rdm(recorded(values, names), CrossnobisDistance())
    named = rdm(recorded(values, names, repeat=counted), CrossnobisDistance())
    run = rdm(recorded(values, names, run=counted), CrossnobisDistance(fold="run"))
    np.testing.assert_array_equal(bare.values, named.values)
    np.testing.assert_array_equal(bare.values, run.values)


def test_messages_say_what_to_do(rng):
    values, stimulus, fold = repeated(rng)
    recording = recorded(values, stimulus, repeat=fold)
    with pytest.raises(InvalidArgument, match="rdm_movie"):
        rdm(Recording.from_array(values[:, None], time=[0.0]))
    with pytest.raises(NotIdentifiable, match="two stimuli"):
        rdm(recorded(values, np.zeros(len(stimulus), int)))
    with pytest.raises(UnknownName, match="repeat"):
        rdm(recording, CrossnobisDistance(fold="repeats"))
    with pytest.raises(InvalidArgument, match="labels each unit"):
        rdm(recording.assign(area=("unit", ["V1"] * UNITS)), CrossnobisDistance(fold="area"))
    with pytest.raises(NotIdentifiable, match="at least two folds"):
        rdm(recording.select(repeat=0), CrossnobisDistance())
    with pytest.raises(NotIdentifiable, match="fewer than two folds"):
        rdm(recorded(values[fold < 2], stimulus[fold < 2], repeat=fold[fold < 2] + stimulus[
            fold < 2] % 2), CrossnobisDistance())  # fmt: skip
    with pytest.raises(NotIdentifiable, match="no stimulus was shown twice"):
        rdm(recording.select(repeat=[0, 1]), CrossnobisDistance("diagonal"))
    with pytest.raises(InvalidArgument, match="one set of units"):
        rdm(recording, CrossnobisDistance(np.eye(3)))
    with pytest.raises(InvalidArgument, match="positive definite"):
        rdm(recording, CrossnobisDistance(-np.eye(UNITS)))
    with pytest.raises(InvalidArgument, match="not symmetric"):
        rdm(recording, MahalanobisDistance(np.triu(np.ones((UNITS, UNITS)))))
    with pytest.raises(InvalidArgument, match="2 noise precisions for 4 folds"):
        rdm(recording, CrossnobisDistance([np.eye(UNITS)] * 2))
    with pytest.raises(InvalidArgument, match="fold of each presentation"):
        CrossnobisDistance().pairs(values, stimulus)
    with pytest.raises(InvalidArgument, match="cannot be negative"):
        rdm(recording, PoissonKLDistance())
    with pytest.raises(InvalidArgument, match="prior must be positive"):
        poisson_kl_distance(np.ones((2, 2)), prior_weight=0.0)


def test_patterns_without_a_direction_are_named(rng):
    patterns = rng.standard_normal((4, 6))
    patterns[2] = 0.1
    with pytest.raises(InvalidArgument, match="stimulus number 2 is the same in every unit"):
        correlation_distance(patterns)
    patterns[2] = 0
    with pytest.raises(InvalidArgument, match="stimulus number 2 is zero"):
        cosine_distance(patterns)
    movie = np.stack([rng.standard_normal((4, 6)), patterns])
    with pytest.raises(InvalidArgument, match="stimulus number 2 at time number 1"):
        cosine_distance(movie)
