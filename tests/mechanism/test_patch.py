"""Patching is compared with plain hooks on the model itself."""

# ruff: noqa: B023 (functions are called in the turn of the loop in which they are made)

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_nets import difference, net, pairs, wild

from bregma.errors import InvalidArgument, NotIdentifiable
from bregma.mechanism import Contrast, ablate, patch
from bregma.system import TorchSystem, untrained

TINY = {
    "num_hidden_layers": 3, "num_attention_heads": 4, "hidden_size": 32, "vocab_size": 20,
    "intermediate_size": 48,
}  # fmt: skip
GROUPED = TINY | {"num_key_value_heads": 2}
# Library's class of model and of settings, settings, and the layer that heads are written by.
FAMILIES = {
    "GPT2": ("GPT2LMHeadModel", "GPT2Config", {"n_layer": 3, "n_head": 4, "n_embd": 32,
             "vocab_size": 20, "n_positions": 16}, "transformer.h.{}.attn.c_proj"),
    "Llama": ("LlamaForCausalLM", "LlamaConfig", GROUPED, "model.layers.{}.self_attn.o_proj"),
    "Qwen2": ("Qwen2ForCausalLM", "Qwen2Config", GROUPED, "model.layers.{}.self_attn.o_proj"),
    "Qwen3": ("Qwen3ForCausalLM", "Qwen3Config", GROUPED | {"head_dim": 16},
              "model.layers.{}.self_attn.o_proj"),
    "Mistral": ("MistralForCausalLM", "MistralConfig", GROUPED,
                "model.layers.{}.self_attn.o_proj"),
    "NeoX": ("GPTNeoXForCausalLM", "GPTNeoXConfig", TINY, "gpt_neox.layers.{}.attention.dense"),
}  # fmt: skip


def with_input(model, path, change, tokens, asked):
    """The measure while the input of one layer is changed by a plain hook."""

    def hook(module, args):
        return (change(args[0]),)

    handle = model.get_submodule(path).register_forward_pre_hook(hook)
    try:
        return difference(model, tokens, asked)
    finally:
        handle.remove()


def input_of(model, path, tokens):
    found = []
    handle = model.get_submodule(path).register_forward_pre_hook(
        lambda module, args: found.append(args[0].clone())
    )
    with torch.no_grad():
        model(tokens)
    handle.remove()
    return found[0]


def swapped_head(z, other, head, n_heads):
    z = z.clone()
    own = slice(head * z.shape[-1] // n_heads, (head + 1) * z.shape[-1] // n_heads)
    z[..., own] = other[..., own]
    return z


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("direction", ["denoise", "noise"])
def test_heads_of_language_models_as_by_hooks(transformers, family, direction):
    kind, settings, numbers, path = FAMILIES[family]
    config = getattr(transformers, settings)(**numbers, bos_token_id=0, eos_token_id=0)
    model = wild(getattr(transformers, kind)(config))
    asked = pairs(n_words=20)
    found = patch(model, asked, direction=direction, batch_size=3)
    base, source = asked.corrupt, asked.clean
    if direction == "noise":
        base, source = source, base
    before = difference(model, base, asked)
    assert np.abs(found.values).max() > 0.1  # there is something to be compared
    np.testing.assert_allclose(found.total, difference(model, source, asked) - before, atol=1e-5)
    for layer in range(3):
        other = input_of(model, path.format(layer), source)
        for head in range(4):
            after = with_input(
                model, path.format(layer), lambda z: swapped_head(z, other, head, 4), base, asked
            )
            got = found.values.sel(layer=layer, head=head).values
            np.testing.assert_allclose(got, after - before, atol=1e-5)


@pytest.mark.parametrize("settings", [{}, {"class_token": False, "global_pool": "avg"},
                                      {"init_values": 0.5, "qk_norm": True}])  # fmt: skip
def test_heads_of_vision_transformers_as_by_hooks(timm, settings):
    model = timm.create_model(
        "vit_tiny_patch16_224", img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=3,
        num_classes=10, **settings,
    )  # fmt: skip
    wild(model)
    g = torch.Generator().manual_seed(1)
    clean, corrupt = torch.randn(2, 3, 3, 32, 32, generator=g)
    asked = Contrast(clean, corrupt, torch.tensor([1, 2, 3]), torch.tensor([4, 5, 6]))
    found = patch(model, asked)

    def measure(images):
        with torch.no_grad():
            logits = model(images)
        return logits[torch.arange(3), asked.right] - logits[torch.arange(3), asked.wrong]

    before = measure(corrupt)
    for layer in range(2):
        path = f"blocks.{layer}.attn.proj"
        other = input_of(model, path, clean)
        for head in range(3):
            handle = model.get_submodule(path).register_forward_pre_hook(
                lambda module, args: (swapped_head(args[0], other, head, 3),)
            )
            got = found.values.sel(layer=layer, head=head).values
            np.testing.assert_allclose(got, measure(corrupt) - before, atol=1e-4)
            handle.remove()


PLACES = {"attention": "blocks.{}.project", "mlp": "blocks.{}.narrow", "residual": "blocks.{}"}


@pytest.mark.parametrize("part", PLACES)
@pytest.mark.parametrize("tokens", [False, True])
def test_parts_as_by_hooks(part, tokens):
    model, asked = net(), pairs()
    found = patch(model, asked, part, tokens=tokens)
    before = difference(model, asked.corrupt, asked)
    for layer in range(3):
        module = model.get_submodule(PLACES[part].format(layer))
        other = []
        listen = (
            module.register_forward_pre_hook(lambda m, a: other.append(a[0]))
            if part == "residual"
            else module.register_forward_hook(lambda m, a, out: other.append(out))
        )
        difference(model, asked.clean, asked)
        listen.remove()
        for token in range(6) if tokens else [slice(None)]:

            def changed(x):
                x = x.clone()
                x[:, token] = other[0][:, token]
                return x

            handle = (
                module.register_forward_pre_hook(lambda m, a: (changed(a[0]),))
                if part == "residual"
                else module.register_forward_hook(lambda m, a, out: changed(out))
            )
            effect = difference(model, asked.corrupt, asked) - before
            handle.remove()
            place = {"layer": layer} | ({"token": token} if tokens else {})
            np.testing.assert_allclose(found.values.sel(place).values, effect, atol=1e-5)


def test_tokens_behind_a_causal_answer_have_no_effect_and_all_together_are_everything():
    model, asked = net(), pairs()
    first = patch(model, asked, "residual").values.sel(layer=0)
    np.testing.assert_allclose(first, patch(model, asked, "residual").total, atol=1e-5)


@pytest.mark.parametrize("baseline", ["mean", "zero", "resample"])
def test_ablation_as_by_hooks(baseline):
    model, asked = net(), pairs(7)
    found = ablate(model, asked, baseline=baseline, batch_size=3, seed=4)
    before = difference(model, asked.clean, asked)
    for layer in range(3):
        z = input_of(model, f"blocks.{layer}.project", asked.clean)
        if baseline == "mean":
            others = [z.mean(0, keepdim=True).expand_as(z)]
        elif baseline == "zero":
            others = [torch.zeros_like(z)]
        else:  # some other row for each: find which by the effects of all heads
            others = [z[torch.roll(torch.arange(7), k)] for k in range(1, 7)]
        for head in range(2):
            got = found.values.sel(layer=layer, head=head).values
            effects = [
                with_input(model, f"blocks.{layer}.project",
                           lambda x: swapped_head(x, other, head, 2), asked.clean, asked) - before
                for other in others
            ]  # fmt: skip
            near = np.stack([np.abs(got - e.numpy()) for e in effects]).min(0)
            assert (near < 1e-5).all()


def test_batches_change_nothing_and_the_model_is_left_alone():
    model, asked = net(), pairs()
    model.train()
    before = {name: p.clone() for name, p in model.state_dict().items()}
    one, all_ = (patch(model, asked, batch_size=n).values for n in (1, 5))
    np.testing.assert_allclose(one, all_, atol=1e-5)
    assert model.training
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in model.modules())
    assert all(torch.equal(before[n], p) for n, p in model.state_dict().items())
    assert (patch(TorchSystem(model, "."), asked).values == patch(model, asked).values).all()


