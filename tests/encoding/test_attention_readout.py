"""Readouts of patch tokens against loops, and what each can and cannot see."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError

from bregma.encoding import AttentionReadout, FactorisedReadout, sine_positions
from bregma.errors import InvalidArgument

AREAS = ["V1", "FFA", "V1", "PPA", "FFA", "V1"]


def randomised(module, seed=0):
    """All parameters at random, so that nothing is tested with weights of 0."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return module.double()


def tokens(n=3, grid=(2, 3), width=8, seed=1):
    shape = (n, grid[0] * grid[1], width)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_loops(readout, x):
    """Responses and attention, number by number."""
    p = {name: value.detach().numpy() for name, value in readout.named_parameters()}
    place = readout.place.numpy()
    n, n_tokens, width = x.shape
    heads, part = readout.heads, width // readout.heads
    names = list(readout.areas)
    y = np.zeros((n, len(AREAS)))
    attention = np.zeros((n, len(names), n_tokens))
    for s in range(n):
        keys = [
            p["key.weight"] @ x[s, t] + p["place_key.weight"] @ place[t] for t in range(n_tokens)
        ]
        values = [p["value.weight"] @ x[s, t] + p["value.bias"] for t in range(n_tokens)]
        for v, area in enumerate(AREAS):
            r = names.index(area)
            gathered = np.zeros(width)
            for h in range(heads):
                of_head = slice(h * part, (h + 1) * part)
                logits = [k[of_head] @ p["query"][r, of_head] / math.sqrt(part) for k in keys]
                weights = np.exp(np.array(logits) - max(logits))
                weights /= weights.sum()
                attention[s, r] += weights / heads / AREAS.count(area)
                for t in range(n_tokens):
                    gathered[of_head] += weights[t] * values[t][of_head]
            if readout.units.mixed is not None:
                z = (gathered - gathered.mean()) / math.sqrt(gathered.var() + 1e-5)
                z = z * p["units.mixed.0.weight"] + p["units.mixed.0.bias"]
                z = p["units.mixed.1.weight"] @ z + p["units.mixed.1.bias"]
                z = np.array([a * 0.5 * (1 + math.erf(a / math.sqrt(2))) for a in z])
                gathered = gathered + p["units.mixed.3.weight"] @ z + p["units.mixed.3.bias"]
            y[s, v] = p["units.weight"][v] @ gathered + p["units.bias"][v]
    return y, attention


