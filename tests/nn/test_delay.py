"""Learnable delays."""

from __future__ import annotations

import pytest
import torch

from bregma.errors import InvalidArgument
from bregma.nn import Delay


def signal(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def with_delays(delays, most, sigma=0.0):
    layer = Delay(len(delays), most, sigma=sigma).double()
    with torch.no_grad():
        layer.delay.copy_(torch.tensor(delays))
    return layer


def test_whole_delays_shift():
    x = signal(12, 2, 3)
    y, _ = with_delays([0.0, 2.0, 5.0], 5)(x)
    for channel, d in enumerate([0, 2, 5]):
        torch.testing.assert_close(y[d:, :, channel], x[: 12 - d, :, channel])
        assert (y[:d, :, channel] == 0).all()


def test_parts_of_a_step_are_interpolated():
    x = signal(12, 2, 1)
    y, _ = with_delays([1.25], 3)(x)
    torch.testing.assert_close(y[2:], 0.75 * x[1:-1] + 0.25 * x[:-2])


@pytest.mark.parametrize("sigma", [0.0, 0.8])
def test_derivatives_against_finite_differences(sigma):
    layer, x = with_delays([0.3, 1.6, 2.4], 4, sigma), signal(9, 2, 3).requires_grad_()

    def run(x, delay):
        return torch.func.functional_call(layer, {"delay": delay}, (x,))

    assert torch.autograd.gradcheck(run, (x, layer.delay))


def test_two_halves_are_the_whole():
    layer, x = with_delays([0.3, 3.6, 2.4], 4), signal(20, 2, 3)
    whole, _ = layer(x)
    for cut in (2, 11):
        first, state = layer(x[:cut])
        torch.testing.assert_close(torch.cat([first, layer(x[cut:], state)[0]]), whole)


def test_a_delay_is_recovered_when_the_width_is_lowered():
    true, layer = with_delays([9.0, 1.0, 5.0], 12), Delay(3, 12, seed=1).double()
    x = (signal(200, 4, 3) > 1.3).double()
    wanted = true(x)[0].detach()
    optimizer = torch.optim.Adam(layer.parameters(), 0.1)
    for sigma in torch.linspace(4, 0, 300).tolist():
        layer.sigma = sigma
        optimizer.zero_grad()
        (layer(x)[0] - wanted).square().mean().backward()
        optimizer.step()
    torch.testing.assert_close(layer.delay, true.delay, atol=0.1, rtol=0)


def test_every_spike_comes_through_once():
    for sigma in (0.0, 0.5, 3.0):
        layer = with_delays([0.0, 3.3, 4.0, 7.0], 4, sigma)
        torch.testing.assert_close(layer.weights().sum(1), torch.ones(4).double())


def test_a_delay_beyond_its_bounds_comes_back():
    layer = with_delays([-2.0], 4)
    x = signal(9, 1, 1)
    layer(x)[0].square().sum().backward()
    assert layer.delay.grad != 0
    assert torch.equal(layer(x)[0], x)


def test_bad_input_is_refused():
    with pytest.raises(InvalidArgument, match="most >= 1"):
        Delay(3, 0)
    with pytest.raises(InvalidArgument, match=r"\(time, batch, 3\), not \(4, 1, 2\)"):
        Delay(3, 2)(torch.zeros(4, 1, 2))
    with pytest.raises(InvalidArgument, match=r"\(2, 1, 3\), not \(1, 1, 3\)"):
        Delay(3, 2)(torch.zeros(4, 1, 3), torch.zeros(1, 1, 3))
