"""Growing: the function before against the function after, and against loops."""

from __future__ import annotations

import copy
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from bregma.errors import InvalidArgument, MissingExtra, ModelUnavailable
from bregma.search import (
    deeper,
    replicate_inputs,
    replicate_outputs,
    replication,
    widenable,
    wider,
)
from bregma.search._grow import LAYERS
from bregma.system import load


def dense(widths, seed=0):
    torch.manual_seed(seed)
    parts = []
    for n, m in pairwise(widths):
        parts += [nn.Linear(n, m), nn.ReLU()]
    return nn.Sequential(*parts[:-1])


def convolutional(a=3, b=4, c=5, seed=0, pool=nn.MaxPool2d):
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Conv2d(2, a, 3, padding=1), nn.BatchNorm2d(a), nn.ReLU(),
        nn.Conv2d(a, b, 3, stride=2), nn.BatchNorm2d(b), nn.ReLU(), nn.Dropout2d(0.2), pool(2),
        nn.Flatten(), nn.Linear(b * 4, c), nn.ReLU(), nn.Linear(c, 3),
    )  # fmt: skip
    for part in net.modules():  # statistics and scales that are not those of the beginning
        if isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.weight)
            nn.init.normal_(part.bias)
            nn.init.normal_(part.running_mean)
            nn.init.uniform_(part.running_var, 0.5, 2)
    return net


def images(n=4, seed=0):
    return torch.randn(n, 2, 9, 9, generator=torch.Generator().manual_seed(seed))


def close(a, b, double=True):
    tolerance = 1e-12 if double else 1e-6
    scale = max(1.0, float(b.detach().abs().max()))
    assert float((a - b).detach().abs().max()) <= tolerance * scale


@given(
    st.lists(st.integers(1, 7), min_size=3, max_size=5),
    st.integers(1, 9), st.integers(0, 10**6), st.booleans(), st.data(),
)  # fmt: skip
@settings(max_examples=25)
def test_dense_networks_keep_their_function(widths, more, seed, double, data):
    net = dense(widths, seed).to(torch.float64 if double else torch.float32)
    x = torch.randn(6, widths[0], generator=torch.Generator().manual_seed(1)).to(net[0].weight)
    layer = data.draw(st.sampled_from(widenable(net)))
    close(wider(net, layer, net[layer].out_features + more, seed=seed)(x), net(x), double)
    close(deeper(net, layer)(x), net(x), double)


@given(
    st.integers(1, 5), st.integers(1, 5), st.integers(1, 5), st.integers(1, 6),
    st.sampled_from([1, 3, 5]), st.integers(0, 10**6), st.booleans(),
    st.sampled_from([nn.MaxPool2d, nn.AvgPool2d]), st.data(),
)  # fmt: skip
@settings(max_examples=25)
def test_convolutional_networks_keep_their_function(
    a, b, c, more, kernel, seed, double, pool, data
):
    net = convolutional(a, b, c, seed, pool).to(torch.float64 if double else torch.float32).eval()
    x = images().to(net[0].weight)
    layer = data.draw(st.sampled_from(widenable(net)))
    close(wider(net, layer, len(net[layer].weight) + more, seed=seed)(x), net(x), double)
    close(deeper(net, layer, kernel=kernel, examples=x)(x), net(x), double)


def test_a_hundred_chains_of_six_moves():
    for seed in range(100):
        rng = np.random.default_rng(seed)
        net = convolutional(seed=seed).double().eval() if seed % 2 else dense([5, 4, 3]).double()
        x = images().double() if seed % 2 else torch.ones(2, 5).double()
        before = net(x)
        for move in range(6):
            layer = int(rng.choice(widenable(net)))
            if rng.random() < 0.5:
                width = len(net[layer].weight) + int(rng.integers(1, 4))
                net = wider(net, layer, width, seed=move)
            else:
                net = deeper(net, layer, examples=x)
        close(net(x), before)


