"""Direct attribution and weighted attention, compared with the model's own parts read by hooks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_nets import difference, net, pairs, wild

from bregma.errors import InvalidArgument
from bregma.mechanism import Contrast, direct_attribution, path_patch, weighted_attention
from bregma.nn import CausalTransformer

HEADS, EACH = 2, 8


def heard(model, paths, tokens, output):
    """What modules get (or give) while the model runs."""
    found = {}

    def listen(path):
        def hook(module, args, out):
            found[path] = (out if output else args[0]).detach()

        return hook

    handles = [model.get_submodule(p).register_forward_hook(listen(p)) for p in paths]
    with torch.no_grad():
        model(tokens)
    for handle in handles:
        handle.remove()
    return found


def test_as_by_hand():
    model, asked = net(), pairs()
    found = direct_attribution(model, asked, batch_size=2)
    z = heard(model, [f"blocks.{i}.project" for i in range(3)], asked.clean, output=False)
    mlp = heard(model, [f"blocks.{i}.narrow" for i in range(3)], asked.clean, output=True)
    last = heard(model, ["norm"], asked.clean, output=False)["norm"][:, -1]
    sigma = (last.var(-1, unbiased=False, keepdim=True) + model.norm.eps).sqrt()
    reads = model.unembed.weight[asked.right] - model.unembed.weight[asked.wrong]

    def added(o):
        return (((o - o.mean(-1, keepdim=True)) / sigma * model.norm.weight) * reads).sum(-1)

    for i in range(3):
        for h in range(HEADS):
            own = slice(h * EACH, (h + 1) * EACH)
            o = z[f"blocks.{i}.project"][:, -1, own] @ model.blocks[i].project.weight[:, own].T
            got = found.values.sel(sender=f"{i}.h{h}")
            np.testing.assert_allclose(got, added(o).detach(), atol=1e-5)
        got = found.values.sel(sender=f"{i}.mlp")
        np.testing.assert_allclose(got, added(mlp[f"blocks.{i}.narrow"][:, -1]).detach(), atol=1e-5)
    np.testing.assert_allclose(
        found.values.sel(sender="embed"), added(model.embed(asked.clean)[:, -1]).detach(), atol=1e-5
    )
    np.testing.assert_allclose(found.total, difference(model, asked.clean, asked), atol=1e-5)


def language_models(transformers):
    sizes = {
        "num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 32, "vocab_size": 20,
        "intermediate_size": 48, "bos_token_id": 0, "eos_token_id": 0,
    }  # fmt: skip
    yield transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes, num_key_value_heads=2))
    yield transformers.GPTNeoXForCausalLM(transformers.GPTNeoXConfig(**sizes))
    yield transformers.GPT2LMHeadModel(
        transformers.GPT2Config(n_layer=2, n_head=4, n_embd=32, vocab_size=20, n_positions=16,
                                bos_token_id=0, eos_token_id=0)
    )  # fmt: skip


def test_parts_sum_to_the_measure_in_all_kinds_of_models(transformers):
    """Layer norms and root mean square norms, biases, perceptrons in parallel with heads."""
    asked = pairs(n_words=20)
    for model in language_models(transformers):
        wild(model)
        found = direct_attribution(model, asked)
        measured = difference(model, asked.clean, asked)
        np.testing.assert_allclose(found.total, measured, atol=1e-5)
        np.testing.assert_allclose(found.values.sum("sender"), measured, atol=1e-4)
        assert np.abs(found.values.sel(sender="1.h2")).max() > 0.01


def test_a_vision_transformer_with_a_class_token(timm):
    model = wild(timm.create_model(
        "vit_tiny_patch16_224", img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=3,
        num_classes=10,
    ))  # fmt: skip
    images = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    asked = Contrast(images, images.flip(0), torch.tensor([1, 2, 3]), torch.tensor([4, 5, 6]))
    found = direct_attribution(model, asked)
    with torch.no_grad():
        logits = model(images)
    measured = logits[torch.arange(3), asked.right] - logits[torch.arange(3), asked.wrong]
    np.testing.assert_allclose(found.values.sum("sender"), measured, atol=1e-4)
    pooled = wild(timm.create_model(
        "vit_tiny_patch16_224", img_size=32, patch_size=8, embed_dim=24, depth=1, num_heads=3,
        num_classes=10, class_token=False, global_pool="avg",
    ))  # fmt: skip
    with pytest.raises(InvalidArgument, match="linear in"):  # a norm behind the pooling
        direct_attribution(pooled, asked)
    with pytest.raises(InvalidArgument, match="all tokens"):
        weighted_attention(pooled, images)


def test_without_norms_it_is_path_patching_to_the_logits():
    model = wild(CausalTransformer(20, 6, 16, heads=2, layers=3, norm=torch.nn.Identity))
    asked = pairs()
    other = Contrast(asked.corrupt, asked.clean, asked.right, asked.wrong)
    direct = path_patch(model, asked, "logits", through_mlps=False).values
    before, after = (direct_attribution(model, p).values for p in (asked, other))
    np.testing.assert_allclose(
        direct, (after - before).sel(sender=direct["sender"]), rtol=1e-3, atol=1e-3
    )


def test_another_linear_measure_and_one_that_is_not():
    model, asked = net(), pairs()

    def lead(answers, pairs):
        right = answers.gather(1, pairs.right[:, None])[:, 0]
        return right - answers.mean(1)

    found = direct_attribution(model, asked, metric=lead)
    with torch.no_grad():
        measured = lead(model(asked.clean)[:, -1], asked)
    np.testing.assert_allclose(found.values.sum("sender"), measured, atol=1e-4)

    def surprise(answers, pairs):
        return -answers.softmax(-1).gather(1, pairs.right[:, None])[:, 0].square()

    with pytest.raises(InvalidArgument, match="linear in"):
        direct_attribution(model, asked, metric=surprise)


def test_weighted_attention_as_the_library_gives_attention(transformers):
    model = wild(transformers.GPT2LMHeadModel(
        transformers.GPT2Config(n_layer=2, n_head=4, n_embd=32, vocab_size=20, n_positions=16,
                                bos_token_id=0, eos_token_id=0, attn_implementation="eager")
    ))  # fmt: skip
    tokens = pairs(4).clean
    found = weighted_attention(model, tokens, batch_size=3)
    paths = [f"transformer.h.{i}.attn.c_attn" for i in range(2)]
    projected = heard(model, paths, tokens, output=True)
    with torch.no_grad():
        attentions = model(tokens, output_attentions=True).attentions
    for i in range(2):
        values = projected[paths[i]][..., 64:]
        out = model.transformer.h[i].attn.c_proj.weight
        for h in range(4):
            own = slice(8 * h, 8 * h + 8)
            length = torch.linalg.vector_norm(values[..., own] @ out[own], dim=-1)
            want = attentions[i][:, h, -1] * length
            got = found.sel(head=f"{i}.h{h}")
            np.testing.assert_allclose(got, want.detach(), rtol=1e-4, atol=1e-5)


def test_bad_batches():
    with pytest.raises(InvalidArgument, match="batch_size"):
        direct_attribution(net(), pairs(), batch_size=0)
    with pytest.raises(InvalidArgument, match="batch_size"):
        weighted_attention(net(), pairs().clean, batch_size=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda_gives_what_the_cpu_gives():
    asked = pairs()
    there = Contrast(asked.clean.cuda(), asked.corrupt.cuda(), asked.right, asked.wrong)
    for measure in (
        lambda model, p: direct_attribution(model, p).values,
        lambda model, p: weighted_attention(model, p.clean),
    ):
        np.testing.assert_allclose(measure(net().cuda(), there), measure(net(), asked), atol=1e-3)
