"""Attention alone: against PyTorch's own attention, causality, rotary positions."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from bregma.errors import InvalidArgument
from bregma.nn import AttentionLayer, AttentionOnlyTransformer
from bregma.nn._attention_only import rotated


def test_a_layer_equals_pytorchs_attention():
    layer = AttentionLayer(16, 2).double()
    x = torch.randn(3, 5, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    q, k, v = layer.project(layer.norm(x)).chunk(3, -1)
    q, k, v = (part.reshape(3, 5, 2, 8).transpose(1, 2) for part in (q, k, v))
    heads = scaled_dot_product_attention(rotated(q), rotated(k), v, is_causal=True)
    expected = layer.write(heads.transpose(1, 2).reshape(3, 5, 16))
    torch.testing.assert_close(layer(x), expected, rtol=1e-12, atol=1e-12)


def test_rotated_products_depend_on_distance_only():
    q, k = torch.randn(2, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    places = [rotated(u.expand(1, 1, 6, 8))[0, 0] for u in (q, k)]
    products = places[0] @ places[1].T
    for distance in range(-5, 6):
        diagonal = products.diagonal(distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal))
    assert products[0, 0].item() == pytest.approx((q @ k).item())


def test_nothing_looks_ahead_and_the_seed_decides():
    layer = AttentionLayer(16, 2)
    x = torch.randn(1, 5, 16, generator=torch.Generator().manual_seed(0))
    other = x.clone()
    other[:, 3:] += 1
    torch.testing.assert_close(layer(x)[:, :3], layer(other)[:, :3])
    assert not torch.equal(layer(x)[:, 3:], layer(other)[:, 3:])
    tokens, before = torch.arange(5)[None], torch.random.get_rng_state()
    one, two, three = (
        AttentionOnlyTransformer(5, 3, width=8, heads=2, seed=s)(tokens) for s in (0, 0, 1)
    )
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(one, two)
    assert not torch.equal(one, three)


def test_widths_that_do_not_divide():
    with pytest.raises(InvalidArgument, match="2 x 3 heads"):
        AttentionLayer(16, 3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_the_same_on_a_gpu():
    net, tokens = AttentionOnlyTransformer(5, 3, width=8, heads=2, seed=0), torch.arange(5)[None]
    here = net(tokens)
    torch.testing.assert_close(net.cuda()(tokens.cuda()).cpu(), here, rtol=1e-4, atol=1e-5)