def test_effects_as_a_table_and_shares():
    found = patch(net(), pairs(), "mlp")
    table = found.to_frame()
    assert table["effect"].abs().is_monotonic_decreasing
    top = table.iloc[0]
    values = found.values.sel(layer=top["layer"]).values
    assert top["effect"] == pytest.approx(values.mean())
    assert top["low"] < top["effect"] < top["high"]
    assert top["share"] == pytest.approx(values.mean() / found.total.mean())
    assert found.share.sel(layer=top["layer"]).item() == pytest.approx(top["share"])
    assert found.plot().data[0].z.shape == (3, 1)
    alone = patch(net(), pairs()[:1], "mlp").to_frame()  # one pair says nothing of others
    assert (alone["low"] == -np.inf).all()
    assert (alone["high"] == np.inf).all()


def test_evidence_compares_winners_with_winners():
    model, asked = net(layers=2), pairs(8)
    with torch.no_grad():
        model.unembed.weight *= 50
    effects = patch(model, asked, "mlp")
    found = effects.evidence(n=19, seed=0)
    assert found.score == pytest.approx(np.abs(effects.mean).max().item())
    assert found.system_null.values.shape == (19,)
    assert found.system_null.p_value == pytest.approx(0.05)
    [twin] = untrained(model, seeds=5)
    same = effects.evidence(n=19, nulls=lambda network, seed: twin, seed=0)
    np.testing.assert_allclose(
        same.system_null.values, np.abs(patch(twin, asked, "mlp").mean).max().item()
    )


def test_half_precision_and_other_errors(transformers):
    model, asked = net(), pairs()
    assert patch(model.bfloat16(), asked, "mlp").values.dtype == np.float64
    with pytest.raises(InvalidArgument, match=r"no part is called .*Patch"):
        patch(torch.nn.Linear(3, 3), asked)
    with pytest.raises(InvalidArgument, match="none of head, attention, mlp, residual"):
        patch(net(), asked, "neuron")
    with pytest.raises(InvalidArgument, match="denoise"):
        patch(net(), asked, direction="back")
    with pytest.raises(InvalidArgument, match="resample"):
        ablate(net(), asked, baseline="nothing")
    with pytest.raises(InvalidArgument, match="at least 2"):
        ablate(net(), asked[:1])
    with pytest.raises(InvalidArgument, match="batch_size"):
        patch(net(), asked, batch_size=0)
    alike = Contrast(asked.clean, asked.clean, asked.right, asked.wrong)
    with pytest.raises(NotIdentifiable, match="same answers"):
        _ = patch(net(), alike).share


def test_a_model_that_does_more_than_its_family_is_refused():
    class Capped(type(net())):
        def forward(self, tokens):
            return super().forward(tokens).tanh()

    model = net()
    model.__class__ = Capped
    with pytest.raises(InvalidArgument, match=r"does more than .*differ by"):
        patch(model, pairs())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_cuda_as_on_the_cpu():
    model, asked = net(), pairs()
    cpu = patch(model, asked).values
    there = Contrast(*(getattr(asked, n).cuda() for n in ("clean", "corrupt", "right", "wrong")))
    np.testing.assert_allclose(patch(model.cuda(), there).values, cpu, atol=1e-4)
