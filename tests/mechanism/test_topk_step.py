"""The step that touches only the features that are on, against autograd and Adam."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch

from bregma.errors import InvalidArgument, UnknownName
from bregma.mechanism import BatchTopKCode, ReLUCode, SparseAutoencoder, TopKCode, TopKStep
from bregma.mechanism.dictionaries import _topk_cpu, _topk_step


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def step_with_autograd(sae, adam, x, y):
    loss = sae.loss(x, y)
    adam.zero_grad()
    loss.total.backward()
    adam.step()
    sae.normalise_()
    return loss.total.item(), (loss.code > 0).any(0)


@pytest.mark.parametrize("k", [1, 5, 100])
@pytest.mark.parametrize("kind", ["centred", "plain", "transcoder"])
def test_equals_autograd_with_adam(kind, k, monkeypatch):
    monkeypatch.setattr(_topk_cpu, "SLICE", 24)  # so that a batch is several slices
    settings = {"transcoder": {"n_outputs": 24}, "plain": {"centred": False}, "centred": {}}[kind]
    sae = SparseAutoencoder(32, 100, TopKCode(k), seed=0, **settings)
    with torch.no_grad():  # with W = D and k = 1 the derivatives of W are 0: rounding would decide
        sae.encoder.weight.add_(0.1 * normal(100, 32))
    other = deepcopy(sae)
    adam, also = (
        torch.optim.Adam(s.parameters(), lr=3e-3, betas=(0.8, 0.99)) for s in (sae, other)
    )
    step = TopKStep(sae, adam)
    for i in range(12):
        x = normal(64, 32, seed=i)
        y = normal(64, 24, seed=100 + i) if kind == "transcoder" else None
        loss = step(x, y)
        expected, fired = step_with_autograd(other, also, x, y)
        assert loss == pytest.approx(expected, rel=1e-5)
        assert torch.equal(step.fired, fired)
    for a, b in zip(sae.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-5)
        for moment in ("exp_avg", "exp_avg_sq", "step"):
            torch.testing.assert_close(
                adam.state[a][moment], also.state[b][moment], rtol=1e-4, atol=1e-6
            )


def test_the_optimizer_can_go_on_elsewhere():
    sae = SparseAutoencoder(8, 20, TopKCode(3), seed=0)
    adam = torch.optim.Adam(sae.parameters(), lr=1e-2)
    step, x = TopKStep(sae, adam), normal(40, 8)
    step(x)
    other = deepcopy(sae)
    also = torch.optim.Adam(other.parameters(), lr=1e-2)
    also.load_state_dict(deepcopy(adam.state_dict()))
    step(x)
    step_with_autograd(other, also, x, None)
    torch.testing.assert_close(sae.decoder, other.decoder, rtol=0, atol=1e-5)


def test_several_threads_change_nothing():
    found = []
    before = torch.get_num_threads()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        try:
            sae = SparseAutoencoder(8, 600, TopKCode(3), seed=0)
            step = TopKStep(sae, torch.optim.Adam(sae.parameters(), lr=1e-2))
            for i in range(3):
                step(normal(300, 8, seed=i))
            found.append(sae.decoder.detach().clone())
        finally:
            torch.set_num_threads(before)
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=1e-6)


@pytest.mark.skipif(not _topk_step.has_bfloat16(), reason="this CPU has no bfloat16")
def test_half_precision_chooses_and_full_precision_computes():
    sae = SparseAutoencoder(64, 200, TopKCode(8), seed=0)
    x = normal(100, 64)
    step = TopKStep(sae, torch.optim.Adam(sae.parameters(), lr=1e-3), "bfloat16")
    index, value = step._work.select(
        x, *(p.detach() for p in sae.encoder.parameters()), 8, half=True
    )
    exact = sae.encoder(x).detach()
    chosen = exact.gather(1, index.long())
    torch.testing.assert_close(value, chosen.relu(), rtol=1e-5, atol=1e-5)
    right = (sae.encode(x) > 0).gather(1, index.long())
    assert right.float().mean() > 0.95  # only near ties may go the other way
    same = deepcopy(sae)
    full = TopKStep(same, torch.optim.Adam(same.parameters(), lr=1e-3))
    assert step(x) == pytest.approx(full(x), rel=1e-2)


def test_half_precision_is_refused_where_it_would_be_slow(monkeypatch):
    monkeypatch.setattr(_topk_step, "has_bfloat16", lambda: False)
    sae = SparseAutoencoder(8, 20, TopKCode(3), seed=0)
    with pytest.raises(InvalidArgument, match="AVX512-BF16"):
        TopKStep(sae, torch.optim.Adam(sae.parameters()), "bfloat16")


def test_what_it_is_not_made_for(unchecked_types):
    sae = SparseAutoencoder(8, 20, TopKCode(3), seed=0)
    adam = torch.optim.Adam(sae.parameters())
    for dictionary, optimizer, reason in (
        (SparseAutoencoder(8, 20, ReLUCode(), seed=0), adam, "TopKCode"),
        (SparseAutoencoder(8, 20, BatchTopKCode(2), seed=0), adam, "TopKCode"),
        (deepcopy(sae).double(), adam, "float32"),
        (sae, torch.optim.SGD(sae.parameters(), lr=0.1), "Adam"),
        (sae, torch.optim.Adam(sae.parameters(), weight_decay=0.1), "Adam"),
        (sae, torch.optim.AdamW(sae.parameters()), "Adam"),
    ):
        with pytest.raises(InvalidArgument, match=reason):
            TopKStep(dictionary, optimizer)
    with pytest.raises(UnknownName):
        TopKStep(sae, adam, "float8")
    step = TopKStep(sae, adam)
    for x, y in ((normal(5, 7), None), (normal(5, 8), normal(4, 8)), (normal(5, 8), normal(5, 7))):
        with pytest.raises(InvalidArgument, match="does not fit"):
            step(x, y)
