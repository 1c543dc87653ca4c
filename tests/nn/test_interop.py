"""Layers of snnTorch and SpikingJelly: the same spikes here, and there again."""

from __future__ import annotations

import pytest
import torch

from bregma.errors import InvalidArgument
from bregma.nn import from_snntorch, from_spikingjelly, to_snntorch, to_spikingjelly

DTYPES = [torch.float32, torch.float64]


def inputs(dtype):
    return torch.rand(60, 4, 6, generator=torch.Generator().manual_seed(5), dtype=dtype)


def linear(n_in, n_out, seed, dtype):
    layer = torch.nn.Linear(n_in, n_out).to(dtype)
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(n_out, n_in, generator=rng) * n_in**-0.5)
        layer.bias.copy_(0.3 * torch.rand(n_out, generator=rng))
    return layer


def check(found, expected):
    assert 0.02 < expected.mean().item() < 0.9
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


@pytest.mark.parametrize("reset", ["subtract", "zero", "none"])
def test_snntorch(reset):
    snn = pytest.importorskip("snntorch", reason="snntorch is not installed (extra: peers)")

    dtype = torch.float32  # that of snnTorch's spikes, whatever comes in

    def spikes_of(layers):
        states, out = {}, []
        for layer in layers:
            if isinstance(layer, snn.Leaky):
                layer.reset_mem()
        for x in inputs(dtype):
            for i, layer in enumerate(layers):
                if isinstance(layer, torch.nn.Linear) or layer.init_hidden:
                    x = layer(x)
                else:
                    x, states[i] = layer(x, states.get(i))
            out.append(x)
        return torch.stack(out)

    beta = torch.linspace(0.5, 0.95, 9)
    layers = [
        linear(6, 9, 0, dtype),
        snn.Leaky(beta=beta, threshold=0.7, reset_mechanism=reset, learn_beta=True),
        linear(9, 5, 1, dtype),
        snn.Leaky(beta=0.8, reset_mechanism=reset),
    ]
    expected = spikes_of(layers)
    model = from_snntorch(layers)
    check(model(inputs(dtype))[0], expected)
    assert model[1].beta.requires_grad
    torch.testing.assert_close(model[1].beta.detach(), beta)
    check(spikes_of(to_snntorch(model)), expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("v_reset", [0.0, -0.1, None])
@pytest.mark.parametrize("decay_input", [True, False])
def test_spikingjelly(decay_input, v_reset, dtype):
    jelly = pytest.importorskip(
        "spikingjelly.activation_based.neuron",
        reason="spikingjelly is not installed (extra: peers)",
    )
    functional = pytest.importorskip("spikingjelly.activation_based.functional")

    def lif_node(tau, threshold):
        return jelly.LIFNode(
            tau, decay_input, v_threshold=threshold, v_reset=v_reset, step_mode="m"
        )

    first, second = linear(6, 9, 0, dtype), linear(9, 5, 1, dtype)
    net = torch.nn.Sequential(first, lif_node(3.0, 0.3), second, lif_node(2.0, 0.25))
    expected = net(inputs(dtype))
    model = from_spikingjelly(net)
    check(model(inputs(dtype))[0], expected)
    again = to_spikingjelly(model)
    functional.reset_net(again)
    check(again(inputs(dtype)), expected)


def test_other_layers_are_refused():
    snn = pytest.importorskip("snntorch", reason="snntorch is not installed (extra: peers)")
    with pytest.raises(InvalidArgument, match="layer 1 is a Synaptic"):
        from_snntorch([torch.nn.Linear(3, 3), snn.Synaptic(alpha=0.9, beta=0.8)])
    with pytest.raises(InvalidArgument, match="inhibition"):
        from_snntorch([torch.nn.Linear(3, 3), snn.Leaky(beta=0.8, inhibition=True)])
