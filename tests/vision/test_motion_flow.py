"""The MT stage: graphs, plaids, gradients, and learning of flow."""

from __future__ import annotations

import math

import pytest
import torch

from bregma.datasets import moving_scenes
from bregma.errors import InvalidArgument, NotIdentifiable
from bregma.run import fit, minibatches
from bregma.vision import (
    ConvGRU,
    CosineAffinity,
    DualPathFlow,
    MotionEnergy,
    MotionFlow,
    MotionIntegration,
    NeighbourAffinity,
    RectifiedContrast,
    SecondOrderMotion,
    UniformAffinity,
    direction_index,
    direction_vector,
    endpoint_error,
    normalised_graph,
    pattern_index,
    sequence_loss,
)


@pytest.mark.parametrize("affinity", [CosineAffinity(), UniformAffinity(), NeighbourAffinity()])
def test_graphs_are_symmetric_and_do_not_blow_up(affinity):
    torch.manual_seed(0)
    graph = affinity(torch.randn(2, 5, 3, 4))
    assert torch.allclose(graph, graph.transpose(1, 2))
    top = torch.linalg.eigvalsh(graph)[:, -1]
    assert torch.allclose(top, torch.ones(2), atol=1e-5)


def test_cosine_affinity_by_hand():
    state = torch.tensor([[1.0, 0.0], [0.0, 2.0]]).T.reshape(1, 2, 1, 2)
    sharp = 1 + 3 * math.pi / (1 + math.exp(-0.75))
    weights = torch.tensor([[math.exp(sharp), 1.0], [1.0, math.exp(sharp)]])
    expected = weights / (math.exp(sharp) + 1)
    assert torch.allclose(CosineAffinity()(state)[0], expected, atol=1e-6)


def test_neighbours_by_hand():
    graph = NeighbourAffinity()(torch.zeros(1, 1, 3, 3))[0]
    assert (graph[4] > 0).all()  # the middle knows everybody
    assert (graph[0] > 0).nonzero().flatten().tolist() == [0, 1, 3, 4]
    assert float(graph[0, 4]) == pytest.approx(1 / math.sqrt(4 * 9))
    assert torch.allclose(UniformAffinity()(torch.zeros(1, 1, 3, 3)), torch.tensor(1 / 9))
    assert torch.allclose(normalised_graph(torch.eye(2)[None]), torch.eye(2))


def test_gru_keeps_or_replaces():
    gru = ConvGRU(2)
    with torch.no_grad():
        for gates in gru.gates:
            gates.weight.zero_()
            gates.bias.fill_(-30)  # never update
        hidden = torch.randn(1, 2, 3, 3)
        assert torch.allclose(gru(torch.randn(1, 2, 3, 3), hidden), hidden)
        for gates, candidate in zip(gru.gates, gru.candidates, strict=True):
            gates.bias.fill_(30)
            candidate.weight.zero_()
            candidate.bias.fill_(0.5)
        new = gru(torch.randn(1, 2, 3, 3), hidden)
    assert torch.allclose(new, torch.tensor(math.tanh(0.5)))


def test_loss_by_hand():
    flows = torch.zeros(2, 1, 2, 1, 1)
    flows[0, 0, 0] = 3.0
    target = torch.tensor([3.0, 4.0]).view(1, 2, 1, 1)
    assert float(sequence_loss(flows, target)) == pytest.approx((0.8 * 4 + 5) / 1.8)
    assert float(endpoint_error(flows[1], target)) == pytest.approx(5)
    with pytest.raises(InvalidArgument):
        sequence_loss(flows, target, gamma=0.0)


def circular(n, centre, sharpness=3.0):
    angle = torch.arange(n) * (2 * math.pi / n)
    return (sharpness * (angle - centre).cos()).exp()


def test_pattern_and_component_cells():
    """Units built to follow the pattern or its components are told apart; a mixture is neither."""
    n = 12
    gratings = circular(n, 1.0).expand(3, n)
    parts = gratings.roll(2, 1) + gratings.roll(-2, 1)
    torch.manual_seed(0)
    noise = 0.3 * torch.randn(3, n)
    plaids = torch.stack([gratings[0], parts[1], gratings[2] + parts[2]]) + noise
    pattern, component = pattern_index(gratings, plaids)
    difference = pattern - component
    assert difference[0] > 1.28
    assert difference[1] < -1.28
    assert difference[1] < difference[2] < difference[0]


