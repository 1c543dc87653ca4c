"""Null systems: the same architecture with nothing learned in it, and the original untouched."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from example_networks import assert_as_before, snapshot
from torch import nn

from bregma.errors import CannotPerturb, InvalidArgument
from bregma.recording import Recording
from bregma.system import Ablate, RecordedSystem, TorchSystem, load, shuffled, untrained


class Learned(nn.Module):
    """Parameters that no layer knows how to draw anew."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.linspace(-3, 5, 4000))
        self.scale = nn.Parameter(torch.full((7,), 0.25))
        self.single = nn.Parameter(torch.tensor(2.0))
        self.linear = nn.Linear(4, 4)
        self.register_buffer("mask", torch.arange(4.0))
        self.count = nn.Parameter(torch.arange(3), requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x)


def trained(net: nn.Module) -> nn.Module:
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(100)
    return net


@pytest.fixture
def poisoned():
    """Global generators must neither be listened to nor moved."""
    torch.manual_seed(11)
    np.random.seed(11)  # noqa: NPY002
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    yield
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()  # noqa: NPY002


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(
        torch.equal(x, y)
        for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    )


def test_untrained_twins_know_nothing(net, poisoned):
    trained(net)
    before = snapshot(net)
    one, two = untrained(net, seeds=[0, 1])
    assert_as_before(net, before)
    assert not same(one, two)
    assert one.fc.weight.abs().max() <= 1 / np.sqrt(6)  # PyTorch's own range for a linear layer
    assert torch.equal(one.block.bn.weight, torch.ones(6))
    assert torch.equal(one.block.bn.running_mean, torch.zeros(6))
    assert torch.equal(one.block.bn.running_var, torch.ones(6))
    assert type(one) is type(net)
    assert one.training == net.training


def test_twins_follow_the_seed_only(net):
    torch.manual_seed(1)
    [one] = untrained(net, seeds=5)
    torch.manual_seed(2)
    [two] = untrained(trained(net), seeds=[5])
    assert same(one, two)
    for what in ("weights", "parameters"):
        assert same(shuffled(net, seeds=5, what=what)[0], shuffled(net, seeds=5, what=what)[0])


def test_what_no_layer_draws_is_drawn_with_its_mean_and_spread(poisoned):
    with torch.random.fork_rng(devices=[]):
        net = Learned()
    [twin] = untrained(TorchSystem(net, "."), seeds=0)
    assert "3 tensors drawn from a normal distribution" in twin.name
    drawn = twin.module
    assert not torch.equal(drawn.token, net.token)
    assert drawn.token.mean().item() == pytest.approx(1, abs=0.15)
    assert drawn.token.std().item() == pytest.approx(net.token.std().item(), rel=0.05)
    assert torch.equal(drawn.scale, net.scale)
    assert drawn.single == net.single
    assert torch.equal(drawn.mask, net.mask)
    assert torch.equal(drawn.count, net.count)


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.utils.parametrizations.weight_norm(nn.Linear(30, 20)),
        lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(30, 20)),
        lambda: nn.MultiheadAttention(8, 2),
        lambda: nn.TransformerEncoderLayer(8, 2, 16),
        lambda: nn.GRU(3, 4),
        lambda: nn.Embedding(10, 4),
    ],
)
def test_no_trained_tensor_survives(make):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = make()
    with torch.no_grad():
        for parameter in net.parameters():  # learned: far from any initialisation
            parameter.copy_(torch.randn(parameter.shape) + 50)
    [twin] = untrained(net, seeds=0)
    for name, parameter in twin.named_parameters():
        assert not torch.equal(parameter, dict(net.named_parameters())[name]), name


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_networks_that_cannot_be_copied():
    net = nn.utils.weight_norm(nn.Linear(3, 2))
    with pytest.raises(CannotPerturb, match="parametrizations"):
        untrained(net, seeds=0)
    net(torch.zeros(1, 3)).sum()
    with torch.no_grad():
        net(torch.zeros(1, 3))  # its weight is now a plain tensor, and is not drawn by its layer
        net.weight_v.add_(50)
    [twin] = untrained(net, seeds=0)
    assert not torch.equal(twin.weight_v, net.weight_v)


def test_shared_weights_stay_shared():
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    net[1].weight = net[0].weight
    for twin in (*untrained(net, seeds=0), *shuffled(net, seeds=0)):
        assert twin[1].weight is twin[0].weight
        assert twin[0].weight is not net[0].weight


@pytest.mark.parametrize("what", ["weights", "parameters"])
def test_shuffled_twins_have_the_same_numbers_at_other_places(net, what, poisoned):
    with torch.no_grad():
        net.fc.bias.copy_(torch.arange(4.0))
        net.stem.bias.copy_(torch.arange(6.0))
        net.block.conv1.bias.copy_(torch.arange(6.0))
    before = snapshot(net)
    [twin] = shuffled(net, seeds=3, what=what)
    assert_as_before(net, before)
    moved = []
    for (name, old), new in zip(net.named_parameters(), twin.parameters(), strict=True):
        assert torch.equal(old.flatten().sort().values, new.flatten().sort().values)
        if not torch.equal(old, new):
            moved.append(name)
    weights = [name for name, p in net.named_parameters() if p.ndim > 1]
    assert set(moved) >= set(weights)
    assert (set(moved) == set(weights)) == (what == "weights")
    assert torch.equal(twin.block.bn.running_mean, net.block.bn.running_mean)


def test_twins_of_systems_are_systems(net, images):
    system = TorchSystem(net, ["stem", "fc"], name="net").perturb(Ablate("fc", {"channel": 0}))
    twins = untrained(system, seeds=range(2))
    assert [twin.name for twin in twins] == [
        "net with Ablate(fc) (untrained, seed 0)",
        "net with Ablate(fc) (untrained, seed 1)",
    ]
    for twin in twins:
        recording = twin.record(images)
        assert (
            recording.coordinate("unit").tolist()
            == system.record(images).coordinate("unit").tolist()
        )
        assert (recording.select(unit="fc/c0").values == 0).all()
        assert (recording.values != system.record(images).values).any()
    assert shuffled(system, seeds=0)[0].name.endswith("(shuffled weights, seed 0)")


def test_wrong_arguments(net):
    with pytest.raises(InvalidArgument, match="seeds= is empty"):
        untrained(net, seeds=[])
    with pytest.raises(InvalidArgument, match="what='biases'"):
        shuffled(net, seeds=0, what="biases")
    with pytest.raises(CannotPerturb, match="'v1' has no weights"):
        untrained(load("v1"), seeds=0)
    with pytest.raises(CannotPerturb, match="Identity"):
        shuffled(nn.Identity(), seeds=0)
    brain = RecordedSystem(Recording.from_array(np.eye(3)))
    with pytest.raises(CannotPerturb, match=r"bregma\.evidence"):
        untrained(brain, seeds=0)
