"""Components of a head are compared with numpy's decomposition and with planted directions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from bregma.errors import InvalidArgument, NotIdentifiable
from bregma.mechanism import head_components


def head(n=12, width=6, bias=False, seed=0):
    torch.manual_seed(seed)
    return nn.Linear(width, n, bias=bias)


def states(n=40, width=6, seed=0):
    return np.random.default_rng(seed).standard_normal((n, width)).astype(np.float32)


MARKS = np.arange(40) < 15


@given(i=st.integers(0, 5))
def test_a_state_along_one_direction_lights_that_one_alone(i):
    own = head()
    v = np.linalg.svd(own.weight.detach().double().numpy())[2][i]
    noise = 0.01 * states()
    found = head_components(own, noise + 3 * MARKS[:, None] * v.astype(np.float32), MARKS)
    assert found.top(1).tolist() == [i]
    assert abs(found.difference[i]) == pytest.approx(3, abs=0.05)
    assert np.abs(np.delete(found.difference, i)).max() < 0.05


def test_as_numpy_decomposes_and_separates():
    own, h = head(), states()
    found = head_components(own, h, MARKS)
    weight = own.weight.detach().double().numpy()
    _, s, vh = np.linalg.svd(weight, full_matrices=False)
    np.testing.assert_allclose(found.s, s, atol=1e-12)
    np.testing.assert_allclose((found.u * found.s) @ found.vh, weight, atol=1e-12)
    a = h.astype(float) @ vh.T
    difference = a[MARKS].mean(0) - a[~MARKS].mean(0)
    pooled = np.sqrt((14 * a[MARKS].var(0, ddof=1) + 24 * a[~MARKS].var(0, ddof=1)) / 38)
    np.testing.assert_allclose(found.separation, np.abs(difference) / pooled, atol=1e-10)
    assert found.top().tolist() == [int(np.argmax(found.separation))]
    np.testing.assert_array_equal(found.top(6), np.argsort(-found.separation))


@pytest.mark.parametrize("bias", [True, False])
def test_the_scaled_head_by_hand(bias):
    own, h = head(bias=bias), states()
    found = head_components(own, h, MARKS)
    u, s, vh = np.linalg.svd(own.weight.detach().double().numpy(), full_matrices=False)
    s[[1, 4]] *= 0.25
    after = found.scaled([4, 1], 0.25)
    np.testing.assert_allclose(after.weight.detach(), (u * s) @ vh, atol=1e-6)
    assert (after.bias is None) != bias
    if bias:
        assert torch.equal(after.bias, own.bias)
    assert after.weight is not own.weight
    same = found.scaled(range(6), 1.0)
    np.testing.assert_allclose(same.weight.detach(), own.weight.detach(), atol=1e-7)


def test_signs_of_components_mean_nothing():
    own, h = head(), states()
    turned = head()
    turned.weight.data = -own.weight.data
    a, b = head_components(own, h, MARKS), head_components(turned, h, MARKS)
    np.testing.assert_allclose(a.separation, b.separation, atol=1e-9)
    c = head_components(own, h, ~MARKS)
    np.testing.assert_allclose(a.separation, c.separation, atol=1e-9)


def test_in_a_model_whose_head_shares_its_weights(transformers):
    from bregma.system import TorchSystem

    config = transformers.LlamaConfig(
        num_hidden_layers=1, num_attention_heads=2, hidden_size=16, intermediate_size=24,
        vocab_size=30, tie_word_embeddings=True, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    model = transformers.LlamaForCausalLM(config).eval()
    tokens = torch.randint(30, (20, 5), generator=torch.Generator().manual_seed(0))
    system = TorchSystem(model, "lm_head.input")
    h = system.record(tokens).values.reshape(-1, 16)
    with torch.no_grad():
        logits = model(tokens).logits
    marks = logits.argmax(-1).flatten() < 15
    found = head_components(model.lm_head, h, marks)
    before = model.model.embed_tokens.weight.clone()
    model.lm_head = found.scaled(found.top(2), 0.1)
    assert torch.equal(model.model.embed_tokens.weight, before)
    np.testing.assert_array_equal(system.record(tokens).values.reshape(-1, 16), h)
    with torch.no_grad():
        after = model(tokens).logits
    index = torch.as_tensor(found.top(2).copy())
    v, u, s = found.vh[index], found.u[:, index], found.s[index]
    taken = 0.9 * (torch.from_numpy(h).double() @ v.T * s) @ u.T
    wanted = logits.flatten(0, 1).double() - taken
    np.testing.assert_allclose(after.flatten(0, 1), wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: head_components(nn.ReLU(), states(), MARKS), InvalidArgument, "matrix"),
        (lambda: head_components(head(width=5), states(), MARKS), InvalidArgument, "width 5"),
        (lambda: head_components(head(), states() * np.nan, MARKS), InvalidArgument, "NaN"),
        (lambda: head_components(head(), states(), MARKS * 1), InvalidArgument, "true or false"),
        (lambda: head_components(head(), states(), MARKS & False), NotIdentifiable, "0 unwanted"),
        (lambda: head_components(head(), states(), MARKS).top(7), InvalidArgument, "1 to 6"),
        (lambda: head_components(head(), states(), MARKS).scaled([6]), InvalidArgument, "0 to 5"),
        (lambda: head_components(head(), states(), MARKS).scaled([]), InvalidArgument, "0 to 5"),
    ],
)
def test_bad_heads(call, error, message, unchecked_types):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_heads_on_cuda():
    here, there = (head_components(m, states(), MARKS) for m in (head(), head().cuda()))
    np.testing.assert_allclose(there.separation, here.separation, atol=1e-6)
    np.testing.assert_allclose(
        there.scaled([0]).weight.detach().cpu(), here.scaled([0]).weight.detach(), atol=1e-6
    )


def test_the_page_runs():
    from pages import run_page

    names = run_page("head_components.md")
    assert names["after"] < 0.85 * names["before"]
    assert names["other_after"] < 1.05 * names["other_before"]