@pytest.mark.parametrize(("heads", "hidden"), [(1, 0), (4, 0), (2, 5)])
def test_attention_is_what_loops_say(heads, hidden):
    readout = randomised(
        AttentionReadout(8, AREAS, grid=(2, 3), heads=heads, hidden=hidden, seed=0)
    )
    x = tokens()
    expected, maps = by_loops(readout, x.numpy())
    np.testing.assert_allclose(readout(x).detach(), expected, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(readout.attention(x).detach(), maps, rtol=1e-10, atol=1e-12)


def test_a_fixed_map_is_what_loops_say():
    readout = randomised(FactorisedReadout(8, AREAS, n_tokens=6, seed=0))
    x = tokens()
    weight, bias = readout.units.weight.detach().numpy(), readout.units.bias.detach().numpy()
    maps = np.exp(readout.map.detach().numpy())
    for v, area in enumerate(AREAS):
        share = maps[readout.areas.index(area)] / maps[readout.areas.index(area)].sum()
        for s in range(len(x)):
            gathered = sum(share[t] * x[s, t].numpy() for t in range(6))
            expected = weight[v] @ gathered + bias[v]
            np.testing.assert_allclose(readout(x)[s, v].item(), expected, rtol=1e-10)


@settings(max_examples=8)
@given(st.permutations(range(6)))
def test_without_places_the_order_of_tokens_has_no_meaning(order):
    readout = randomised(AttentionReadout(8, AREAS, grid=None, seed=0))
    x = tokens()
    torch.testing.assert_close(readout(x[:, order]), readout(x))
    torch.testing.assert_close(readout.attention(x[:, order]), readout.attention(x)[:, :, order])


def test_with_places_the_order_of_tokens_has_a_meaning():
    readout = randomised(AttentionReadout(8, AREAS, grid=(2, 3), seed=0))
    x = tokens()
    assert not torch.allclose(readout(x.flip(1)), readout(x))


def test_an_area_is_an_area_however_its_units_are_ordered():
    readout = randomised(AttentionReadout(8, AREAS, grid=(2, 3), hidden=4, seed=0))
    order = [3, 0, 5, 1, 4, 2]
    other = AttentionReadout(8, [AREAS[i] for i in order], grid=(2, 3), hidden=4, seed=0).double()
    state = readout.state_dict()
    state["units.weight"], state["units.bias"] = (
        state[f"units.{name}"][order] for name in ("weight", "bias")
    )
    state["query"] = state["query"][[readout.areas.index(a) for a in other.areas]]
    other.load_state_dict({**state, **dict(other.named_buffers())})
    torch.testing.assert_close(other(tokens()), readout(tokens())[:, order])


def test_gradients_are_those_of_finite_differences():
    readout = randomised(AttentionReadout(4, AREAS[:3], grid=(1, 3), heads=2, hidden=2, seed=0))
    x = tokens(2, (1, 3), 4).requires_grad_()
    assert torch.autograd.gradcheck(readout, (x,))


def test_an_untrained_readout_predicts_nothing_and_depends_on_its_seed():
    one, same, other = (AttentionReadout(8, AREAS, grid=(2, 3), seed=s) for s in (0, 0, 1))
    assert (one(tokens().float()) == 0).all()
    assert (one.query == same.query).all()
    assert (one.key.weight == same.key.weight).all()
    assert (one.key.weight != other.key.weight).any()


@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 9))
def test_codes_of_places_are_sines_of_rows_and_columns(rows, columns, width):
    codes = sine_positions(rows, columns, width)
    n = -(-width // 4)
    for cell in range(rows * columns):
        where = divmod(cell, columns)
        for feature in range(width):
            k, rest = divmod(feature, 4)
            phase = where[rest // 2] * max(rows, columns) ** (-k / n)
            expected = (math.sin, math.cos)[rest % 2](phase)
            assert codes[cell, feature].item() == pytest.approx(expected, abs=1e-5)


def test_codes_tell_all_places_apart():
    codes = sine_positions(31, 31, 64)
    apart = torch.cdist(codes, codes) + 10 * torch.eye(len(codes))
    assert apart.min() > 0.3


@pytest.mark.parametrize(
    "wrong", [{"width": 0}, {"heads": 3}, {"hidden": -1}, {"areas": []}, {"grid": (0, 3)}]
)
def test_impossible_readouts_are_refused(wrong):
    with pytest.raises(InvalidArgument):
        AttentionReadout(**{"width": 8, "areas": AREAS, "grid": (2, 3), "seed": 0, **wrong})


def test_impossible_fixed_maps_are_refused():
    with pytest.raises(InvalidArgument, match="n_tokens"):
        FactorisedReadout(8, AREAS, n_tokens=0, seed=0)


@pytest.mark.parametrize("shape", [(2, 7, 8), (2, 6, 9), (0, 6, 8)])
def test_tokens_that_do_not_fit_are_refused(shape):
    for readout in (
        AttentionReadout(8, AREAS, grid=(2, 3), seed=0),
        FactorisedReadout(8, AREAS, n_tokens=6, seed=0),
    ):
        with pytest.raises(InvalidArgument):
            readout(torch.zeros(shape))


def test_class_tokens_are_named_as_the_likely_reason():
    with pytest.raises(InvalidArgument, match="class and register tokens"):
        AttentionReadout(8, AREAS, grid=(2, 3), seed=0)(torch.zeros(1, 7, 8))


def test_tokens_without_a_batch_are_refused(unchecked_types):
    with pytest.raises((InvalidArgument, TypeCheckError)):
        AttentionReadout(8, AREAS, grid=(2, 3), seed=0)(torch.zeros(6, 8))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda_gives_what_the_cpu_gives():
    readout = randomised(AttentionReadout(8, AREAS, grid=(2, 3), heads=2, hidden=4, seed=0))
    x = tokens()
    on_cpu, maps = readout(x), readout.attention(x)
    readout, x = readout.cuda(), x.cuda()
    torch.testing.assert_close(readout(x).cpu(), on_cpu, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(readout.attention(x).cpu(), maps, rtol=1e-9, atol=1e-9)