def test_copies_and_shares_written_out():
    net = dense([2, 3, 2]).double()
    units = replication(3, 6, seed=4).tolist()
    grown = wider(net, 0, 6, seed=4)
    counts = [units.count(i) for i in range(3)]
    net, grown = net.requires_grad_(False), grown.requires_grad_(False)
    for new, old in enumerate(units):
        assert (grown[0].weight[new] == net[0].weight[old]).all()
        assert grown[0].bias[new] == net[0].bias[old]
        for out in range(2):
            assert float(grown[2].weight[out, new]) == pytest.approx(
                float(net[2].weight[out, old]) / counts[old]
            )
    assert units[:3] == [0, 1, 2]


def test_batch_statistics_of_copies_are_those_of_the_original():
    # Widening keeps the function in training mode, too: copies have the same batch statistics.
    net = convolutional().double().train()
    for part in net:
        if isinstance(part, nn.Dropout2d):
            part.p = 0.0
    x = images().double()
    grown = wider(copy.deepcopy(net), 0, 8, seed=0)
    close(grown(x), net(x))


def test_measured_statistics_keep_training_mode_close():
    net, x = convolutional().double(), images(64).double()
    net[6].p = 0.0
    for part in net:
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = None
            part.reset_running_stats()
    net.train()(x)  # running statistics are those of x now
    blind, seen = deeper(net, 0), deeper(net, 0, examples=x)
    with torch.no_grad():
        errors = [float((g.train()(x) - net.train()(x)).abs().max()) for g in (blind, seen)]
    assert errors[1] < 0.1 * errors[0]


def test_noise_tells_copies_apart():
    net, x = dense([4, 3, 2]).double(), images()[0, 0, :, :4].double()
    for noise, same in [(0.0, True), (0.01, False)]:
        grown = wider(net, 0, 9, noise=noise, seed=5)
        grown(x).pow(2).sum().backward()
        copied, gradients = replication(3, 9, seed=5), grown[2].weight.grad
        assert gradients.any()
        assert torch.equal(gradients, gradients[:, copied]) is same
        assert float((grown(x) - net(x)).abs().max()) < (1e-12 if same else 0.1)
    noisy = deeper(net, 0, noise=0.001)
    assert 0 < float((noisy(x) - net(x)).abs().max()) < 0.05


def test_noise_on_a_single_weight_is_none():
    net, x = dense([1, 1, 2]), torch.ones(3, 1)
    close(wider(net, 0, 3, noise=0.1, seed=0)(x), net(x), double=False)
    close(deeper(net, 0, noise=0.1)(x), net(x), double=False)