def test_partial_correlation_is_that_of_residuals():
    torch.manual_seed(1)
    gratings, plaids = torch.rand(1, 12).double(), torch.rand(1, 12).double()
    parts = gratings.roll(2, 1) + gratings.roll(-2, 1)

    def without(y, x):
        design = torch.stack([torch.ones(12).double(), x[0]], 1)
        return y[0] - design @ torch.linalg.lstsq(design, y[0][:, None]).solution[:, 0]

    pair = torch.stack([without(plaids, parts), without(gratings, parts)])
    expected = 3 * torch.corrcoef(pair)[0, 1].atanh()
    assert float(pattern_index(gratings, plaids)[0]) == pytest.approx(float(expected), abs=1e-8)


def test_tuning_measures():
    tuning = torch.tensor([[4.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0]])
    assert direction_index(tuning).tolist() == pytest.approx([0.6, 0.0])
    angle = direction_vector(torch.tensor([[1.0, 1.0]]), torch.tensor([0.0, math.pi / 2]))
    assert float(angle) == pytest.approx(math.pi / 4)
    with pytest.raises(InvalidArgument):
        direction_index(torch.ones(1, 3))
    with pytest.raises(InvalidArgument):
        pattern_index(torch.rand(1, 8), torch.rand(1, 8))  # 60 degrees are no whole steps
    with pytest.raises(NotIdentifiable):
        pattern_index(torch.ones(1, 12), torch.rand(1, 12))


def small_model(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        v1 = MotionEnergy(8, 2, coarsest=2.0, radius=4, stride=2, frames=7, taps=4, grid=4)
        return MotionFlow(v1, MotionIntegration(16, 2))


def test_other_directions_of_plaids(unchecked_types):
    with pytest.raises(InvalidArgument):
        pattern_index(torch.rand(1, 12), torch.rand(1, 6))


def test_learns_flow():
    """A background that moves as a whole: error well below that of no motion, on unseen movies."""
    model = small_model()
    shown = {"objects": 0, "speed": 3.0, "size": 24, "frames": 7}
    train, test = (moving_scenes(n, seed=n, **shown) for n in (48, 24))
    with torch.no_grad():
        v1 = model.v1(train.movies)  # it stays as it is: a few percent of the time
    trained = [*model.integration.parameters(), *model.decode.parameters()]
    fit(
        model,
        lambda m, batch: sequence_loss(m.read_out(m.mt(batch[0])), batch[1]),
        minibatches(v1, train.flow_on(4), size=8),
        optimizer=torch.optim.AdamW(trained, lr=1e-2),
        epochs=15,
        seed=0,
    )
    with torch.no_grad():
        error = endpoint_error(model(test.movies)[-1], test.flow_on(4)).mean()
    assert error < 0.5 * test.flow.norm(dim=1).mean()


def test_shapes_of_iterations():
    model = small_model()
    movie = torch.rand(3, 7, 24, 24)
    assert model(movie).shape == (2, 3, 2, 6, 6)
    assert model.mt(model.v1(movie)).shape == (2, 3, 16, 6, 6)


def test_dual_path_trains_its_first_path_alone():
    v1 = MotionEnergy(4, 2, coarsest=2.0, radius=3, grid=4)
    other = MotionEnergy(4, 1, radius=3, grid=4)
    model = DualPathFlow(v1, SecondOrderMotion(RectifiedContrast(), other), MotionIntegration(8, 2))
    movie = torch.rand(2, 11, 16, 16)
    assert model(movie).shape == (2, 2, 2, 4, 4)
    assert torch.equal(model(movie), model.estimate(model.sense(movie)))
    model(movie).square().mean().backward()
    assert v1.angle.grad is None
    assert other.angle.grad.abs().sum() > 0
    model.first_order(movie).square().mean().backward()
    assert v1.angle.grad.abs().sum() > 0


@pytest.mark.parametrize("arguments", [(0, 1), (4, 0)])
def test_nothing_to_integrate(arguments):
    with pytest.raises(InvalidArgument):
        MotionIntegration(*arguments)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_same_on_a_gpu():
    model, movie = small_model(), torch.rand(2, 7, 24, 24)
    with torch.no_grad():
        here, there = model(movie), model.cuda()(movie.cuda()).cpu()
    assert torch.allclose(here, there, rtol=1e-2, atol=1e-3)
