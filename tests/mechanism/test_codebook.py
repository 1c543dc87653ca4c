"""Codebooks against brute force, and what their derivatives reach."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans

from bregma.errors import InvalidArgument
from bregma.mechanism import Codebook, Learner, code_usage, fit_dictionary


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("k", [1, 3])
def test_the_codes_of_the_largest_cosine(k):
    layer, x = Codebook(5, 12, k, seed=0), normal(4, 6, 5)
    codes = layer.codes.detach().numpy()
    output = layer(x).detach().numpy()
    for sample, index, given in zip(
        x.reshape(-1, 5).numpy(), layer.choose(x).reshape(-1, k), output.reshape(-1, 5), strict=True
    ):
        cosine = codes @ sample / np.linalg.norm(codes, axis=1) / np.linalg.norm(sample)
        best = np.argsort(-cosine)[:k]
        assert index.tolist() == best.tolist()
        np.testing.assert_allclose(given, codes[best].mean(0), atol=1e-6)
    assert layer.error.item() == pytest.approx(
        np.square(output - x.numpy()).sum(-1).mean(), rel=1e-5
    )


def test_derivatives_go_straight_through_and_to_the_chosen_codes():
    layer = Codebook(5, 12, 2, seed=0)
    x, weight = normal(3, 5).requires_grad_(), normal(3, 5, seed=1)
    (layer(x) * weight).sum().backward()
    torch.testing.assert_close(x.grad, weight)
    expected = torch.zeros(12, 5)
    for sample, chosen in zip(weight, layer.choose(x), strict=True):
        expected[chosen] += sample / 2
    torch.testing.assert_close(layer.codes.grad, expected)
    x.grad, layer.codes.grad = None, None
    layer(x)
    layer.error.backward()  # trains the codes, not what is in front of them
    assert not x.grad.any()
    assert layer.codes.grad.any()


def test_forced_codes_are_given_out_whatever_comes_in():
    layer, x = Codebook(5, 12, 2, seed=0), normal(3, 4, 5)
    layer.forced = torch.tensor([7, 2])
    torch.testing.assert_close(layer(x), layer.codes[[7, 2]].mean(0).expand(3, 4, 5))
    each = torch.randint(12, (3, 4, 2), generator=torch.Generator().manual_seed(0))
    layer.forced = each
    torch.testing.assert_close(layer(x), layer.codes[each].mean(-2))
    layer.forced = None
    assert not torch.allclose(layer(x), layer.codes[each].mean(-2))


def test_a_start_from_clusters_and_training_reach_the_means():
    centres = 4 * torch.nn.functional.normalize(normal(6, 5, seed=3), dim=1)
    labels = torch.randint(6, (3000,), generator=torch.Generator().manual_seed(1))
    x = centres[labels] + 0.1 * normal(3000, 5)
    layer = Codebook(5, 6, seed=0)
    layer.start_from(x, seed=0)
    kmeans = KMeans(6, n_init=5, random_state=0).fit(x.numpy())
    distance = torch.cdist(layer.codes.detach(), torch.from_numpy(kmeans.cluster_centers_))
    assert distance.min(0).values.max() < 0.05
    fresh = Codebook(5, 6, seed=1)
    fit = fit_dictionary(
        Learner(fresh, rate=0.03), x, epochs=6, batch_size=50, dead_after=300, seed=0
    )
    assert fit.losses["0"][-20:].mean() < 2 * kmeans.inertia_ / 3000
    active, perplexity = code_usage(fresh.choose(x), 6)
    assert active == 6
    assert perplexity > 5.5


def test_usage_by_hand():
    assert code_usage(torch.tensor([[0], [1], [2], [3]]), 9) == (4, 4.0)
    assert code_usage(torch.tensor([[5, 5]]), 9) == (1, 1.0)
    active, perplexity = code_usage(torch.tensor([[0], [0], [0], [1]]), 2)
    assert active == 2
    assert perplexity == pytest.approx(4 / 3**0.75)


def test_it_works_inside_a_network_and_is_seeded():
    net = torch.nn.Sequential(torch.nn.Linear(3, 5), Codebook(5, 7, seed=0), torch.nn.Linear(5, 2))
    net(normal(4, 3)).sum().backward()
    assert net[0].weight.grad.any()
    assert torch.equal(Codebook(5, 7, seed=0).codes, net[1].codes)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Codebook(5, 3, 4, seed=0),
        lambda: Codebook(0, 3, seed=0),
        lambda: Codebook(5, 3, seed=0)(torch.zeros(2, 4)),
        lambda: Codebook(5, 3, seed=0).start_from(torch.zeros(2, 5), seed=0),
        lambda: code_usage(torch.tensor([[9]]), 9),
    ],
)
def test_bad_input(make):
    with pytest.raises(InvalidArgument):
        make()
