"""Oja's subspace rule against principal components; projected gradients against what they keep."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import TruncatedSVD
from torch import nn

from bregma.errors import InvalidArgument
from bregma.learning import HebbianSubspace, Protected, observing, protect
from bregma.run import spawn_torch


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=spawn_torch(seed, "test"))


def cloud(n=300, powers=(9, 6, 4, 0.5, 0.3, 0.1), seed=0):
    turn = torch.linalg.qr(normal(len(powers), len(powers), seed=seed)).Q
    return normal(n, len(powers), seed=seed + 1) * torch.tensor(powers).sqrt() @ turn


def taught(space, x, times=100):
    for _ in range(times):
        space.learn(x)
    return space


def overlap(a, b):
    """Mean squared cosine of the principal angles."""
    qa, qb = (torch.linalg.qr(m.T.double()).Q for m in (a, b))
    return float((qa.T @ qb).square().sum() / len(a))


def test_the_rule_finds_the_principal_subspace():
    x = cloud()
    space = HebbianSubspace(6)
    space.grow(3, seed=0)
    start = overlap(space.rows, torch.eye(6)[:3])
    taught(space, x)
    best = TruncatedSVD(3, random_state=0).fit(x.numpy()).components_
    assert overlap(space.rows, torch.as_tensor(best)) > 0.999
    assert start < 0.9
    torch.testing.assert_close(space.rows @ space.rows.T, torch.eye(3), rtol=0, atol=1e-3)
    powers = torch.linalg.svdvals(x).square()
    assert space.explained(x) == pytest.approx(float(powers[:3].sum() / powers.sum()), abs=1e-3)


def test_one_step_is_the_equation():
    x = cloud(7)
    space = HebbianSubspace(6, lr=0.3, momentum=0.0, iterations=1)
    space.grow(2, seed=4)
    h = space.rows.clone()
    space.learn(x)
    change = torch.zeros_like(h)
    power = sum(float(v @ v) for v in x) / 7
    for v in x:
        y = h @ v
        change += torch.outer(y, v - h.T @ y) / 7
    torch.testing.assert_close(space.rows, h + 0.3 * change / power)


def test_new_rows_learn_what_old_ones_leave_and_old_ones_stay():
    x, later = cloud(), cloud(seed=5)
    space = taught_rows = HebbianSubspace(6)
    space.grow(2, seed=0)
    taught(space, x)
    old = space.rows.clone()
    space.grow(2, seed=1)
    torch.testing.assert_close(space.rows @ space.rows.T, torch.eye(4), rtol=0, atol=2e-3)
    taught(taught_rows, later)
    assert torch.equal(space.rows[:2], old)
    left = later - later @ old.T @ old
    best = TruncatedSVD(2, random_state=0).fit(left.numpy()).components_
    assert overlap(space.rows[2:], torch.as_tensor(best)) > 0.99
    assert space.remaining == 2


@settings(max_examples=20)
@given(seed=st.integers(0, 500), n=st.integers(1, 5))
def test_projection_is_orthogonal_and_can_be_repeated(seed, n):
    space = HebbianSubspace(6)
    space.grow(n, seed=seed)
    x = normal(9, 6, seed=seed)
    assert torch.equal(space.project(x), x)  # nothing is old yet
    space.grow(0, seed=seed)
    free = space.project(x)
    assert (free @ space.rows.T).abs().max() < 1e-5
    torch.testing.assert_close(space.project(free), free, rtol=0, atol=1e-5)


def test_rows_needed_are_counted_with_a_decomposition():
    x = cloud()
    powers = np.cumsum(np.linalg.svd(x.numpy())[1] ** 2)
    space = HebbianSubspace(6)
    for share in (0.3, 0.6, 0.95, 1.0):
        expected = 1 + int((powers < (share - 1e-6) * powers[-1]).sum())
        assert space.rows_needed(x, share) == expected
    space.grow(6, seed=0)
    assert space.rows_needed(x, 1.0) == 0


def stepped(layer, x, seed=0, lr=0.5):
    layer.zero_grad()
    out = layer(x)
    (out * normal(*out.shape, seed=seed)).sum().backward()
    with torch.no_grad():
        for p in layer.parameters():
            p -= lr * p.grad


def flat(n, seed):
    return normal(n, 3, seed=seed) @ normal(3, 8, seed=9)


def even(n, seed):
    """Images of which all patches are of one kind."""
    return normal(n, 2, 1, 1, seed=seed).expand(n, 2, 4, 4)


def layers():
    yield nn.Linear(8, 5), flat
    yield nn.Linear(8, 5, bias=False), flat
    yield nn.Conv2d(2, 3, 2, stride=2), even


@pytest.mark.parametrize(("layer", "draw"), list(layers()), ids=["linear", "no bias", "conv"])
def test_answers_to_old_activity_stay_and_new_ones_are_learned(layer, draw):
    layer = Protected(layer)
    old = draw(200, 1)
    space = layer.subspace
    space.grow(3 if layer.layer.weight.ndim == 4 else 4, seed=0)  # with the constant of the bias
    with observing(layer), torch.no_grad():
        for _ in range(300):
            layer(old)
    assert space.explained(layer._sources(old)) == pytest.approx(1, abs=1e-6)
    space.grow(0, seed=0)
    with torch.no_grad():
        before, unseen = layer(old), normal(*old.shape, seed=3)
        other = layer(unseen)
        for step in range(20):
            with torch.enable_grad():
                stepped(layer, normal(*old.shape, seed=10 + step), seed=step, lr=0.02)
        moved = (layer(old) - before).norm() / before.norm()
    assert moved < 1e-5
    assert (layer(unseen) - other).norm() / other.norm() > 0.1


def test_in_double_precision_they_stay_to_rounding():
    layer = Protected(nn.Linear(8, 5)).double()
    old = normal(50, 3, seed=1).double() @ normal(3, 8, seed=9).double()
    source = layer._sources(old)
    layer.subspace.grow(4, seed=0)
    layer.subspace.rows = torch.linalg.svd(source, full_matrices=False).Vh[:4]
    layer.subspace.grow(0, seed=0)
    before = layer(old).detach()
    for step in range(20):
        stepped(layer, normal(50, 8, seed=step).double(), seed=step)
    torch.testing.assert_close(layer(old).detach(), before, rtol=0, atol=1e-10)


def test_forward_is_the_layer_and_the_gradient_is_the_projected_one():
    plain = nn.Linear(8, 5)
    layer = Protected(plain)
    layer.subspace.grow(3, seed=0)
    layer.subspace.grow(0, seed=0)
    x = normal(11, 8).requires_grad_()
    delta = normal(11, 5, seed=2)
    out = layer(x)
    torch.testing.assert_close(out, plain(x))
    (out * delta).sum().backward()
    source = torch.cat([x.detach(), torch.ones(11, 1)], 1)
    h = layer.subspace.rows
    expected = delta.T @ (source - source @ h.T @ h)
    torch.testing.assert_close(plain.weight.grad, expected[:, :8], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(plain.bias.grad, expected[:, 8], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(x.grad, delta @ plain.weight)  # what flows on is not projected


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(2, 3, 3, padding=1),
        nn.Conv2d(2, 3, (2, 3), stride=(2, 1), padding=(0, 2), dilation=(1, 2)),
    ],
)
def test_a_convolution_stays_a_convolution(conv):
    x = normal(2, 2, 6, 7)
    torch.testing.assert_close(Protected(conv)(x), conv(x), rtol=1e-4, atol=1e-5)


def test_a_whole_network_is_protected_once():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3))
    same = protect(protect(net))
    assert same is net
    assert [type(part).__name__ for part in net] == ["Protected", "ReLU", "Flatten", "Protected"]
    assert net(normal(5, 1, 4, 4)).shape == (5, 3)
    alone = protect(nn.Linear(2, 2))
    inside = alone.layer
    assert protect(alone) is alone
    assert alone.layer is inside


def test_a_spiking_network_is_protected():
    spikingjelly = pytest.importorskip("spikingjelly.activation_based")
    from spikingjelly.activation_based import functional, neuron

    del spikingjelly
    net = protect(nn.Sequential(nn.Linear(6, 4), neuron.LIFNode(step_mode="m"), nn.Linear(4, 2)))
    x = (normal(7, 3, 6) > 0).float()  # (time, batch, unit)
    net[0].subspace.grow(3, seed=0)
    with observing(net), torch.no_grad():
        for _ in range(200):
            net(x)
            functional.reset_net(net)
    net[0].subspace.grow(0, seed=0)
    net(x).sum().backward()
    h = net[0].subspace.rows
    gradient = torch.cat([net[0].layer.weight.grad, net[0].layer.bias.grad[:, None]], 1)
    assert (gradient @ h.T).abs().max() <= 0.05 * gradient.norm() + 1e-6


def test_the_same_seed_gives_the_same_rows():
    one, two, three = HebbianSubspace(6), HebbianSubspace(6), HebbianSubspace(6)
    for space, seed in ((one, 0), (two, 0), (three, 1)):
        torch.manual_seed(seed + 5)
        space.grow(2, seed=seed)
        space.learn(cloud())
    assert torch.equal(one.rows, two.rows)
    assert not torch.equal(one.rows, three.rows)


def test_bad_input():
    space = HebbianSubspace(4)
    with pytest.raises(InvalidArgument, match="5 rows do not fit: 0 of 4"):
        space.grow(5, seed=0)
    with pytest.raises(InvalidArgument, match="not one of 4 units"):
        space.learn(torch.ones(2, 3))
    with pytest.raises(InvalidArgument, match="not finite"):
        space.explained(torch.full((2, 4), torch.nan))
    with pytest.raises(InvalidArgument, match="not one of 4 units"):
        space.rows_needed(torch.ones(0, 4), 0.5)
    with pytest.raises(InvalidArgument, match="share"):
        space.rows_needed(torch.ones(2, 4), 1.5)
    with pytest.raises(InvalidArgument, match="momentum"):
        HebbianSubspace(4, momentum=1.0)
    with pytest.raises(InvalidArgument, match="groups"):
        Protected(nn.Conv2d(2, 2, 1, groups=2))
    with (
        pytest.raises(InvalidArgument, match=r"protect\(\)"),
        observing(nn.Linear(2, 2)),
    ):
        pass
    space.grow(2, seed=0)
    before = space.rows.clone()
    space.learn(torch.zeros(3, 4))  # silence teaches nothing
    assert torch.equal(space.rows, before)
    assert space.explained(torch.zeros(3, 4)) == 1.0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_the_same_on_a_gpu():
    here, there = Protected(nn.Linear(6, 3)), Protected(nn.Linear(6, 3)).cuda()
    there.load_state_dict(here.state_dict())
    for layer, x in ((here, cloud()), (there, cloud().cuda())):
        layer.subspace.grow(2, seed=0)
        with observing(layer), torch.no_grad():
            layer(x)
    torch.testing.assert_close(there.subspace.rows.cpu(), here.subspace.rows, rtol=1e-3, atol=1e-4)
