"""Concept scores by hand, and hierarchies of planted families."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score

from bregma.datasets import concept_families
from bregma.errors import InvalidArgument
from bregma.mechanism import (
    ActivityStream,
    SemiNMF,
    concept_score,
    feature_hierarchy,
    match_features,
    shared_core,
)
from bregma.nn import CausalTransformer
from bregma.system import TorchSystem


def test_scores_as_by_loops():
    rng = np.random.default_rng(0)
    features = rng.gamma(1.0, size=(3, 5))
    with_it, without = rng.gamma(1.0, size=(2, 7, 4, 5))  # (text, token, unit)

    def mean_of_largest(texts, f):
        def cosine(a, b):
            return sum(x * y for x, y in zip(a, b, strict=True)) / math.hypot(*a) / math.hypot(*b)

        return sum(max(cosine(token, f) for token in text) for text in texts) / len(texts)

    found = concept_score(torch.from_numpy(features), torch.from_numpy(with_it), without)
    for score, f in zip(found, features, strict=True):
        want = math.log(mean_of_largest(with_it, f) / mean_of_largest(without, f))
        assert score == pytest.approx(want)
    alone = concept_score(features, with_it[:, 0], without[:, 0])
    np.testing.assert_allclose(alone, concept_score(features, with_it[:, :1], without[:, :1]))
    half = torch.eye(5).bfloat16()  # NumPy has no such numbers
    np.testing.assert_array_equal(match_features(half, np.eye(5)).index, range(5))


@settings(max_examples=20)
@given(st.integers(0, 10**6), st.floats(0.1, 10))
def test_scores_change_sign_with_the_samples_and_not_with_size(seed, size):
    rng = np.random.default_rng(seed)
    features, a, b = (rng.standard_normal((n, 6)) for n in (4, 9, 8))
    score = concept_score(features, a, b)
    np.testing.assert_allclose(score, -concept_score(features, b, a))
    np.testing.assert_allclose(score, concept_score(size * features, a, size * b))
    assert np.abs(score).max() <= np.log(100) + 1e-9


def test_planted_families_are_the_parents_of_their_concepts():
    world = concept_families(10, core=12, private=6, seed=0)
    tree = feature_hierarchy(world.patterns, [4, 2], seed=0)
    assert adjusted_rand_score(world.family, tree.parents()) == 1
    assert [level.shape for level in tree.levels] == [(16, 256), (4, 256), (2, 256)]
    assert all((amounts >= 0).all() for amounts in tree.amounts)
    # Parents of parents join whole families.
    pairs = set(zip(tree.parents(1), tree.parents(2), strict=True))
    assert len(pairs) == 4
    shuffled = np.random.default_rng(0).permuted(world.patterns, axis=1)
    none = feature_hierarchy(shuffled, [4], seed=0).parents()
    assert adjusted_rand_score(world.family, none) < 0.4
    again = feature_hierarchy(torch.from_numpy(world.patterns), [4, 2], seed=0)
    np.testing.assert_array_equal(again.levels[2], tree.levels[2])


def test_what_is_found_has_the_cores_of_its_families():
    world = concept_families(1500, seed=0)
    found = SemiNMF(16, kept=16 / 256, seed=0).fit(world.activity)
    partner = match_features(found.components_, world.patterns).index
    hits = 0
    for family in range(4):
        members = world.family == family
        truth = shared_core(world.patterns[members])
        assert truth.sum() == 8
        core = shared_core(found.components_[partner[members]], share=0.75)
        hits += (core & truth).sum()
        assert (core & ~truth).sum() <= 2
    assert hits >= 24  # of 32


def test_neurons_of_a_transformer():
    model = CausalTransformer(20, 6, 16, heads=2, layers=1)
    tokens = np.random.default_rng(0).integers(0, 20, (30, 6))
    stream = ActivityStream(TorchSystem(model, ["blocks.0.hidden"]), tokens)
    x = next(iter(stream(torch.Generator().manual_seed(0))[0]().values()))
    assert x.shape == (180, 64)
    factors = SemiNMF(8, kept=0.2, seed=0).fit(x)
    written = factors.components_ @ model.blocks[0].narrow.weight.detach().numpy().T
    assert written.shape == (8, 16)  # what steers the stream
    assert feature_hierarchy(factors.components_, [3], seed=0).parents().max() <= 2


def test_bad_input():
    good = np.ones((3, 4))
    for wrong in (
        (good[0], good, good),
        (good, np.ones((2, 5)), good),
        (good, good, np.full((2, 4), np.nan)),
        (good, np.ones((0, 4)), good),
    ):
        with pytest.raises(InvalidArgument):
            concept_score(*wrong)
    for sizes in ([], [3], [2, 2], [0]):
        with pytest.raises(InvalidArgument, match="fewer"):
            feature_hierarchy(good, sizes, seed=0)
    with pytest.raises(InvalidArgument, match="finite"):
        feature_hierarchy(np.full((3, 4), np.inf), [2], seed=0)
    with pytest.raises(InvalidArgument, match="level"):
        feature_hierarchy(np.eye(4), [2], seed=0).parents(2)
    with pytest.raises(InvalidArgument, match="share"):
        shared_core(good, share=0.5)
