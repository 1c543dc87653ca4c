"""Heads restricted to few directions, compared with hooks on the model and scikit-learn's PCA."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from small_nets import net, of_transformers, pairs

from bregma.errors import InvalidArgument, UnknownName
from bregma.mechanism import head_subspaces

PLACES = [1, 3, 4]
SLOTS = {"q": "query", "k": "key", "v": "value"}


def tokens(n, seed=0):
    return pairs(n, seed).clean


def features(model, layer, slot, inputs):
    """Of all heads: (input, head, token, feature)."""
    found = []
    part = model.get_submodule(f"blocks.{layer}.{SLOTS[slot]}")
    handle = part.register_forward_hook(lambda module, args, out: found.append(out.clone()))
    with torch.no_grad():
        model(inputs)
    handle.remove()
    return found[0]


def by_hooks(model, inputs, projections):
    """Answers of the model whose features are changed while it runs."""
    handles = []
    for (layer, head, slot), (pca, places) in projections.items():

        def hook(module, args, out, pca=pca, head=head, places=places):
            out = out.clone()
            x = out[:, head, places]
            low = pca.inverse_transform(pca.transform(x.flatten(0, 1).double().numpy()))
            out[:, head, places] = torch.from_numpy(low).to(x).reshape(x.shape)
            return out

        part = model.get_submodule(f"blocks.{layer}.{SLOTS[slot]}")
        handles.append(part.register_forward_hook(hook))
    with torch.no_grad():
        answers = model(inputs)[:, -1]
    for handle in handles:
        handle.remove()
    return answers


def test_as_principal_components_and_hooks():
    model, shown, new = net(), tokens(40), tokens(9, seed=1)
    found = head_subspaces(model, shown, ["1.h0", "2.h1"], PLACES, rank=2, batch_size=7)
    projections = {}
    for layer, head in ((1, 0), (2, 1)):
        for slot in SLOTS:
            places = [5] if slot == "q" else PLACES
            x = features(model, layer, slot, shown)[:, head, places].flatten(0, 1)
            pca = PCA(2).fit(x.double().numpy())
            projections[layer, head, slot] = pca, places
            got = found.explained.sel(head=f"{layer}.h{head}", slot=slot)
            assert got == pytest.approx(pca.explained_variance_ratio_.sum(), abs=1e-6)
    with torch.no_grad():
        free = model(new)[:, -1]
    for slots in ("q", "kv", "qkv"):
        chosen = {name: p for name, p in projections.items() if name[2] in slots}
        want = by_hooks(model, new, chosen)
        got = found.only(slots).run(model, new, PLACES, batch_size=4)
        torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-4)
        assert (got - free).abs().max() > 0.01  # something was taken away


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_all_directions_change_nothing_in_models_of_transformers(transformers, family):
    """Llama's heads share keys and values, and turn them by their positions."""
    model = of_transformers(transformers, family)
    inputs = tokens(12)
    with torch.no_grad():
        free = model(inputs).logits[:, -1]
    heads = ["0.h1", "1.h2", "1.h3"]
    whole = head_subspaces(model, inputs, heads, PLACES, rank=8)
    torch.testing.assert_close(whole.run(model, inputs, PLACES), free, atol=1e-4, rtol=1e-4)
    np.testing.assert_allclose(whole.explained, 1, atol=1e-6)
    few = head_subspaces(model, inputs, heads, PLACES, rank=1)
    assert (few.run(model, inputs, PLACES) - free).abs().max() > 0.01


def test_places_of_each_input():
    model, inputs = net(), tokens(12)
    for_all = head_subspaces(model, inputs, ["1.h1"], PLACES, rank=2)
    each = torch.tensor(PLACES).expand(12, 3)
    for_each = head_subspaces(model, inputs, ["1.h1"], each, rank=2)
    moved = head_subspaces(model, inputs, ["1.h1"], (each + torch.arange(12)[:, None]) % 5, rank=2)
    here = for_all.run(model, inputs, PLACES)
    torch.testing.assert_close(for_each.run(model, inputs, each, batch_size=5), here)
    assert (moved.run(model, inputs, PLACES) - here).abs().max() > 1e-3


@settings(max_examples=8)
@given(rank=st.integers(1, 7), seed=st.integers(0, 99))
def test_directions(rank, seed):
    found = head_subspaces(net(), tokens(20, seed), ["1.h0"], PLACES, rank=rank)
    more = head_subspaces(net(), tokens(20, seed), ["1.h0"], PLACES, rank=rank + 1)
    assert (more.explained >= found.explained).all()
    random = found.random(seed=seed)
    for name, one in found.directions.items():
        other = random.directions[name]
        for basis in (one.basis, other.basis):
            torch.testing.assert_close(basis.T @ basis, torch.eye(rank).double())
        x = torch.randn(5, 8, dtype=torch.float64)
        torch.testing.assert_close(one(one(x)), one(x))  # a projection
        torch.testing.assert_close(other(one.centre), one.centre)
        assert other.explained == rank / 8


def test_random_directions_follow_from_their_seed():
    found = head_subspaces(net(), tokens(20), ["0.h0", "1.h0"], PLACES, rank=3)
    one, same, other = (found.random(seed=s).run(net(), tokens(5), PLACES) for s in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.allclose(one, other)
    q, k = (found.random(seed=0).directions["0.h0", slot].basis for slot in "qk")
    assert not torch.allclose(q, k)


def test_errors():
    model, shown = net(), tokens(10)
    with pytest.raises(UnknownName, match=r"1\.h1"):
        head_subspaces(model, shown, ["1.h7"], PLACES)
    with pytest.raises(InvalidArgument, match="no head"):
        head_subspaces(model, shown, [], PLACES)
    for places in ([], [0.5], np.zeros((3, 2), int), [[[1]]]):
        with pytest.raises(InvalidArgument, match="whole numbers"):
            head_subspaces(model, shown, ["1.h1"], places)
    with pytest.raises(InvalidArgument, match="6 tokens"):
        head_subspaces(model, shown, ["1.h1"], [6])
    for rank in (0, 9):
        with pytest.raises(InvalidArgument, match="rank"):
            head_subspaces(model, shown, ["1.h1"], PLACES, rank=rank)
    with pytest.raises(InvalidArgument, match="batch_size"):
        head_subspaces(model, shown, ["1.h1"], PLACES, batch_size=0)
    found = head_subspaces(model, shown, ["2.h1"], PLACES)
    with pytest.raises(InvalidArgument, match="no subspaces"):
        found.only("x")
    with pytest.raises(UnknownName):
        found.run(net(layers=2), shown, PLACES)
    with pytest.raises(InvalidArgument, match="4 features"):
        found.run(net(heads=4), shown, PLACES)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda_gives_what_the_cpu_gives():
    found = head_subspaces(net().cuda(), tokens(20).cuda(), ["1.h0"], PLACES, rank=2)
    here = head_subspaces(net(), tokens(20), ["1.h0"], PLACES, rank=2)
    np.testing.assert_allclose(found.explained, here.explained, atol=1e-4)
    got = found.run(net().cuda(), tokens(5).cuda(), PLACES).cpu()
    torch.testing.assert_close(got, here.run(net(), tokens(5), PLACES), atol=1e-3, rtol=1e-3)
