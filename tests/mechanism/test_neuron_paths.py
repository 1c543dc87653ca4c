"""Neuron paths against networks written out by hand, brute force, and perturbed systems."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from bregma import TorchSystem
from bregma.datasets import neuron_chains
from bregma.errors import InvalidArgument, NotIdentifiable, UnknownName
from bregma.mechanism import NeuronPaths, joint_attribution, neuron_paths, scale_neurons
from bregma.nn import CausalTransformer
from bregma.run import spawn_torch
from bregma.system import Ablate

WIDTH, TOKENS, CLASSES = 6, 3, 4


class Mixer(nn.Module):
    """Two perceptrons on a stream of tokens that are mixed before the second and the answer."""

    def __init__(self, seed=0):
        super().__init__()
        self.up = nn.ModuleList(nn.Linear(5, WIDTH) for _ in range(2))
        self.act = nn.ModuleList(nn.GELU() for _ in range(2))
        self.down = nn.ModuleList(nn.Linear(WIDTH, 5) for _ in range(2))
        self.head = nn.Linear(5, CLASSES)
        draw = spawn_torch(seed, "mixer")
        with torch.no_grad():
            for p in self.parameters():
                p.normal_(std=0.4, generator=draw)
        self.double()

    def forward(self, x):
        for up, act, down in zip(self.up, self.act, self.down, strict=True):
            x = x + down(act(up(x)))
            x = x + x.mean(1, keepdim=True)
        return self.head(x[:, 0])


def by_hand(net, x, held):
    """The same, one input, with the hidden units of some layers replaced where they are given."""
    hidden = []
    for i in range(2):
        h = net.act[i](net.up[i](x))
        if held[i] is not None:
            token, value = held[i]
            h = value if token is None else torch.cat([value, h[1:]])  # of token 0
        hidden.append(h)
        x = x + net.down[i](h)
        x = x + x.mean(0, keepdim=True)
    return net.head(x[0]).softmax(-1), hidden


def slopes(net, x, y, w, masks, token, steps):
    """Mean gradients of one input, the neurons of the masks scaled, layer by layer."""
    total = [torch.zeros_like(part) for part in w]
    for k in range(1, steps + 1):
        leaves = [
            torch.where(mask, part * k / steps, part).requires_grad_()
            for part, mask in zip(w, masks, strict=True)
        ]
        held = [(token, leaf) for leaf in leaves] + [None] * (2 - len(w))
        p, _ = by_hand(net, x, held)
        found = torch.autograd.grad(p[y], leaves)
        total = [t + f / steps for t, f in zip(total, found, strict=True)]
    return total


def clean(net, x, token):
    with torch.no_grad():
        _, hidden = by_hand(net, x, [None, None])
    return [h if token is None else h[:1] for h in hidden]


def only(neuron):
    return torch.arange(WIDTH) == neuron


@pytest.fixture
def data():
    x = torch.randn(5, TOKENS, 5, generator=spawn_torch(0, "data"), dtype=torch.float64)
    return x, torch.tensor([0, 1, 2, 3, 1])


@pytest.mark.parametrize("token", [None, 0])
def test_joint_attribution_is_the_formula_written_out(data, token):
    (x, y), net = data, Mixer()
    neurons = np.array([[0, 1], [5, 2], [3, 3], [4, 0], [2, 5]])
    paths = NeuronPaths(("act.0", "act.1"), neurons, (WIDTH, WIDTH), token)
    found = joint_attribution(net, x, y, paths, steps=7, batch_size=2)
    for example, path in enumerate(neurons):
        w = clean(net, x[example], token)
        slope = slopes(net, x[example], y[example], w, [only(i) for i in path], token, 7)
        total = sum(part[:, i] for part, i in zip(w, path, strict=True))
        steep = sum(part[:, i] for part, i in zip(slope, path, strict=True))
        assert found[example] == pytest.approx(float((total * steep).sum()), rel=1e-9)


@pytest.mark.parametrize("token", [None, 0])
def test_the_search_is_the_one_written_out(data, token):
    (x, y), net = data, Mixer()
    every = torch.ones(WIDTH, dtype=torch.bool)
    found = neuron_paths(net, x, y, "act.*", token=token, steps=5, batch_size=2)
    other = neuron_paths(net, x, y, "act.*", token=None if token == 0 else 0, steps=5)
    assert (found.neurons != other.neurons).any()  # which token is meant decides
    alone = neuron_paths(net, x, y, "act.*", token=token, steps=5, by="alone")
    active = neuron_paths(net, x, y, "act.*", token=token, by="activity")
    assert found.layers == ("act.0", "act.1")
    assert found.widths == (WIDTH, WIDTH)
    for example in range(len(x)):
        w = clean(net, x[example], token)
        [first] = slopes(net, x[example], y[example], w[:1], [every], token, 5)
        i = int((w[0] * first).sum(0).argmax())
        earlier, later = slopes(net, x[example], y[example], w, [only(i), every], token, 5)
        joint = (w[0][:, [i]] + w[1]) * (earlier[:, [i]] + later)
        assert found.neurons[example].tolist() == [i, int(joint.sum(0).argmax())]
        assert alone.neurons[example][0] == i
        assert active.neurons[example].tolist() == [int(part.sum(0).argmax()) for part in w]


def test_integrated_gradients_of_one_neuron_are_what_its_silencing_takes_away(data):
    (x, y), net = data, Mixer()
    paths = neuron_paths(net, x, y, ["act.1"], token=0)
    score = joint_attribution(net, x, y, paths, steps=4000, batch_size=1)
    rows = range(len(y))
    lost = (scale_neurons(net, x, paths, 1) - scale_neurons(net, x, paths, 0))[rows, y]
    np.testing.assert_allclose(score, lost, atol=1e-3)
    assert np.abs(lost).max() > 0.01


def test_of_all_paths_the_best_one_is_found_where_neurons_are_wired():
    world = neuron_chains(6, classes=2, layers=3, width=5, seed=2)
    x, y = world.task.inputs, world.task.targets
    every = np.array(list(product(range(5), repeat=3)))
    paths = NeuronPaths(world.layers, np.tile(every, (6, 1)), (5, 5, 5), None)
    many = x.repeat_interleave(len(every), 0), y.repeat_interleave(len(every))
    scores = joint_attribution(world.module, *many, paths, batch_size=125).reshape(6, -1)
    best = every[scores.argmax(1)]
    found = neuron_paths(world.module, x, y, world.layers)
    # The last neuron alone has a slope, as those before act through it: it is what is told.
    np.testing.assert_array_equal(best[:, -1], found.neurons[:, -1])
    np.testing.assert_array_equal(found.neurons, world.neurons[y])


def test_loud_neurons_that_do_nothing_mislead_the_joint_score_in_a_stream():
    world = neuron_chains(32, stream=True, seed=0)
    x, y, truth = world.task.inputs, world.task.targets, world.neurons[world.task.targets]
    joint, alone = (
        neuron_paths(world.module, x, y, world.layers, by=b) for b in ("joint", "alone")
    )
    np.testing.assert_array_equal(alone.neurons, truth)
    assert (joint.neurons == truth).mean() < 0.9
    scores = [joint_attribution(world.module, x, y, paths) for paths in (joint, alone)]
    assert scores[0].mean() > scores[1].mean()  # and it is no failure of the search


def test_scaling_is_what_a_perturbed_system_does():
    world = neuron_chains(4, seed=1)
    paths = neuron_paths(world.module, world.task.inputs, world.task.targets, world.layers)
    p = scale_neurons(world.module, world.task.inputs, paths, 0)
    system = TorchSystem(world.module, ["8"])
    for row in range(4):
        units = paths.units(row)
        cut = [Ablate(site, units=[u]) for site, u in zip(world.layers, units, strict=True)]
        scores = system.perturb(*cut).record(world.task.inputs[row : row + 1].numpy()).values
        np.testing.assert_allclose(p[row], torch.tensor(np.asarray(scores)[0]).softmax(-1))
    same = scale_neurons(world.module, world.task.inputs, paths, 1)
    with torch.no_grad():
        plain = world.module(world.task.inputs).softmax(-1)
    np.testing.assert_array_equal(same, plain.double())


def test_a_vision_transformer_of_timm(timm):
    torch.manual_seed(0)
    net = timm.models.VisionTransformer(
        img_size=8, patch_size=4, in_chans=1, num_classes=3, embed_dim=8, depth=3, num_heads=2
    )
    for p in net.parameters():
        p.requires_grad_(False)  # frozen, as pretrained ones often are
    images, y = torch.randn(4, 1, 8, 8), torch.tensor([0, 1, 2, 0])
    paths = neuron_paths(net, images, y, "blocks.*.mlp.act", token=0, steps=4)
    assert paths.neurons.shape == (4, 3)
    assert paths.units(0)[1] == f"blocks.1.mlp.act/t0/c{paths.neurons[0, 1]}"
    system = TorchSystem(net, ["head"])
    cut = [Ablate(s, units=[u]) for s, u in zip(paths.layers, paths.units(2), strict=True)]
    scores = np.asarray(system.perturb(*cut).record(images[2:3].numpy()).values)
    p = scale_neurons(net, images, paths, 0)
    np.testing.assert_allclose(p[2], torch.tensor(scores[0]).softmax(-1), rtol=1e-5)


def test_language_models_are_asked_at_the_last_token(transformers):
    config = transformers.GPT2Config(
        n_layer=2, n_head=2, n_embd=8, vocab_size=11, n_positions=6, bos_token_id=0, eos_token_id=0
    )
    net = transformers.GPT2LMHeadModel(config).train()
    tokens = torch.arange(6).repeat(2, 1)
    paths = neuron_paths(net, tokens, [3, 4], "transformer.h.*.mlp.act", token=-1, steps=3)
    assert net.training
    p = scale_neurons(net, tokens, paths, 1)
    with torch.no_grad():
        plain = net.eval()(tokens).logits[:, -1].softmax(-1)
    np.testing.assert_allclose(p, plain, rtol=1e-5)
    own = CausalTransformer(11, 6, 8, heads=2, layers=2)
    assert len(neuron_paths(own, tokens, [3, 4], "blocks.*.hidden", token=-1, steps=3)) == 2


def test_maps_of_convolutions_are_channels_at_all_places():
    torch.manual_seed(0)
    first, second = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 5, 3, padding=1)
    end = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3)
    net = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), *end)
    x, y = torch.rand(3, 1, 6, 6), torch.tensor([0, 1, 2])
    paths = neuron_paths(net, x, y, ["1", "3"], steps=4)
    assert paths.widths == (4, 5)
    p = scale_neurons(net, x, paths, 0)
    h = net[1](net[0](x))
    for row, channel in enumerate(paths.neurons[:, 0]):
        h[row, channel] = 0
    h = net[3](net[2](h))
    for row, channel in enumerate(paths.neurons[:, 1]):
        h[row, channel] = 0
    np.testing.assert_allclose(p, net[4:](h).softmax(-1).detach(), rtol=1e-5)


def test_the_network_is_left_as_it_was(data):
    (x, y), net = data, Mixer()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    neuron_paths(net, x, y, "act.*", steps=2)
    assert all(p.grad is None for p in net.parameters())
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())


def test_batches_change_nothing(data):
    (x, y), net = data, Mixer()
    one, all_of_them = (neuron_paths(net, x, y, "act.*", batch_size=n) for n in (1, 5))
    np.testing.assert_array_equal(one.neurons, all_of_them.neurons)
    a, b = (joint_attribution(net, x, y, one, batch_size=n) for n in (2, 5))
    np.testing.assert_allclose(a, b, rtol=1e-12)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_cuda_gives_what_the_cpu_gives(data):
    (x, y), net = data, Mixer()
    here = neuron_paths(net, x, y, "act.*")
    score, p = joint_attribution(net, x, y, here), scale_neurons(net, x, here, 2)
    net.cuda()
    np.testing.assert_array_equal(neuron_paths(net, x, y, "act.*").neurons, here.neurons)
    np.testing.assert_allclose(joint_attribution(net, x, y, here), score, rtol=1e-9)
    np.testing.assert_allclose(scale_neurons(net, x, here, 2), p, rtol=1e-9)


@pytest.mark.parametrize(
    ("changed", "error", "says"),
    [
        ({"layers": "actt.*"}, UnknownName, "site"),
        ({"layers": ["act.0", "nothing"]}, UnknownName, "nothing"),
        ({"by": "magic"}, UnknownName, "rule"),
        ({"steps": 0}, InvalidArgument, "steps"),
        ({"batch_size": 0}, InvalidArgument, "batch_size"),
        ({"token": 3}, InvalidArgument, "no neurons of token 3"),
        ({"answers": [0, 1]}, InvalidArgument, "as many"),
        ({"answers": [0, 1, 2, 3, 4]}, InvalidArgument, "from 0 to 3"),
        ({"answers": [0, 1, 2, 3, -1]}, InvalidArgument, "from 0 to 3"),
        ({"answers": [0.0] * 5}, InvalidArgument, "float"),
        ({"inputs": torch.full((5, TOKENS, 5), torch.nan).double()}, InvalidArgument, "not finite"),
        ({"inputs": torch.zeros(0, TOKENS, 5), "answers": []}, InvalidArgument, "1 or more"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(data, changed, error, says):
    x, y = data
    given = {"inputs": x, "answers": y, "layers": "act.*"} | changed
    with pytest.raises(error, match=says):
        neuron_paths(Mixer(), **given)


def test_sites_that_do_not_fit_are_refused(data):
    x, _ = data
    twice = nn.ReLU()
    net = nn.Sequential(nn.Linear(5, 4), twice, nn.Linear(4, 4), twice, nn.Linear(4, 2)).double()
    with pytest.raises(InvalidArgument, match="must run once"):
        neuron_paths(net, x[:, 0], [0] * 5, ["1"])
    maps = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Conv2d(2, 2, 3), nn.Flatten(), nn.Linear(8, 2))
    with pytest.raises(InvalidArgument, match="layers of one size"):
        neuron_paths(maps, torch.rand(1, 1, 6, 6), [0], ["0", "1"])
    aside = Mixer()
    aside.head = nn.Linear(5, CLASSES, bias=False).double()
    with torch.no_grad():
        p = neuron_paths(aside, x, [0] * 5, ["act.1"])
    assert len(p) == 5  # a caller without gradients gets them all the same
    idle = Idle()
    with pytest.raises(InvalidArgument, match="does not act on the answer"):
        neuron_paths(idle, x[:, 0].float(), [0] * 5, ["idle"])


class Idle(nn.Module):
    def __init__(self):
        super().__init__()
        self.idle, self.head = nn.Linear(5, 3), nn.Linear(5, 2)

    def forward(self, x):
        self.idle(x)
        return self.head(x)


def paths_of(rows, width=9):
    neurons = np.array(rows)
    n = neurons.shape[1]
    return NeuronPaths(tuple(map(str, range(n))), neurons, (width,) * n, None)


@given(st.lists(st.lists(st.integers(0, 8), min_size=3, max_size=3), min_size=1, max_size=6))
@settings(max_examples=20)
def test_what_paths_share(rows):
    paths = paths_of(rows)
    shared = paths.shared()
    for i, one in enumerate(rows):
        for j, other in enumerate(rows):
            assert shared[i, j] == pytest.approx(np.equal(one, other).mean())
    table = paths.frequency(np.arange(len(rows)) % 2)
    np.testing.assert_allclose(table.groupby(["label", "layer"])["share"].sum(), 1)


def test_how_often_neurons_are_on_the_paths_of_a_class():
    table = paths_of([[3, 1], [3, 2], [4, 2], [5, 5]]).frequency(["a", "a", "a", "b"])
    assert table.values.tolist() == [
        ["a", "0", 3, pytest.approx(2 / 3)],
        ["a", "0", 4, pytest.approx(1 / 3)],
        ["a", "1", 2, pytest.approx(2 / 3)],
        ["a", "1", 1, pytest.approx(1 / 3)],
        ["b", "0", 5, 1.0],
        ["b", "1", 5, 1.0],
    ]


def test_classes_that_share_paths_are_told_from_those_that_do_not():
    labels = np.repeat([0, 1, 2], 4)
    rows = np.stack([labels, labels + 3], 1)
    found = paths_of(rows).evidence(labels, n=199, seed=0)
    assert found.score == 1  # all within, none between
    assert found.p_value == 1 / 200
    rng = np.random.default_rng(0)
    ps = [
        paths_of(rng.integers(3, size=(12, 2))).evidence(labels, n=39, seed=seed).p_value
        for seed in range(40)
    ]
    assert 0.3 < np.mean(ps) < 0.7
    assert np.mean(np.array(ps) <= 0.1) < 0.3
    again = [paths_of(rows).evidence(labels, n=19, seed=1).null for _ in range(2)]
    assert again[0] == again[1]


def test_the_score_of_classes_is_counted_by_hand():
    found = paths_of([[1, 1], [1, 2], [3, 2]]).evidence([0, 0, 1], n=9, seed=0)
    assert found.score == pytest.approx(1 / 2 - (0 + 1 / 2) / 2)


def test_the_interval_covers_what_paths_of_inputs_that_differ_share():
    """Half of the inputs mostly take the neuron of their class, the others hardly ever do."""
    labels, truth, covered = np.repeat(np.arange(4), 6), 0.5**2, []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        typical = rng.random((24, 5)) < rng.choice([0.1, 0.9], size=(24, 1))
        rows = np.where(typical, labels[:, None], rng.integers(4, 10**6, size=(24, 5)))
        found = paths_of(rows, width=10**6).evidence(labels, n=1, seed=seed)
        assert found.score in found.interval
        covered.append(truth in found.interval)
    assert np.mean(covered) >= 0.85


def test_how_many_exchanges_of_classes_there_are():
    found = paths_of([[1, 1], [1, 2], [3, 2], [3, 3]]).evidence([0, 0, 1, 1], n=99, seed=0)
    assert found.null.n_arrangements == 3
    assert found.p_value == pytest.approx(1 / 3)


@pytest.mark.parametrize("labels", [[0, 0, 0], [0, 1, 2]])
def test_one_class_or_no_pairs_say_nothing(labels):
    with pytest.raises(NotIdentifiable, match="two classes"):
        paths_of([[1], [2], [3]]).evidence(labels, seed=0)


def test_paths_that_do_not_fit_are_refused():
    with pytest.raises(InvalidArgument, match="neurons of the shape"):
        NeuronPaths(("0",), np.zeros((3, 2), dtype=int), (4,), None)
    with pytest.raises(InvalidArgument, match="counted from 0"):
        paths_of([[9]])
    with pytest.raises(InvalidArgument, match="as many labels"):
        paths_of([[1], [2]]).frequency([0])
    with pytest.raises(InvalidArgument, match="n must be"):
        paths_of([[1], [2]]).evidence([0, 1], n=0, seed=0)
    paths = NeuronPaths(("act.0",), np.array([[1], [2]]), (WIDTH,), None)
    with pytest.raises(InvalidArgument, match="and 2"):
        scale_neurons(Mixer(), torch.zeros(1, TOKENS, 5).double(), paths, 0)
