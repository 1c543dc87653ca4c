"""Images made for units: against closed forms, and for real models."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.manifold import TSNE
from torch import nn

from bregma import TorchSystem
from bregma.errors import InvalidArgument, NotIdentifiable, UnknownName
from bregma.mechanism import FourierImages, PixelImages, facets, total_variation, visualize
from bregma.system import ImageInput


def linear(weights: torch.Tensor) -> nn.Module:
    net = nn.Sequential(nn.Flatten(), nn.Linear(weights[0].numel(), len(weights), bias=False))
    net[1].weight.data = weights.flatten(1)
    return net


@pytest.fixture
def weights() -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randn(3, 2, 6, 5)


@pytest.mark.parametrize("model", [PixelImages, FourierImages])
def test_a_linear_unit_ends_at_the_signs_of_its_weights(weights, model):
    made = visualize(
        linear(weights),
        "1/c1",
        shape=(2, 6, 5),
        n=2,
        model=model,
        steps=100,
        rate=0.1,
        jitter=0,
        seed=0,
    )
    best = weights[1].clamp_min(0).sum()  # of all images between 0 and 1
    assert (made.activations > 0.8 * best.item()).all()
    strong = weights[1].abs() > 0.3
    assert ((made.images > 0.5) == (weights[1] > 0))[:, strong].float().mean() > 0.9
    np.testing.assert_allclose(
        made.start_activations, (made.starts * weights[1]).sum((1, 2, 3)), rtol=1e-4, atol=1e-5
    )
    assert made.trace.shape == (100, 2)


def test_a_penalised_unit_ends_where_the_gradient_vanishes(weights):
    # a(x) - |x - 0.5|^2 / (2 s) has its maximum at 0.5 + s w.
    s = 0.1

    def penalty(images):
        return ((images - 0.5) ** 2).sum((1, 2, 3)) / (2 * s)

    made = visualize(
        linear(weights), "1/c0", shape=(2, 6, 5), model=PixelImages, penalty=penalty,
        steps=100, rate=0.02, jitter=0, seed=0,
    )  # fmt: skip
    torch.testing.assert_close(
        made.images[0], (0.5 + s * weights[0]).clamp(0, 1), atol=5e-3, rtol=0
    )


def test_both_models_start_where_they_should():
    start = torch.rand(2, 3, 7, 10) * 0.9 + 0.05
    for model in (PixelImages, FourierImages):
        torch.testing.assert_close(model(start, 0.0, 1.0)().detach(), start, atol=1e-5, rtol=0)
    wide = 4 * start - 2
    torch.testing.assert_close(FourierImages(wide, -2.0, 2.0)().detach(), wide, atol=1e-4, rtol=0)


def test_total_variation_by_hand():
    image = torch.tensor([[[[0.0, 1.0, 1.0], [2.0, 1.0, 0.0], [0.0, 0.0, 0.0]]]])
    # (down, right) at the four upper left pixels: (2, 1), (0, 0), (-2, -1), (-1, -1)
    assert total_variation(image).item() == pytest.approx(5 + 0 + 5 + 2)
    by_hand = 5**0.5 + 0 + 5**0.5 + 2**0.5
    assert total_variation(image, beta=1).item() == pytest.approx(by_hand, abs=1e-5)


def test_ascent_is_centred_first():
    torch.manual_seed(0)
    net = nn.Conv2d(1, 2, 3, padding=1)
    made = visualize(
        net, "./c0", starts=torch.full((1, 1, 21, 21), 0.5), model=PixelImages,
        centred=(0.05, 0.05), steps=1, jitter=0, seed=0,
    )  # fmt: skip
    # Adam's first step has the size of the rate wherever there is a gradient.
    moved = (made.images - 0.5).abs()[0, 0]
    assert moved[10, 10] == pytest.approx(0.05, rel=1e-3)
    assert moved[0, 0] < 0.01
    plain = visualize(
        net, "./c0", starts=torch.full((1, 1, 21, 21), 0.5), model=PixelImages, steps=1, seed=0
    )
    assert (plain.images - 0.5).abs().min() > 0.04


def test_units_of_all_kinds_and_nothing_left_behind():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Dropout())
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    for unit in ("2/c1", "1/c1/y0/x2", "0.input/c0", "3/c1"):
        made = visualize(net, unit, shape=(1, 8, 8), steps=10, jitter=0, seed=0)
        assert made.activations > made.start_activations
    assert net.training
    assert all(p.grad is None for p in net.parameters())
    assert not net[2]._forward_hooks
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, before[name])
    again = visualize(net, unit, shape=(1, 8, 8), steps=10, jitter=0, seed=0)
    assert torch.equal(again.images, made.images)
    other = visualize(net, unit, shape=(1, 8, 8), steps=10, jitter=0, seed=1)
    assert not torch.equal(other.images, made.images)


def test_a_real_model_with_its_own_preprocessing(timm):
    model = timm.create_model("resnet10t", pretrained=False, num_classes=5)
    given = ImageInput(size=(32, 32), mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))
    system = TorchSystem(model, "fc", preprocess=given)
    images = np.random.default_rng(0).integers(0, 256, (2, 40, 40, 3), dtype=np.uint8)
    starts = torch.from_numpy(images / 255).permute(0, 3, 1, 2)
    made = visualize(system, "fc/c2", starts=starts, steps=3, rate=0.01, seed=0)
    there = system.record(images).values[:, 2]
    np.testing.assert_allclose(made.start_activations, there, rtol=0.02, atol=0.02)
    assert (made.activations > made.start_activations).all()
    assert len(made.plot().data) == 4
    grey = TorchSystem(nn.Conv2d(1, 2, 3), preprocess=ImageInput(size=(9, 9), grey=True))
    made = visualize(grey, "./c1", shape=(3, 12, 12), steps=3, jitter=0, seed=0)
    assert made.activations > made.start_activations
    odd = TorchSystem(model, "fc", preprocess=lambda s: torch.zeros(len(s), 3, 32, 32))
    with pytest.raises(InvalidArgument, match="give prepare="):
        visualize(odd, "fc/c2", shape=(3, 32, 32), seed=0)


@pytest.mark.parametrize("embedding", [None, TSNE(random_state=0, perplexity=10)])
def test_planted_facets_are_found(embedding):
    rng = np.random.default_rng(0)
    truth = np.arange(90) % 3
    codes = rng.standard_normal((90, 20)) + 12 * np.eye(3, 20)[truth]
    found = facets(codes, k=(2, 3, 4, 5), embedding=embedding, seed=0)
    assert len(found) == 3
    assert len({(t, label) for t, label in zip(truth, found.labels, strict=True)}) == 3
    images = torch.as_tensor(truth).float()[:, None, None, None].expand(90, 1, 2, 2)
    means = found.means(images, n=5)
    assert sorted(means[:, 0, 0, 0].tolist()) == [0, 1, 2]
    if embedding is None:
        nearest = found.order[0][0]
        mine = codes[found.labels == 0]
        far = np.linalg.norm(codes - mine.mean(0), axis=1)
        assert far[nearest] == pytest.approx(far[found.labels == 0].min())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda_agrees_with_the_cpu(weights):
    net = linear(weights)
    here = visualize(net, "1/c1", shape=(2, 6, 5), steps=20, seed=0)
    there = visualize(net.cuda(), "1/c1", shape=(2, 6, 5), steps=20, seed=0)
    torch.testing.assert_close(here.images, there.images, atol=1e-3, rtol=0)


def test_what_is_wrong_is_said(weights):
    net = linear(weights)
    shape = (2, 6, 5)
    for wrong in ({"steps": 0}, {"jitter": -1}, {"rate": 0.0}, {"limits": (1.0, 0.0)}):
        with pytest.raises(InvalidArgument, match="must be 1 or more"):
            visualize(net, "1/c0", shape=shape, seed=0, **wrong)
    with pytest.raises(InvalidArgument, match="give starts="):
        visualize(net, "1/c0", seed=0)
    with pytest.raises(InvalidArgument, match="leave the limits"):
        visualize(net, "1/c0", starts=2 * torch.ones(1, *shape), seed=0)
    with pytest.raises(InvalidArgument, match="finite images"):
        visualize(net, "1/c0", starts=torch.full((1, *shape), torch.nan), seed=0)
    with pytest.raises(InvalidArgument, match="ascending shares"):
        visualize(net, "1/c0", shape=shape, centred=(0.5, 0.2), seed=0)
    with pytest.raises(UnknownName, match="1/c2"):
        visualize(net, "1/c7", shape=shape, seed=0)
    with pytest.raises(UnknownName, match="site 'fc'"):
        visualize(net, "fc/c7", shape=shape, seed=0)
    silent = nn.Sequential(*net, nn.Threshold(1e9, 0.0))
    for penalty in (None, total_variation):  # which has a gradient where the unit has none
        with pytest.raises(NotIdentifiable, match="no gradient at the starts"):
            visualize(silent, "2/c0", shape=shape, penalty=penalty, seed=0)
    with pytest.raises(NotIdentifiable, match="too few"):
        facets(np.zeros((5, 2)), seed=0)
    with pytest.raises(InvalidArgument, match="finite"):
        facets(np.full((20, 2), np.nan), seed=0)
    with pytest.raises(InvalidArgument, match="20 labels"):
        facets(np.eye(20), k=2, seed=0).means(torch.zeros(3, 1, 2, 2))