class Residual(nn.Module):
    """Three layers write to one stream, three read it."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(4, 5), nn.Linear(5, 2)
        self.up = nn.ModuleList(nn.Linear(5, 6) for _ in range(2))
        self.down = nn.ModuleList(nn.Linear(6, 5) for _ in range(2))

    def forward(self, x):
        x = self.first(x)
        for up, down in zip(self.up, self.down, strict=True):
            x = x + down(torch.relu(up(x)))
        return self.last(x)


@given(st.integers(6, 12), st.integers(0, 10**6))
@settings(max_examples=20)
def test_a_residual_stream_is_widened_by_one_map(width, seed):
    torch.manual_seed(seed)
    net, x = Residual().double(), torch.randn(3, 4).double()
    before, units = net(x), replication(5, width, seed=seed)
    for writer in (net.first, *net.down):
        replicate_outputs(writer, units)
    for reader in (net.last, *net.up):
        replicate_inputs(reader, units)
    close(net(x), before)


@pytest.fixture(scope="module")
def resnet():
    try:
        return load("timm:resnet10t", untrained=True).module  # beside any torchvision
    except (MissingExtra, ModelUnavailable) as error:
        pytest.skip(str(error))


def test_blocks_of_timm_grow(resnet):
    net = copy.deepcopy(resnet).double().eval()
    x = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)).double()
    before, block = net(x), net.layer2[0]
    units = replication(128, 150, seed=0)
    replicate_outputs(block.conv1, units)
    replicate_outputs(block.bn1, units)
    replicate_inputs(block.conv2, units)
    assert block.conv2.weight.shape[1] == 150
    after = net(x)
    assert float(((after - before).abs().max() / before.abs().max()).detach()) < 1e-12


def test_feedforward_layers_of_a_transformer_grow(transformers):
    torch.manual_seed(0)
    settings = transformers.ViTConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=12,
        image_size=8, patch_size=4, hidden_dropout_prob=0.0,
    )  # fmt: skip
    net = transformers.ViTModel(settings).double().eval()
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)).double()
    before, units = net(x).last_hidden_state, replication(12, 20, seed=0)
    linear = [m for m in net.modules() if isinstance(m, nn.Linear)]
    (up,) = [m for m in linear if m.out_features == 12]
    (down,) = [m for m in linear if m.in_features == 12]
    replicate_outputs(up, units)
    replicate_inputs(down, units)
    close(net(x).last_hidden_state, before)


def test_the_old_network_stays_and_the_seed_decides():
    net = convolutional()
    before = copy.deepcopy(net.state_dict())
    first, again = (wider(net, 0, 9, noise=0.1, seed=3) for _ in range(2))
    deeper(net, 3, examples=images())
    for a, b in zip(before.values(), net.state_dict().values(), strict=True):
        assert (a == b).all()
    for a, b in zip(first.state_dict().values(), again.state_dict().values(), strict=True):
        assert (a == b).all()
    state = torch.get_rng_state()
    wider(net, 0, 9, noise=0.1, seed=4)
    deeper(net, 0, noise=0.1, seed=4)
    assert (torch.get_rng_state() == state).all()
    assert deeper(net.eval(), 0).training is False
    assert all(isinstance(net[i], LAYERS) for i in widenable(net))


def test_what_was_frozen_stays_frozen():
    net = dense([2, 3, 2])
    net[0].weight.requires_grad_(False)
    grown = wider(net, 0, 5, seed=0)
    assert not grown[0].weight.requires_grad
    assert grown[0].bias.requires_grad


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_networks_on_a_gpu_grow_there():
    net, x = convolutional().double().eval().cuda(), images().double().cuda()
    close(deeper(wider(net, 0, 9, noise=0.0, seed=0), 0, examples=x)(x).cpu(), net(x).cpu())


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: replication(3, 3, seed=0), "cannot be widened to 3"),
        (lambda: wider(dense([2, 3, 2]), 2, 5, seed=0), r"none of the layers .*\[0\]"),
        (lambda: wider(dense([2, 3, 2]), 1, 5, seed=0), "none of the layers"),
        (lambda: wider(dense([2, 3, 2]), 0, 2, seed=0), "cannot be widened to 2"),
        (lambda: deeper(dense([2, 3, 2]), 2), "none of the layers"),
        (lambda: deeper(convolutional(), 0, kernel=2), "not odd"),
        (
            lambda: deeper(nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 2)), 0),
            "only behind a ReLU",
        ),
        (
            lambda: wider(
                nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2), nn.Linear(2, 2)), 0, 3, seed=0
            ),
            "may mix units",
        ),
        (lambda: replicate_outputs(nn.LayerNorm(3), replication(3, 4, seed=0)), "Linear, Conv"),
        (
            lambda: replicate_outputs(nn.Conv2d(4, 4, 3, groups=2), replication(4, 5, seed=0)),
            "groups",
        ),
        (lambda: replicate_outputs(nn.Linear(2, 3), replication(4, 5, seed=0)), "fit the 3"),
        (lambda: replicate_inputs(nn.Linear(5, 3), replication(3, 5, seed=0)), "fit the 5"),
        (lambda: replicate_inputs(nn.Linear(2, 3), torch.tensor([1, 0])), "in order"),
        (
            lambda: deeper(
                nn.Sequential(
                    nn.Linear(2, 2), nn.BatchNorm1d(2, affine=False), nn.ReLU(), nn.Linear(2, 2)
                ),
                0,
            ),
            "undo itself",
        ),
        (
            lambda: deeper(
                nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.ReLU(), nn.Linear(2, 2)),
                0,
                examples=torch.ones(1, 2),
            ),
            "at least 2",
        ),
    ],
)  # fmt: skip
def test_what_cannot_grow_is_refused(make, match):
    with pytest.raises(InvalidArgument, match=match):
        make()
