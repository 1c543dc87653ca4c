"""Nested dictionaries, absorption and coherence by brute force and by hand."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import hadamard

from bregma.errors import InvalidArgument, NotIdentifiable
from bregma.mechanism import (
    Learner,
    MatchedFeatures,
    MatchingPursuitCode,
    NestedAutoencoder,
    ReLUCode,
    SparseAutoencoder,
    TopKCode,
    TopKStep,
    absorption,
    babel,
    fit_dictionary,
    match_features,
)
from bregma.mechanism.dictionaries import _coherence


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# How alike features are


@settings(max_examples=20)
@given(st.integers(0, 10**6), st.integers(2, 6), st.integers(1, 5))
def test_babel_over_all_sets(seed, n, size):
    rows = np.random.default_rng(seed).standard_normal((n, size))
    unit = rows / np.linalg.norm(rows, axis=1)[:, None]
    alike = np.abs(unit @ unit.T)
    found = babel(rows)
    assert len(found) == n - 1
    for m in range(1, n):
        most = max(
            alike[i, list(others)].sum()
            for i in range(n)
            for others in combinations([j for j in range(n) if j != i], m)
        )
        assert float(found[m - 1]) == pytest.approx(most)


def test_babel_of_known_dictionaries():
    """Orthogonal: 0. Equiangular (a simplex of d + 1): m / d. Spikes and Hadamard: m / sqrt(d)."""
    assert babel(torch.eye(5)).max() == 0
    simplex = np.eye(6) - 1 / 6
    np.testing.assert_allclose(babel(simplex), np.arange(1, 6) / 5, atol=1e-12)
    both = np.concatenate([np.eye(16), hadamard(16) / 4])
    np.testing.assert_allclose(babel(both)[:16], np.arange(1, 17) / 4, atol=1e-12)
    np.testing.assert_allclose(babel(both)[16:], 4, atol=1e-12)


def test_babel_in_slices_and_of_what_has_none(monkeypatch):
    rows = normal(30, 8)
    whole = babel(rows)
    monkeypatch.setattr(_coherence, "ELEMENTS", 90)
    torch.testing.assert_close(babel(rows), whole)
    for bad in (torch.eye(3)[:1], torch.zeros(3, 3), torch.full((3, 2), torch.nan), torch.ones(4)):
        with pytest.raises(InvalidArgument):
            babel(bad)


# Absorption


def test_absorption_by_hand():
    """Atoms: a parent, its two children, one with no relatives. Features in another order."""
    parent, match = (
        torch.tensor([-1, 0, 0, -1]),
        MatchedFeatures(np.array([2, 0, 1, 3]), np.ones(4)),
    )
    truth = torch.tensor([[1.0, 1, 0, 0], [1, 0, 1, 0], [1, 0, 1, 1], [1, 0, 0, 1], [1, 1, 0, 0]])
    code = torch.tensor([[1.0, 0, 1, 0], [0, 1, 0, 0], [0, 1, 1, 1], [0, 0, 0, 1], [9, 0, 0, 0]])
    # Four cases (the fourth sample has no child): the parent's feature is off in two of them.
    assert absorption(code, truth, parent, match) == 0.5
    without = MatchedFeatures(np.array([-1, 0, 1, 2]), np.ones(4))
    assert absorption(code, truth, parent, without) == 1
    same = match_features(torch.eye(4), torch.eye(4))
    assert absorption(truth, truth, parent, same) == 0
    merged = truth * torch.tensor([0.0, 1, 1, 1])  # children stand for their parent as well
    assert absorption(merged, truth, parent, same) == 1


@pytest.mark.usefixtures("unchecked_types")
def test_what_absorption_cannot_be_told_of():
    truth, same = torch.eye(3), match_features(torch.eye(3), torch.eye(3))
    with pytest.raises(NotIdentifiable, match="never on together"):
        absorption(truth, truth, torch.tensor([-1, 0, 0]), same)
    for code, atoms, parent in (
        (truth[:2], truth, torch.tensor([-1, 0, 0])),
        (truth, truth, torch.tensor([-1, 0])),
        (truth[:, :2], truth, torch.tensor([-1, 0, 0])),
        (truth, truth, torch.tensor([-1, 0, 7])),
    ):
        with pytest.raises(InvalidArgument):
            absorption(code, atoms, parent, same)


# Nested dictionaries


def test_the_loss_of_nested_dictionaries_is_the_mean_over_prefixes():
    sae = NestedAutoencoder(5, [2, 4, 9], ReLUCode(0.3), seed=0)
    with torch.no_grad():
        sae.bias.add_(0.2)
    x = normal(7, 5)
    z, d = sae.encode(x).detach().numpy(), sae.decoder.detach().numpy()
    errors = [np.square(x.numpy() - z[:, :m] @ d[:m] - 0.2).sum(1).mean() for m in (2, 4, 9)]
    found = sae.loss(x)
    assert found.total.item() == pytest.approx(np.mean(errors) + 0.3 * z.sum(1).mean(), rel=1e-5)
    np.testing.assert_array_equal(found.code.detach(), z)
    plain = SparseAutoencoder(5, 9, ReLUCode(0.3), seed=0)
    one = NestedAutoencoder(5, [9], ReLUCode(0.3), seed=0)
    assert one.loss(x).total.item() == pytest.approx(plain.loss(x).total.item(), rel=1e-6)


def test_the_first_features_learn_what_explains_most_alone():
    """Two axes matter much, six little: a prefix of two takes the first two."""
    x = normal(2000, 8).abs() * torch.tensor([3.0, 3, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3])
    sae = NestedAutoencoder(8, [2, 8], TopKCode(8), seed=0)
    fit = fit_dictionary(Learner(sae, rate=1e-2), x, epochs=8, batch_size=100, seed=0)
    alone = sae.encode(x)[:, :2] @ sae.decoder[:2] + sae.bias
    assert ((alone - x).square().sum() / (x - x.mean(0)).square().sum()).item() < 0.1
    assert fit.losses["0"][-1] < 0.1 * fit.losses["0"][0]


def test_the_fast_step_leaves_nested_dictionaries_to_autograd():
    sae = NestedAutoencoder(5, [2, 9], TopKCode(2), seed=0)
    with pytest.raises(InvalidArgument, match="loss of their own"):
        TopKStep(sae, torch.optim.Adam(sae.parameters()))


def test_bad_prefixes():
    for prefixes, code in (
        ([], TopKCode(1)),
        ([0, 4], TopKCode(1)),
        ([4, 4], TopKCode(1)),
        ([2, 4], MatchingPursuitCode(2)),
    ):
        with pytest.raises(InvalidArgument):
            NestedAutoencoder(5, prefixes, code, seed=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda_agrees_with_the_cpu():
    sae, x = NestedAutoencoder(16, [8, 32], TopKCode(3), seed=0), normal(50, 16)
    here, code, features = sae.loss(x).total.item(), sae.encode(x).detach(), sae.decoder.detach()
    torch.testing.assert_close(babel(features.cuda()).cpu(), babel(features))
    parent, match = torch.arange(32) // 2 - 1, match_features(features, features)
    share = absorption(code, code, parent, match)
    assert absorption(code.cuda(), code.cuda(), parent.cuda(), match) == pytest.approx(share)
    assert sae.cuda().loss(x.cuda()).total.item() == pytest.approx(here, rel=1e-4)
