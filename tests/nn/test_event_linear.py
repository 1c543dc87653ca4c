"""Products of spikes against dense ones."""

from __future__ import annotations

import pytest
import torch

from bregma.dynamics.training._events import events_of
from bregma.errors import InvalidArgument
from bregma.nn import EventLinear


def spikes(shape, density, seed=0, dtype=torch.float32):
    return (torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < density).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bool, torch.uint8])
@pytest.mark.parametrize("density", [0.0, 0.03, 1.0])
def test_events_are_the_ones(density, dtype):
    x = spikes((7, 5, 33), density, dtype=dtype)
    events = events_of(x)
    assert torch.equal(events.dense(dtype), x)
    assert events.density == pytest.approx(x.float().mean().item())


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("sizes", [(700, 512), (40, 509), (3, 1), (300, 20), (70_000, 2)])
@pytest.mark.parametrize("density", [0.0, 0.05, 0.2])
def test_values_and_derivatives_are_those_of_a_dense_product(sizes, density, bias):
    layer = EventLinear(*sizes, bias=bias, seed=1).double()
    x = spikes((9, 31, sizes[0]), density, dtype=torch.float64).requires_grad_()
    assert EventLinear.events(x) is not None
    y = layer(x)
    weight = torch.randn(y.shape, generator=torch.Generator().manual_seed(2), dtype=y.dtype)
    found = torch.autograd.grad((y * weight).sum(), [x, *layer.parameters()])
    dense = torch.nn.functional.linear(x, layer.weight, layer.bias)
    wanted = torch.autograd.grad((dense * weight).sum(), [x, *layer.parameters()])
    torch.testing.assert_close(y, dense)
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("change", [lambda x: x * 2, lambda x: 1 - x, lambda x: x - 0.5])
def test_what_is_no_sparse_spike_train_goes_through_a_dense_product(change):
    layer, x = EventLinear(30, 8), change(spikes((6, 2, 30), 0.1))
    assert EventLinear.events(x) is None
    assert torch.equal(layer(x), torch.nn.functional.linear(x, layer.weight))


def test_events_are_found_once_and_used_many_times():
    layer, x = EventLinear(30, 8), spikes((6, 2, 30), 0.1)
    events = EventLinear.events(x)
    assert torch.equal(layer(events), layer(x))


def test_the_layout_of_the_weights_survives_training_and_saving(tmp_path):
    layer, x = EventLinear(30, 8, seed=3), spikes((6, 2, 30), 0.1)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.01)
    layer(x).square().sum().backward()
    optimizer.step()
    assert layer.weight.stride() == layer.weight.grad.stride() == (1, 8)
    torch.save(layer.state_dict(), tmp_path / "weights.pt")
    other = EventLinear(30, 8)
    other.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    assert other.weight.stride() == (1, 8)
    assert torch.equal(other(x), layer(x))


def test_the_same_bits_on_any_number_of_threads():
    layer, x = EventLinear(500, 300), spikes((40, 20, 500), 0.08)
    before, found = torch.get_num_threads(), []
    try:
        for n_threads in (1, 2, 5):
            torch.set_num_threads(n_threads)
            y = layer(x)
            found.append((y, *torch.autograd.grad(y.square().sum(), layer.weight)))
    finally:
        torch.set_num_threads(before)
    for y, grad in found[1:]:
        assert torch.equal(y, found[0][0])
        assert torch.equal(grad, found[0][1])


def test_a_wrong_shape_is_refused():
    with pytest.raises(InvalidArgument, match=r"\(time, batch, 30\), not \(6, 2, 31\)"):
        EventLinear(30, 8)(torch.zeros(6, 2, 31))
    with pytest.raises(InvalidArgument, match="1 unit or more"):
        EventLinear(0, 8)
