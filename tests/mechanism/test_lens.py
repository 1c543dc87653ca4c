"""Lenses are compared with what the libraries' own hidden states and heads give."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from small_nets import N_TOKENS, N_WORDS, net, wild
from torch import nn

from bregma.errors import InvalidArgument, NotIdentifiable
from bregma.mechanism import TunedLens, lens, tune_lens
from bregma.nn import CausalTransformer
from bregma.system import TorchSystem


def prompts(n=6, seed=1):
    g = torch.Generator().manual_seed(seed)
    return torch.randint(N_WORDS, (n, N_TOKENS), generator=g)


def gpt2(transformers):
    config = transformers.GPT2Config(
        n_layer=3, n_head=4, n_embd=32, vocab_size=N_WORDS, n_positions=16,
        bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    return wild(transformers.GPT2LMHeadModel(config))


def llama(transformers):
    config = transformers.LlamaConfig(
        num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, hidden_size=32,
        intermediate_size=48, vocab_size=N_WORDS, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    return wild(transformers.LlamaForCausalLM(config))


@pytest.mark.parametrize(("make", "norm"), [(gpt2, "transformer.ln_f"), (llama, "model.norm")])
def test_layers_as_the_library_gives_them(transformers, make, norm):
    model, tokens = make(transformers), prompts()
    found = lens(model, tokens, tokens=True, batch_size=4)
    with torch.no_grad():
        out = model(tokens, output_hidden_states=True)
        *before, _ = out.hidden_states  # the last one is normed already
        logits = [model.lm_head(model.get_submodule(norm)(h)) for h in before] + [out.logits]
    log_p = torch.stack(logits, 1).log_softmax(-1)  # (input, layer, token, answer)
    own = out.logits.argmax(-1)
    kl = (log_p[:, -1:].exp() * (log_p[:, -1:] - log_p)).sum(-1)
    wanted = log_p.gather(-1, own[:, None, :, None].expand(*log_p.shape[:-1], 1))[..., 0].exp()
    rank = (log_p.argsort(-1, descending=True) == own[:, None, :, None]).int().argmax(-1) + 1
    np.testing.assert_allclose(found.values["kl"], kl, atol=1e-5)
    np.testing.assert_allclose(found.values["probability"], wanted, atol=1e-5)
    np.testing.assert_array_equal(found.values["rank"], rank)
    np.testing.assert_array_equal(found.values["best"], log_p.argmax(-1))
    np.testing.assert_allclose(found.distribution(5), log_p[5].exp(), atol=1e-5)
    assert found.values["kl"][:, 0].max() > 0.5  # there was something to be compared
    np.testing.assert_array_equal(found.targets, own)
    last = lens(TorchSystem(model), tokens)  # the token where the answer is read
    np.testing.assert_allclose(last.values["kl"], found.values["kl"][:, :, -1], atol=1e-6)
    np.testing.assert_array_equal(last.targets, own[:, -1])


@pytest.mark.parametrize("pool", ["token", "avg"])
def test_a_vision_transformer(timm, pool):
    torch.manual_seed(0)
    vit = timm.create_model(
        "vit_tiny_patch16_224", img_size=32, depth=2, embed_dim=16, num_heads=2, num_classes=5,
        global_pool=pool,
    ).eval()  # fmt: skip
    wild(vit)
    images = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    found = lens(vit, images)
    with torch.no_grad():
        features = vit.forward_intermediates(images, norm=True, intermediates_only=True)
        assert len(features) == 2
        x = vit._pos_embed(vit.patch_embed(images))
        first = vit.forward_head(vit.norm(vit.norm_pre(x))).softmax(-1)
        last = vit(images).softmax(-1)
    for row in range(3):
        np.testing.assert_allclose(found.distribution(row)[0], first[row], atol=1e-6)
        np.testing.assert_allclose(found.distribution(row)[-1], last[row], atol=1e-6)
    if pool == "avg":
        with pytest.raises(InvalidArgument, match="tokens=True"):
            lens(vit, images, tokens=True)
    tuned = tune_lens(vit, torch.randn(12, 3, 32, 32), epochs=1, seed=0)
    assert len(tuned.score) == 2


def test_an_untrained_tuned_lens_is_the_logit_lens():
    model = net()
    plain, tuned = lens(model, prompts()), lens(model, prompts(), tuned=TunedLens(3, 16))
    np.testing.assert_array_equal(plain.values["kl"], tuned.values["kl"])


def shifted(shift: torch.Tensor) -> CausalTransformer:
    """A transformer whose only layer adds a constant, so that the right translator is known."""
    model = wild(CausalTransformer(N_WORDS, N_TOKENS, 16, heads=2, layers=1))
    block = model.blocks[0]
    with torch.no_grad():
        for part in (block.project, block.narrow):
            part.weight.zero_()
            part.bias.zero_()
        block.project.bias.copy_(shift)
    return model


def test_a_constant_layer_is_tuned_away():
    shift = torch.randn(16, generator=torch.Generator().manual_seed(3))
    model = shifted(shift)
    right = TunedLens(1, 16)
    right.bias.data[0] = shift
    exact = lens(model, prompts(), tuned=right)
    np.testing.assert_allclose(exact.values["kl"], 0, atol=1e-6)
    before = {name: p.clone() for name, p in model.named_parameters()}
    tuned = tune_lens(model, prompts(64), epochs=16, batch_size=16, learning_rate=0.05, seed=0)
    assert tuned.score["logit"][0] > 0.3
    assert tuned.score["tuned"][0] < 0.02 * tuned.score["logit"][0]
    fresh = lens(model, prompts(20, seed=9), tuned=tuned)
    assert (
        fresh.values["kl"][:, 0].mean()
        < 0.05 * lens(model, prompts(20, 9)).values["kl"][:, 0].mean()
    )
    for name, p in model.named_parameters():  # it is as it was
        assert torch.equal(p, before[name])
        assert p.requires_grad
        assert p.grad is None


def test_same_seed_same_lens():
    torch.manual_seed(1)
    a = tune_lens(net(), prompts(20), epochs=1, seed=4)
    torch.manual_seed(2)
    b, c = (tune_lens(net(), prompts(20), epochs=1, seed=seed) for seed in (4, 5))
    assert torch.equal(a.weight, b.weight)
    assert not torch.equal(a.weight, c.weight)


def test_equal_prompts_are_not_on_both_sides():
    from bregma.mechanism.readout._tuned_lens import _split

    inputs = prompts(10).repeat(3, 1)
    train, test = _split(inputs, 0.3, 0)
    assert len(train) == 21
    assert len(test) == 9
    sides = [{tuple(row) for row in inputs[side].tolist()} for side in (train, test)]
    assert not sides[0] & sides[1]


def learner():
    """Learns to say the first of its tokens again, with a layer more than it needs."""
    model = CausalTransformer(8, 4, 16, heads=2, layers=2)
    g = torch.Generator().manual_seed(0)
    x = torch.randint(8, (256, 4), generator=g)
    adam = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(80):
        loss = nn.functional.cross_entropy(model(x)[:, -1], x[:, 0])
        adam.zero_grad()
        loss.backward()
        adam.step()
    return model.eval(), x


@pytest.mark.parametrize("kind", ["logit", "tuned"])
def test_evidence_against_twins_that_learned_nothing(kind):
    model, x = learner()
    tuned = None
    if kind == "tuned":
        tuned = tune_lens(model, x[:32], epochs=1, batch_size=16, learning_rate=3e-3, seed=0)
    found = lens(model, x[32:56], tuned=tuned, targets=x[32:56, 0])
    table = found.to_frame()
    assert list(table["layer"]) == [0, 1, 2]
    assert table["first"][2] > 0.9
    assert table["kl"][2] == 0
    evidence = found.evidence(n=9, level=0.9, seed=0)
    assert evidence.score == pytest.approx(table["probability"][:2].max(), abs=1e-6)
    assert evidence.p_value == 0.1
    assert evidence.system_null.p_value == 0.1
    assert evidence.system_null.values.max() < 0.5 * evidence.score
    assert "nothing_learned" in evidence.system_null.exchanged
    if kind == "logit":
        assert found.evidence(n=9, level=0.9, seed=0) == evidence


def test_nothing_learned_is_nothing_found():
    found = lens(net(), prompts(20), targets=torch.arange(20) % N_WORDS)
    assert found.evidence(n=19, seed=0).system_null.p_value > 0.05


def test_figures_and_tables():
    by_token = lens(net(), prompts(), tokens=True)
    assert by_token.plot().data[0].z.shape == (4, N_TOKENS)
    assert len(by_token.to_frame()) == 4 * N_TOKENS
    by_layer = lens(net(), prompts())
    np.testing.assert_allclose(by_layer.plot().data[0].y, by_layer.to_frame()["kl"])
    one = by_layer.to_frame()
    assert (one["low"] <= one["kl"]).all()
    assert (one["kl"] <= one["high"]).all()
    half = stats.t.ppf(0.95, 5) * stats.sem(by_layer.values["kl"])
    table = by_layer.to_frame(level=0.9)
    np.testing.assert_allclose(table["high"] - table["kl"], half, atol=1e-6)
    alone = lens(net(), prompts(1)).to_frame()  # one input says nothing of others
    assert (alone["low"] == -np.inf).all()
    assert (alone["high"] == np.inf).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: lens(nn.Linear(2, 2), prompts()), "not read as a transformer"),
        (lambda: lens(net(), prompts(0)), "1 or more"),
        (lambda: lens(net(), prompts(), batch_size=0), "1 or more"),
        (lambda: lens(net(), prompts(), targets=[1, 2]), "shape"),
        (lambda: lens(net(), prompts(), targets=[N_WORDS] * 6), "answers are 0 to 19"),
        (lambda: lens(net(), prompts(), targets=[0.5] * 6), "numbers of answers"),
        (lambda: lens(net(), prompts(), tuned=TunedLens(2, 16)), "tuned lens is one of 2 layers"),
        (lambda: lens(net(), prompts(), tuned=TunedLens(3, 16)).evidence(n=19, seed=0), "its own"),
        (lambda: lens(net(), prompts()).to_frame(level=1.0), "level"),
        (lambda: lens(net(), prompts()).distribution(6), "0 to 5"),
        (lambda: tune_lens(net(), prompts(), held_out=1.0, seed=0), "held_out"),
        (lambda: tune_lens(net(), prompts(1), seed=0), "different inputs"),
        (lambda: TunedLens(0, 3), "1 or more"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(InvalidArgument, match=message):
        call()


def test_too_few_twins():
    with pytest.raises(NotIdentifiable, match="null systems"):
        lens(net(), prompts()).evidence(n=5, seed=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_on_cuda_as_on_the_cpu():
    here = lens(net(), prompts(), tokens=True)
    there = lens(net().cuda(), prompts(), tokens=True)
    np.testing.assert_allclose(there.values["kl"], here.values["kl"], atol=1e-4)
    tuned = [tune_lens(m, prompts(40), epochs=2, seed=0) for m in (net(), net().cuda())]
    np.testing.assert_allclose(tuned[1].score["tuned"], tuned[0].score["tuned"], rtol=1e-2)
