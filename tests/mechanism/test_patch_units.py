"""Patching by names gives what plain hooks give, and what `patch` gives for a transformer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_nets import pairs, wild

from bregma.dynamics import AllToAll, FromMatrix, Network, Neuron, Poisson, Population, Projection
from bregma.dynamics import Synapse as Connection
from bregma.errors import InvalidArgument, UnknownName
from bregma.mechanism import (
    Contrast,
    SpikingGraph,
    ablate,
    ablate_units,
    logit_difference,
    patch,
    patch_units,
)
from bregma.mechanism.circuits._effects import nothing_learned
from bregma.system import Ablate, CircuitSystem, TorchSystem


def vision() -> torch.nn.Sequential:
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Conv2d(4, 4, 3), torch.nn.ReLU(),
        torch.nn.Flatten(), torch.nn.Linear(64, 3),
    )  # fmt: skip


def images(n: int = 5) -> Contrast:
    g = torch.Generator().manual_seed(1)
    clean, corrupt = torch.randn(2, n, 1, 8, 8, generator=g)
    right = torch.arange(n) % 3
    return Contrast(clean, corrupt, right, (right + 1) % 3)


@torch.no_grad()
def with_channel(model, layer, channel, base, other):
    """Answers to the base with one channel as it is for the other input (or a number)."""
    kept = other if isinstance(other, float) else model[: layer + 1](other)[:, channel]
    h = model[: layer + 1](base)
    h[:, channel] = kept
    return model[layer + 1 :](h)


@pytest.mark.parametrize("direction", ["denoise", "noise"])
def test_channels_of_a_vision_network(direction):
    model, asked = vision(), images()
    found = patch_units(
        TorchSystem(model), asked, ["1", "3"], "5", by="channel", direction=direction
    )
    base, other = asked.corrupt, asked.clean
    if direction == "noise":
        base, other = other, base
    with torch.no_grad():
        before, after = (logit_difference(model(x), asked) for x in (base, other))
    assert found.values.dims == ("pair", "site", "channel")
    np.testing.assert_allclose(found.total, after - before, atol=1e-5)
    for i, layer in enumerate((1, 3)):
        for channel in range(4):
            want = with_channel(model, layer, channel, base, other)
            np.testing.assert_allclose(
                found.values[:, i, channel], logit_difference(want, asked) - before, atol=1e-5
            )


def test_the_whole_of_a_last_site_is_the_whole_effect():
    found = patch_units(TorchSystem(vision()), images(), ["1", "3"], "5")
    np.testing.assert_allclose(found.values, np.stack([found.total] * 2, 1), atol=1e-5)
    assert found.to_frame()["site"].tolist() == ["1", "3"]


def test_ablation_by_zeros_means_and_other_inputs():
    model, asked = vision(), images()
    system = TorchSystem(model)
    with torch.no_grad():
        before = logit_difference(model(asked.clean), asked)
    zero = ablate_units(system, asked, "3", "5", by="channel", baseline="zero")
    want = logit_difference(with_channel(model, 3, 2, asked.clean, 0.0), asked) - before
    np.testing.assert_allclose(zero.values[:, 0, 2], want, atol=1e-5)
    mean = ablate_units(system, asked, "3", "5", by="channel")
    with torch.no_grad():
        h = model[:4](asked.clean)
        h[:, 2] = h[:, 2].mean(0)
        want = logit_difference(model[4:](h), asked) - before
    np.testing.assert_allclose(mean.values[:, 0, 2], want, atol=1e-5)
    one, two = (
        ablate_units(system, asked, "3", "5", baseline="resample", seed=s).values for s in (0, 0)
    )
    np.testing.assert_array_equal(one, two)
    assert np.abs(one).min() > 1e-4  # nobody is replaced by itself


def test_heads_as_the_fast_grid_of_transformers(transformers):
    config = transformers.GPT2Config(
        n_layer=2, n_head=4, n_embd=32, vocab_size=20, n_positions=16, bos_token_id=0,
        eos_token_id=0,
    )  # fmt: skip
    model = wild(transformers.GPT2LMHeadModel(config))
    asked = pairs()
    last = {"token": asked.clean.shape[1] - 1}
    system = TorchSystem(model)
    heads = "transformer.h.*.attn.c_proj.input"
    found = patch_units(system, asked, heads, "lm_head", by="head", answer_units=last)
    np.testing.assert_allclose(found.values, patch(model, asked).values, atol=2e-5)
    gone = ablate_units(
        system, asked, heads, "lm_head", by="head", answer_units=last, baseline="zero"
    )
    want = ablate(model, asked, baseline="zero")
    np.testing.assert_allclose(gone.values, want.values, atol=2e-5)


LIF = Neuron("dv/dt = -v/tau", spike="v > 1", reset="v = 0", params={"tau": "20 ms"})


@pytest.fixture(scope="module")
def circuit_system():
    """Which side is shown goes from S over R to O; D is driven, but does not know it."""

    def kick(weight):
        return Connection(on_pre="v += w", params={"w": weight})

    network = Network(
        {"S": Population(Poisson(0), 20), "R": Population(LIF, 20), "D": Population(LIF, 20),
         "O": Population(LIF, 2)},
        [Projection("S", "R", kick(0.3), FromMatrix(np.kron(np.eye(2), np.ones((10, 10))))),
         Projection("R", "O", kick(0.3), FromMatrix(np.kron(np.eye(2), np.ones((10, 1))))),
         Projection("S", "D", kick(0.2), AllToAll()),
         Projection("D", "O", kick(0.1), AllToAll())],
    )  # fmt: skip
    return CircuitSystem(network, {"S": 60.0}, 0.2, seed=0, dt=1e-3)


def sides(n: int) -> Contrast:
    side = np.arange(n) % 2
    left = np.repeat(np.arange(2) == side[:, None], 10, axis=1).astype(float)
    return Contrast(left, left[:, ::-1].copy(), side, 1 - side)


def test_populations_of_a_spiking_circuit(circuit_system):
    found = patch_units(circuit_system, sides(4), ["R", "D", "O"], "O")
    np.testing.assert_array_equal(found.values.sel(site="O"), found.total)  # spike by spike
    assert found.total.mean() > 20
    assert found.share.sel(site="R") > 0.7
    assert abs(found.share.sel(site="D")) < 0.3
    # O hears the spikes of the other run along one edge: the same as in the graph of the circuit.
    asked, graph = sides(4), SpikingGraph(circuit_system, "O")
    turned = replace(asked, clean=asked.corrupt, corrupt=asked.clean)
    edges = [graph.joined, graph.joined & ~graph.mask([("R", "O")])]
    before, changed = graph.measure(turned, edges)
    np.testing.assert_array_equal(found.values.sel(site="R"), changed - before)


def test_units_and_null_circuits(circuit_system):
    found = patch_units(circuit_system, sides(2), "O", "O", by="channel")
    # Each unit that answers does its own part.
    np.testing.assert_allclose(found.values.sum(("site", "channel")), found.total)
    twin = nothing_learned(circuit_system, 1)
    assert found.again(twin).total.mean() < found.total.mean() / 2  # other pairs are connected


def test_lesions_of_a_spiking_circuit(circuit_system):
    gone = ablate_units(circuit_system, sides(4), ["R", "D"], "O", baseline="zero")
    without = circuit_system.perturb(Ablate("R")).with_layers("O").record(sides(4).clean.numpy())
    with_it = circuit_system.with_layers("O").record(sides(4).clean.numpy())
    want = [
        logit_difference(torch.from_numpy(r.values), sides(4)).numpy() for r in (without, with_it)
    ]
    np.testing.assert_array_equal(gone.values.sel(site="R"), want[0] - want[1])
    flat = ablate_units(circuit_system, sides(4), "R", "O")  # both sides at their mean rates
    assert flat.share.item() == pytest.approx(0.5, abs=0.2)


def test_errors(circuit_system):
    system, asked = TorchSystem(vision()), images()
    with pytest.raises(UnknownName, match="nearest"):
        patch_units(system, asked, "11", "5")
    with pytest.raises(InvalidArgument, match="no column 'row_'"):
        patch_units(system, asked, "1", "5", by="row_")
    with pytest.raises(InvalidArgument, match="one at a time"):
        patch_units(system, asked, ["3", "5"], "5", by="channel")
    with pytest.raises(InvalidArgument, match="perturbed already"):
        patch_units(system.perturb(Ablate("1")), asked, "3", "5")
    with pytest.raises(InvalidArgument, match="direction"):
        patch_units(system, asked, "1", "5", direction="up")
    with pytest.raises(InvalidArgument, match="baseline"):
        ablate_units(system, asked, "1", "5", baseline="median")
    assert set(circuit_system.with_layers("R.v").units["layer"]) == {"R.v"}
    with pytest.raises(UnknownName, match="site"):
        patch_units(circuit_system, sides(2), "S", "Q")
