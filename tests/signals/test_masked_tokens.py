"""Hidden tokens are hidden, attention is over both axes, and what can be predicted is."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bregma.errors import InvalidArgument
from bregma.run import fit
from bregma.signals import (
    FactorisedAttention,
    MaskedTokenModel,
    hidden_token_batches,
    hide_tokens,
    masked_token_loss,
)
from bregma.signals._factorised_attention import _rotated


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def test_shares_of_hidden_blank_and_swapped_tokens():
    values = torch.randn(40, 10, 20, 4, generator=rng())
    codes = torch.zeros(40, 10, 20, 2).long()
    made = hide_tokens(values, codes, ratio=0.5, generator=rng(1))
    assert float(made.hidden.float().mean()) == pytest.approx(0.5, abs=0.03)
    assert float(made.blank[made.hidden].float().mean()) == pytest.approx(0.8, abs=0.03)
    assert not made.blank[~made.hidden].any()
    swapped = made.hidden & ~made.blank
    assert torch.equal(made.values[~swapped], values[~swapped])
    bank = values.flatten(0, 2)
    apart = torch.cdist(made.values[swapped][:50], bank).min(1).values
    assert float(apart.max()) < 1e-2  # each one is another token of the batch


def test_a_blank_token_cannot_be_seen():
    model = MaskedTokenModel(4, 3, 2, 8, width=16, seed=0)
    values = torch.randn(2, 3, 6, 4, generator=rng())
    blank = torch.zeros(2, 3, 6).bool()
    blank[0, 1, 2] = True
    other = values.clone()
    other[0, 1, 2] = 9.0
    torch.testing.assert_close(model(values, blank), model(other, blank))
    assert not torch.allclose(model(values), model(other))


def test_sources_and_times_reach_each_other_and_windows_do_not():
    block = FactorisedAttention(16, 2)
    x = torch.randn(2, 3, 6, 16, generator=rng())
    y = x.clone()
    y[0, 1, 2] += 1.0
    moved = (block(x) - block(y)).abs().sum(-1) > 1e-6
    assert moved[0, 1].all()  # along time
    assert moved[0, :, 2].all()  # along sources
    assert not moved[1].any()
    assert not moved[0, 0, [0, 1, 3, 4, 5]].any()  # one block reaches along its axes only


def test_rotary_products_depend_on_the_distance_only():
    q, k = (torch.randn(8, generator=rng(s)) for s in (0, 1))
    turned = [_rotated(x.expand(10, 8)) for x in (q, k)]
    product = turned[0] @ turned[1].T
    for shift in range(-9, 10):
        diagonal = product.diagonal(shift)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), atol=1e-4, rtol=1e-4)
    assert product[0, 0] == pytest.approx(float(q @ k), rel=1e-5)


def test_time_has_an_order_and_sources_are_told_apart():
    model = MaskedTokenModel(4, 3, 1, 8, width=16, seed=0)
    values = torch.randn(1, 1, 6, 4, generator=rng()).expand(1, 3, 6, 4)
    made = model(values)
    assert not torch.allclose(made[0, 0], made[0, 1])  # same input, another source
    turned = model(values.flip(2)).flip(2)
    assert not torch.allclose(turned, made, atol=1e-4)


def test_predictable_tokens_are_predicted_and_shuffled_ones_are_not():
    """Sources repeat one code over time, so one seen token tells the others."""
    n_codes, table = 6, torch.nn.functional.normalize(torch.randn(6, 8, generator=rng()), dim=-1)
    codes = torch.randint(n_codes, (100, 2, 1, 1), generator=rng(1)).expand(100, 2, 8, 1)
    mixed = codes.flatten()[torch.randperm(codes.numel(), generator=rng(2))].view_as(codes)
    scores = []
    for data in (codes, mixed):
        values = table[data[..., 0]]
        model = MaskedTokenModel(8, 2, 1, n_codes, width=16, n_heads=2, seed=0)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
        batches = hidden_token_batches(values[:75], data[:75], size=25)
        fit(model, masked_token_loss, batches, optimizer=optimizer, epochs=30, seed=0)
        test = hide_tokens(values[75:], data[75:], generator=rng(3))
        with torch.no_grad():
            scores.append(float(masked_token_loss(model, test)))
    assert scores[0] < 0.5
    assert scores[1] > 0.9 * np.log(n_codes)


def test_features_are_unit_vectors_and_seeds_repeat():
    values = torch.randn(2, 3, 5, 4, generator=rng())
    a, b, c = (MaskedTokenModel(4, 3, 2, 8, width=16, seed=s) for s in (0, 0, 1))
    torch.testing.assert_close(a.features(values).norm(dim=-1), torch.ones(2, 3, 5))
    torch.testing.assert_close(a(values), b(values))
    assert not torch.allclose(a(values), c(values))


def test_bad_input(unchecked_types):
    values, codes = torch.zeros(2, 3, 5, 4), torch.zeros(2, 3, 5, 1).long()
    with pytest.raises(InvalidArgument, match="ratio"):
        hide_tokens(values, codes, ratio=0.0, generator=rng())
    with pytest.raises(InvalidArgument, match="other tokens"):
        hide_tokens(values, codes[:1], generator=rng())
    with pytest.raises(InvalidArgument, match="depth 2"):
        MaskedTokenModel(4, 3, 1, 8, depth=1, seed=0)
    with pytest.raises(InvalidArgument, match="divide the width"):
        MaskedTokenModel(4, 3, 1, 8, width=20, n_heads=2, seed=0)
    with pytest.raises(InvalidArgument, match="tokens must be"):
        MaskedTokenModel(4, 2, 1, 8, seed=0)(values)
