"""Networks of codes by hand, in GPT-2, and what their codes say about concepts by brute force."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from bregma.errors import InvalidArgument, NotIdentifiable, UnknownName
from bregma.mechanism import (
    Codebook,
    CodebookNetwork,
    common_codes,
    concept_features,
    thresholded,
)
from bregma.nn import CausalTransformer
from bregma.run import spawn_torch


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def tokens():
    return torch.randint(10, (20, 8), generator=torch.Generator().manual_seed(0))


@pytest.fixture
def transformer():
    return CausalTransformer(10, 8, 12, heads=2, layers=2, seed=0)


SITES = ["blocks.0.project", "blocks.1.narrow"]


def test_a_network_of_codes_by_hand():
    net = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))
    coded = CodebookNetwork(net, ["0"], normal(40, 3), n_codes=7, k=2, seed=0)
    x = normal(6, 3, seed=1)
    with torch.no_grad():
        hidden = net[0](x)
        book = coded.codebooks["0"].codes
        cosine = nn.functional.normalize(book, dim=1) @ nn.functional.normalize(hidden, dim=1).T
        index = cosine.T.topk(2).indices
        expected = net[2](book[index].mean(1).relu())
        torch.testing.assert_close(coded(x), expected)
        error = (book[index].mean(1) - hidden).square().sum(1).mean()
    assert torch.equal(coded.codes(x)["0"], index)
    assert coded.error.item() == pytest.approx(error.item(), rel=1e-5)
    assert len(list(coded.parameters())) == len(list(net.parameters())) + 1


def test_the_given_network_stays_as_it_is(transformer, tokens):
    before = transformer(tokens)
    names = [name for name, _ in transformer.named_modules()]
    coded = CodebookNetwork(transformer, SITES, tokens, 30, seed=0)
    adam = torch.optim.Adam(coded.parameters(), lr=1e-2)
    first = None
    for _ in range(30):
        adam.zero_grad()
        scores = coded(tokens)[:, :-1].flatten(0, 1)
        loss = nn.functional.cross_entropy(scores, tokens[:, 1:].flatten()) + 0.1 * coded.error
        first = loss.item() if first is None else first
        loss.backward()
        adam.step()
    assert loss.item() < 0.8 * first
    assert torch.equal(transformer(tokens), before)
    assert [name for name, _ in transformer.named_modules()] == names
    other = CodebookNetwork(transformer, SITES, tokens, 30, seed=0)
    other.load_state_dict(coded.state_dict())
    assert torch.equal(other(tokens), coded(tokens))


def test_as_many_codes_as_activities_change_nothing(transformer, tokens):
    some = tokens[:2]
    coded = CodebookNetwork(transformer, SITES[:1], some, 16, seed=0)
    found = []
    transformer.get_submodule(SITES[0]).register_forward_hook(lambda m, a, out: found.append(out))
    expected = transformer(some)
    coded.codebooks[SITES[0]].codes.data = found[0].detach().flatten(0, 1)
    torch.testing.assert_close(coded(some), expected)


def test_forced_codes(transformer, tokens):
    coded = CodebookNetwork(transformer, SITES, tokens, 30, seed=0).eval()
    one, two = tokens[:5], tokens[5:10]
    plain = coded(one)
    with coded.forced(coded.codes(one)):  # its own codes: nothing happens
        torch.testing.assert_close(coded(one), plain)
    patch = torch.full((5, 8, 1), -1)
    patch[:, 5] = (coded.codes(one)[SITES[1]][:, 5] + 1) % 30
    with coded.forced({SITES[1]: patch}):
        other = coded(one)
    torch.testing.assert_close(other[:, :5], plain[:, :5])  # before the place
    torch.testing.assert_close(other[:, 6:], plain[:, 6:])  # the last site: no way on
    assert not torch.allclose(other[:, 5], plain[:, 5])
    with pytest.raises(RuntimeError, match="stop"), coded.forced(coded.codes(two)):
        raise RuntimeError("stop")
    assert torch.equal(coded(one), plain)  # the codes are free again
    with pytest.raises(UnknownName), coded.forced({"blocks.0.head": patch}):
        pass
    with pytest.raises(InvalidArgument), coded.forced({SITES[0]: torch.tensor([30])}):
        pass


def test_commitment_holds_the_activity_to_its_codes():
    x = normal(4, 5).requires_grad_()
    for commitment in (0.0, 0.25, 1.0):
        layer = Codebook(5, 9, commitment=commitment, seed=0)
        output = layer(x)
        assert layer.error.item() == pytest.approx(
            (output - x).square().sum(1).mean().item(), rel=1e-5
        )
        layer.error.backward()
        slope = commitment * 2 * (x - output).detach() / 4
        torch.testing.assert_close(torch.zeros(4, 5) if x.grad is None else x.grad, slope)
        codes = torch.zeros(9, 5).index_add(0, layer.choose(x)[:, 0], 2 * (output - x).detach() / 4)
        torch.testing.assert_close(layer.codes.grad, codes)
        x.grad = None
    with pytest.raises(InvalidArgument):
        Codebook(5, 9, commitment=-1.0, seed=0)


def test_gpt2(transformers):
    ends = {"bos_token_id": 0, "eos_token_id": 0}
    config = transformers.GPT2Config(
        vocab_size=20, n_positions=8, n_embd=8, n_layer=2, n_head=2, **ends
    )
    gpt = transformers.GPT2LMHeadModel(config).eval()
    tokens = torch.randint(20, (6, 8), generator=torch.Generator().manual_seed(0))
    sites = ["transformer.h.0.attn.c_proj", "transformer.h.1.mlp.c_proj"]
    coded = CodebookNetwork(gpt, sites, tokens, 12, seed=0)
    assert coded(tokens).logits.shape == (6, 8, 20)
    assert coded.codes(tokens)[sites[1]].shape == (6, 8, 1)
    with pytest.raises(InvalidArgument, match="not a tensor"):
        CodebookNetwork(gpt, ["transformer.h.0.attn"], tokens, 12, seed=0)


def test_bad_networks(transformer, tokens):
    with pytest.raises(UnknownName):
        CodebookNetwork(transformer, ["blocks.0.projekt"], tokens, 10, seed=0)
    for sites, n_codes in (([], 10), (SITES, 1000)):
        with pytest.raises(InvalidArgument):
            CodebookNetwork(transformer, sites, tokens, n_codes, seed=0)
    unused = nn.ModuleDict({"a": nn.Linear(3, 3), "b": nn.Linear(3, 3)})
    unused.forward = unused["a"].forward
    with pytest.raises(InvalidArgument, match="does not use"):
        CodebookNetwork(unused, ["b"], normal(5, 3), 2, seed=0)
    with pytest.raises(InvalidArgument, match="first pass"):
        _ = CodebookNetwork(transformer, SITES, tokens, 10, seed=0).error


def test_the_same_seed_gives_the_same_codes(transformer, tokens):
    one, two, three = (CodebookNetwork(transformer, SITES, tokens, 10, seed=s) for s in (4, 4, 5))
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(one.codebooks[SITES[0]].codes, three.codebooks[SITES[0]].codes)


# What features say about concepts


def test_common_codes_by_hand():
    index, label = torch.tensor([5, 5, 1, 3, 1, 1]), torch.tensor([0, 0, 0, 2, 2, 2])
    assert common_codes(index, label, 4).tolist() == [5, -1, 1, -1]
    for bad in ((index[:0], label[:0], 3), (index, label, 2), (-index, label, 3)):
        with pytest.raises(InvalidArgument):
            common_codes(*bad)


def test_concepts_by_brute_force():
    rng = np.random.default_rng(0)
    concept = np.repeat([3, 5, 9], 40)
    on = rng.random((120, 7)) < 0.3
    on[:, 2] = (concept == 5) ^ (rng.random(120) < 0.1)
    found = concept_features(torch.from_numpy(on), torch.from_numpy(concept), n=5, seed=0)
    order = torch.randperm(120, generator=spawn_torch(0, "concepts")).numpy()
    halves = order[::2], order[1::2]

    def both(rows, feature, name):
        hits = (on[rows, feature] & (concept[rows] == name)).sum()
        return hits / max(on[rows, feature].sum(), 1), hits / (concept[rows] == name).sum()

    assert found.concept.tolist() == [3, 5, 9]
    for i, name in enumerate((3, 5, 9)):
        products = [np.prod(both(halves[0], feature, name)) for feature in range(7)]
        assert found.feature[i] == int(np.argmax(products))
        expected = both(halves[1], found.feature[i], name)
        assert (found.precision[i], found.recall[i]) == pytest.approx(expected)
    assert found.feature[1] == 2
    assert found.null.shape == (5, 3)
    assert found.p_value[1] == pytest.approx(1 / 6)


def test_features_that_say_nothing_are_not_significant():
    ps = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        on = torch.from_numpy(rng.random((100, 30)) < 0.5)
        concept = torch.from_numpy(np.tile([0, 1], 50))
        ps.extend(concept_features(on, concept, n=19, seed=seed).p_value)
    assert np.mean(np.array(ps) <= 0.05) < 0.2  # 5 % of 40 are 2
    assert 0.3 < np.mean(ps) < 0.7


def test_thresholds_tell_levels_apart():
    activity = torch.cat([normal(300, 1), 5 + normal(300, 1), 10 + normal(300, 1)])
    concept = torch.arange(3).repeat_interleave(300)
    on = thresholded(activity, 11)
    assert on.shape == (900, 22)
    score = concept_features(on, concept, n=3, seed=0).score
    assert score[[0, 2]].min() > 0.8  # the outer ones
    assert score[1] < 0.8  # one threshold cannot cut out the middle
    for bad, n in ((activity[:0], 3), (activity * torch.nan, 3), (activity, 0)):
        with pytest.raises(InvalidArgument):
            thresholded(bad, n)


@pytest.mark.usefixtures("unchecked_types")
def test_concepts_that_cannot_be_told():
    on, concept = torch.ones(10, 2, dtype=torch.bool), torch.arange(10) % 2
    with pytest.raises(NotIdentifiable, match="one half"):
        concept_features(on, torch.tensor([7] + [0] * 9), seed=0)
    for features, labels, n in ((on, concept, 0), (on[:5], concept, 9), (on[:, :0], concept, 9)):
        with pytest.raises(InvalidArgument):
            concept_features(features, labels, n=n, seed=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda_agrees_with_the_cpu(transformer, tokens):
    coded = CodebookNetwork(transformer, SITES, tokens, 20, seed=0)
    scores, codes = coded(tokens), coded.codes(tokens)
    there = CodebookNetwork(transformer.cuda(), SITES, tokens.cuda(), 20, seed=0)
    there.load_state_dict(coded.state_dict())
    torch.testing.assert_close(there(tokens.cuda()).cpu(), scores, rtol=1e-3, atol=1e-4)
    on = nn.functional.one_hot(codes[SITES[0]][:, 0, 0], 20).bool()
    label = torch.arange(20) % 2
    here = concept_features(on, label, n=3, seed=0)
    np.testing.assert_allclose(concept_features(on.cuda(), label, n=3, seed=0).null, here.null)
