"""Sparse codes against their definitions, hand-worked cases and numerical derivatives."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bregma.errors import InvalidArgument
from bregma.mechanism import (
    BatchTopKCode,
    Crosscoder,
    GatedCode,
    JumpReLUCode,
    MatchingPursuitCode,
    ReLUCode,
    SparseAutoencoder,
    TopKCode,
)
from bregma.mechanism.dictionaries import _matching_pursuit

CODES = {
    "relu": lambda n: ReLUCode(0.3),
    "top-k": lambda n: TopKCode(3),
    "batch top-k": lambda n: BatchTopKCode(3),
    "jump": lambda n: JumpReLUCode(n, l0=0.2),
    "gated": lambda n: GatedCode(n, l1=0.3),
    "pursuit": lambda n: MatchingPursuitCode(3),
}


def normal(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.integers(1, 9))
def test_top_k_keeps_the_k_largest(seed, k):
    pre = normal(7, 9, seed=seed)
    code = TopKCode(k)(pre)
    for row, kept in zip(pre.numpy(), code.numpy(), strict=True):
        largest = np.sort(row)[::-1][:k]
        np.testing.assert_array_equal(np.sort(kept[kept > 0])[::-1], largest[largest > 0])
        assert all(kept[j] in (0, row[j]) for j in range(9))


def test_batch_top_k_shares_its_features_out_and_learns_a_threshold():
    code = BatchTopKCode(2)
    pre = normal(50, 20)
    kept = code(pre)
    assert int((kept > 0).sum()) == 100
    assert kept[kept > 0].min() >= pre[kept == 0].max()
    assert code.threshold == kept[kept > 0].min()
    second = normal(50, 20, seed=1)
    smallest = code(second)[code(second) > 0].min()
    for _ in range(2):  # the calls above moved the threshold as well
        code(second)
    first = kept[kept > 0].min()
    expected = first + (smallest - first) * (1 - 0.99**4)
    assert float(code.threshold) == pytest.approx(float(expected), rel=1e-5)
    alone = code.eval()(second[:1])
    torch.testing.assert_close(alone[0], code(second)[0])
    torch.testing.assert_close(alone, second[:1] * (second[:1] > code.threshold))


def test_batch_top_k_that_never_learned_has_no_threshold():
    with pytest.raises(InvalidArgument, match="never trained"):
        BatchTopKCode(2).eval()(normal(3, 4))


def test_jump_relu_by_hand():
    code = JumpReLUCode(3, l0=2.0, threshold=0.5, width=0.4)
    pre = torch.tensor([[0.6, 0.4, -1.0], [0.65, 2.0, 0.2]], requires_grad=True)
    z = code(pre)
    torch.testing.assert_close(z, torch.tensor([[0.6, 0, 0], [0.65, 2.0, 0]]))
    weight = torch.tensor([[1.0, 10.0, 100.0], [3.0, 5.0, 7.0]])
    (z * weight).sum().backward()
    torch.testing.assert_close(pre.grad, weight * (pre > 0.5))
    # Within 0.2 of 0.5: 0.6 and 0.65 of the first feature, 0.4 of the second. d/dlog theta = theta
    # d/dtheta, with -theta / width for each.
    expected = -0.5 / 0.4 * torch.tensor([1.0 + 3.0, 10.0, 0.0]) * 0.5
    torch.testing.assert_close(code.log_threshold.grad, expected)
    code.zero_grad()
    cost = code.cost(pre, z, torch.ones(3), lambda other: other.sum())
    assert cost.item() == pytest.approx(2.0 * 3 / 2)  # three on, over two samples
    cost.backward()
    counts = torch.tensor([2.0, 1.0, 0.0])
    torch.testing.assert_close(code.log_threshold.grad, 2.0 * -counts / 0.4 / 2 * 0.5)


def test_the_estimated_derivative_is_that_of_the_mean():
    """Over many samples the mean count is a smooth function of theta: N(0, 1) above theta."""
    code = JumpReLUCode(1, l0=1.0, threshold=0.5, width=0.2).double()
    pre = normal(400_000, 1, dtype=torch.float64)
    cost = code.cost(pre, code(pre), torch.ones(1), lambda other: other.sum())
    (slope,) = torch.autograd.grad(cost, code.log_threshold)
    density = math.exp(-(0.5**2) / 2) / math.sqrt(2 * math.pi)
    assert float(slope) == pytest.approx(-density * 0.5, rel=0.02)
    (slope,) = torch.autograd.grad(code(pre).mean(), code.log_threshold)
    assert float(slope) == pytest.approx(-density * 0.5 * 0.5, rel=0.02)


def test_gated_code_by_its_definition():
    code = GatedCode(6, l1=0.7)
    with torch.no_grad():
        code.log_gain.copy_(normal(6, seed=1))
        code.shift.copy_(normal(6, seed=2))
    pre, norms = normal(8, 6), torch.full((6,), 2.0)
    expected = np.zeros((8, 6))
    for i in range(8):
        for j in range(6):
            if pre[i, j] > 0:
                gain, shift = code.log_gain[j].exp().item(), code.shift[j].item()
                expected[i, j] = max(gain * pre[i, j].item() + shift, 0)
    np.testing.assert_allclose(code(pre).detach().numpy(), expected, atol=1e-6)
    cost = code.cost(pre, code(pre), norms, lambda gate: gate.square().sum())
    gate = pre.clamp_min(0)
    expected = 0.7 * 2 * gate.sum() / 8 + gate.square().sum()
    assert cost.item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("name", ["relu", "top-k", "gated", "pursuit"])
def test_derivatives_of_the_loss(name):
    sae = SparseAutoencoder(5, 9, CODES[name](9), seed=0).double()
    x = normal(6, 5, dtype=torch.float64)
    named = dict(sae.named_parameters())
    if name == "gated":  # the second error must not train the dictionary: hold it fixed here
        named = {n: p for n, p in named.items() if n.startswith(("encoder", "code"))}

    def loss(*values):
        return torch.func.functional_call(
            sae, dict(zip(named, values, strict=True)), (x,), tie_weights=False
        )

    forward, sae.forward = sae.forward, lambda x: sae.loss(x).total
    try:
        start = [p.detach().clone().requires_grad_() for p in named.values()]
        assert torch.autograd.gradcheck(loss, start, eps=1e-7, atol=1e-5)
    finally:
        sae.forward = forward


def test_the_second_error_of_gates_does_not_train_the_dictionary():
    sae = SparseAutoencoder(4, 8, GatedCode(8, l1=0.0), seed=0)
    with torch.no_grad():
        sae.code.shift.fill_(-1e3)  # z = 0: all that is left is the second error
    sae.loss(normal(5, 4)).total.backward()
    assert not sae.decoder.grad.any()
    assert sae.encoder.weight.grad.any()


# Matching pursuit


def pursuit_by_hand(x, features, steps):
    """One sample, as in the textbook; also what is left after each step and what was taken."""
    left, code, taken = x.copy(), np.zeros(len(features)), []
    lefts = [left]
    for _ in range(steps):
        along = features @ left
        j = int(np.argmax(along))
        c = max(along[j], 0)
        code[j] += c
        left = left - c * features[j]
        lefts.append(left)
        taken.append((j, c))
    return code, lefts, taken


@settings(max_examples=20)
@given(st.integers(0, 10**6), st.integers(1, 12))
def test_pursuit_against_the_textbook_and_its_identities(seed, steps):
    sae = SparseAutoencoder(6, 15, MatchingPursuitCode(steps), seed=seed).double()
    sae.normalise_()
    x = normal(4, 6, seed=seed, dtype=torch.float64)
    features = sae.decoder.detach().numpy()
    for sample, code, output in zip(x, sae.encode(x), sae(x), strict=True):
        expected, lefts, taken = pursuit_by_hand(sample.numpy(), features, steps)
        np.testing.assert_allclose(code.detach().numpy(), expected, atol=1e-9)
        for before, after, (j, c) in zip(lefts, lefts[1:], taken, strict=False):
            assert after @ after == pytest.approx(before @ before - c**2, abs=1e-9)
            assert c == 0 or abs(after @ features[j]) < 1e-9
        error = (sample - output).square().sum().item()
        assert error == pytest.approx(lefts[-1] @ lefts[-1], abs=1e-9)


def test_pursuit_by_hand():
    """3 of (1, 0) leave (0, 1), 0.8 of (0.6, 0.8) leave (-0.48, 0.36): 0.6 of the third."""
    frame = torch.tensor([[1.0, 0.0], [0.6, 0.8], [-0.8, 0.6]], dtype=torch.float64)
    x = torch.tensor([[3.0, 1.0]], dtype=torch.float64)
    for steps, expected in ((1, [3, 0, 0]), (2, [3, 0.8, 0]), (3, [3, 0.8, 0.6])):
        np.testing.assert_allclose(
            MatchingPursuitCode(steps)(x, frame).numpy(), [expected], atol=1e-12
        )


def test_more_steps_never_make_the_error_larger():
    sae = SparseAutoencoder(16, 40, MatchingPursuitCode(1), seed=0)
    x = normal(50, 16)
    errors = []
    for sae.code.steps in range(1, 11):
        errors.append((sae(x) - x).square().sum().item())
    assert all(b <= a for a, b in pairwise(errors))
    assert errors[-1] < 0.3 * errors[0]


def test_pursuit_with_and_without_a_table_of_products(monkeypatch):
    x, features = normal(30, 8), torch.nn.functional.normalize(normal(20, 8, seed=1), dim=1)
    code = MatchingPursuitCode(5)
    with_table = code(x, features)
    monkeypatch.setattr(_matching_pursuit, "GRAM_ELEMENTS", 0)
    torch.testing.assert_close(code(x, features), with_table, rtol=1e-4, atol=1e-5)


def test_pursuit_ends_at_its_tolerance():
    features = torch.eye(4)
    x = torch.tensor([[3.0, 2.0, 0.5, 0.1], [0.2, 0.1, 0.0, 0.0]])
    code = MatchingPursuitCode(4, tolerance=0.6)(x, features)
    torch.testing.assert_close(code, torch.tensor([[3.0, 2.0, 0, 0], [0, 0, 0, 0]]))


def test_any_leading_axes():
    for make in CODES.values():
        sae = SparseAutoencoder(5, 12, make(12), seed=0)
        x = normal(3, 4, 5)
        torch.testing.assert_close(sae(x), sae(x.reshape(-1, 5)).reshape(3, 4, 5))


@pytest.mark.parametrize(
    "make",
    [
        lambda: ReLUCode(-1.0),
        lambda: ReLUCode(math.nan),
        lambda: TopKCode(0),
        lambda: JumpReLUCode(0),
        lambda: JumpReLUCode(3, width=0.0),
        lambda: GatedCode(3, l1=-1.0),
        lambda: MatchingPursuitCode(0),
        lambda: MatchingPursuitCode(1, tolerance=-1.0),
        lambda: SparseAutoencoder(4, 8, GatedCode(9), seed=0),
        lambda: SparseAutoencoder(4, 8, MatchingPursuitCode(2), n_outputs=4, seed=0),
        lambda: SparseAutoencoder(4, 8, TopKCode(2), n_outputs=4, centred=True, seed=0),
        lambda: SparseAutoencoder(0, 8, TopKCode(2), seed=0),
        lambda: SparseAutoencoder(4, 8, TopKCode(9), seed=0)(torch.zeros(1, 4)),
        lambda: SparseAutoencoder(4, 8, TopKCode(2), seed=0)(torch.zeros(1, 5)),
        lambda: SparseAutoencoder(4, 8, TopKCode(2), n_outputs=4, seed=0).loss(torch.zeros(1, 4)),
        lambda: Crosscoder([], 8, TopKCode(2), seed=0),
    ],
)
def test_bad_input(make):
    with pytest.raises(InvalidArgument):
        make()


# The autoencoder around them


def test_autoencoder_and_transcoder_by_their_equations():
    for n_outputs in (None, 3):
        sae = SparseAutoencoder(5, 11, ReLUCode(0.4), n_outputs=n_outputs, seed=0)
        with torch.no_grad():
            for parameter in sae.parameters():
                parameter.add_(0.3 * normal(*parameter.shape, seed=parameter.numel()))
        x, y = normal(7, 5), normal(7, n_outputs or 5, seed=9)
        w, c, d, b = (
            p.detach().numpy()
            for p in (sae.encoder.weight, sae.encoder.bias, sae.decoder, sae.bias)
        )
        given = x.numpy() - b if n_outputs is None else x.numpy()
        z = np.maximum(given @ w.T + c, 0)
        output = z @ d + b
        np.testing.assert_allclose(sae(x).detach().numpy(), output, atol=1e-5)
        target = x.numpy() if n_outputs is None else y.numpy()
        cost = 0.4 * (z * np.linalg.norm(d, axis=1)).sum(1).mean()
        found = sae.loss(x) if n_outputs is None else sae.loss(x, y)
        assert found.total.item() == pytest.approx(
            np.square(output - target).sum(1).mean() + cost, rel=1e-5
        )
        np.testing.assert_allclose(found.code.detach().numpy(), z, atol=1e-5)


def test_a_crosscoder_pays_for_a_feature_in_each_layer():
    both = Crosscoder([3, 4], 6, ReLUCode(1.0), seed=0)
    with torch.no_grad():
        both.decoder.zero_()
        both.decoder[0, :2] = torch.tensor([0.6, 0.8])  # in the first layer only
        both.decoder[1, 0], both.decoder[1, 3] = 0.6, 0.8  # in both
    assert both.layer_norms()[0].tolist() == pytest.approx([1.0, 0.0])
    assert both.norms()[:2].tolist() == pytest.approx([1.0, 1.4])
    x = normal(5, 7)
    first, second = both.split(both(x))
    assert first.shape == (5, 3)
    assert second.shape == (5, 4)
    cost = both.loss(x).total - (both(x) - x).square().sum(1).mean()
    z = both.encode(x)
    assert cost.item() == pytest.approx((z @ both.norms()).mean().item(), rel=1e-4)


def test_a_start_from_data():
    sae = SparseAutoencoder(6, 4, TopKCode(1), seed=0)
    x = normal(50, 6) * 3 + 5
    sae.start_from(x, seed=0)
    torch.testing.assert_close(sae.bias.detach(), x.mean(0))
    torch.testing.assert_close(sae.norms(), torch.ones(4))
    directions = torch.nn.functional.normalize(x - x.mean(0), dim=1)
    assert ((sae.decoder @ directions.T).max(1).values > 1 - 1e-5).all()
    torch.testing.assert_close(sae.encoder.weight, sae.decoder)
    with pytest.raises(InvalidArgument):
        sae.start_from(x[:1], seed=0)


def test_new_starts_point_at_what_is_missing():
    x = torch.zeros(20, 4)
    x[:, 0] = torch.linspace(1, 2, 20)
    x[:5, 3] = 7.0  # nothing reconstructs this
    for n_outputs in (None, 4):
        sae = SparseAutoencoder(4, 3, TopKCode(1), n_outputs=n_outputs, seed=0)
        with torch.no_grad():
            sae.decoder.copy_(torch.eye(4)[:3])
            sae.encoder.weight.copy_(torch.eye(4)[:3])
        dead = torch.tensor([False, True, False])
        new = sae.revive_(dead, x, x, torch.Generator().manual_seed(0))
        assert new.tolist() == [False, True, False]
        assert sae.decoder[1, 3] > 0.95
        assert sae.encoder.weight[1].norm().item() == pytest.approx(1.0)
        assert (sae.encode(x)[:5, 1] > 0).all()
        assert sae.decoder[0].tolist() == [1, 0, 0, 0]


def test_the_same_seed_gives_the_same_dictionary():
    torch.manual_seed(1)
    one = SparseAutoencoder(4, 8, TopKCode(2), n_outputs=3, seed=5)
    torch.manual_seed(2)
    two = SparseAutoencoder(4, 8, TopKCode(2), n_outputs=3, seed=5)
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(a, b)
    other = SparseAutoencoder(4, 8, TopKCode(2), n_outputs=3, seed=6)
    assert not torch.equal(one.decoder, other.decoder)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("name", CODES)
def test_cuda_agrees_with_the_cpu(name):
    sae, x = SparseAutoencoder(32, 64, CODES[name](64), seed=0), normal(100, 32)
    here = sae.loss(x).total
    grads = torch.autograd.grad(here, list(sae.parameters()))
    there = sae.cuda().loss(x.cuda()).total
    assert there.item() == pytest.approx(here.item(), rel=1e-4)
    for a, b in zip(grads, torch.autograd.grad(there, list(sae.parameters())), strict=True):
        torch.testing.assert_close(a, b.cpu(), rtol=1e-3, atol=1e-4)
