"""Parts that are taken out, compared with hooks and with ablation of single ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_nets import difference, net, pairs, wild

from bregma.errors import InvalidArgument, UnknownName
from bregma.mechanism import PartRemoval, ablate

EACH = 8
REMOVED = ["0.mlp", "1.h1", "2.h0", "2.mlp"]


def inputs_of(model, path, tokens):
    found = []
    part = model.get_submodule(path)
    handle = part.register_forward_hook(lambda module, args, out: found.append((args[0], out)))
    with torch.no_grad():
        model(tokens)
    handle.remove()
    return found[0]


def by_hooks(model, tokens, heads, mlps):
    """Answers with given activity of heads (layer, head) and perceptrons (layer)."""
    handles = []
    for (layer, head), value in heads.items():

        def gather(module, args, head=head, value=value):
            z = args[0].clone()
            z[..., head * EACH : (head + 1) * EACH] = value
            return (z,)

        project = model.blocks[layer].project
        handles.append(project.register_forward_pre_hook(gather))
    for layer, value in mlps.items():
        narrow = model.blocks[layer].narrow
        handles.append(
            narrow.register_forward_hook(lambda m, a, out, value=value: value.expand_as(out))
        )
    with torch.no_grad():
        answers = model(tokens)[:, -1]
    for handle in handles:
        handle.remove()
    return answers


@pytest.mark.parametrize("baseline", ["mean", "zero"])
def test_several_parts_as_by_hooks(baseline):
    model, tokens, reference = net(), pairs(5).clean, pairs(30, seed=1).clean
    keep = 0.0 if baseline == "zero" else 1.0
    heads = {}
    for layer, head in ((1, 1), (2, 0)):
        z = inputs_of(model, f"blocks.{layer}.project", reference)[0]
        heads[layer, head] = keep * z.mean(0)[:, head * EACH : (head + 1) * EACH]
    mlps = {i: keep * inputs_of(model, f"blocks.{i}.narrow", reference)[1].mean(0) for i in (0, 2)}
    removal = PartRemoval(model, reference, baseline=baseline, batch_size=4)
    got = removal(tokens, REMOVED)
    torch.testing.assert_close(got, by_hooks(model, tokens, heads, mlps), atol=1e-5, rtol=1e-4)
    with torch.no_grad():
        free = model(tokens)[:, -1]
    torch.testing.assert_close(removal(tokens), free, atol=1e-5, rtol=1e-4)
    assert (got - free).abs().max() > 0.1


def test_resampled_activity_is_that_of_one_other_input():
    model, tokens, reference = net(), pairs(5).clean, pairs(4, seed=1).clean
    removal = PartRemoval(model, reference, baseline="resample", seed=3)
    got = removal(tokens, ["1.h1", "2.h0"])
    z = [inputs_of(model, f"blocks.{i}.project", reference)[0] for i in (1, 2)]
    candidates = torch.stack([
        by_hooks(model, tokens, {(1, 1): z[0][k, :, EACH:], (2, 0): z[1][k, :, :EACH]}, {})
        for k in range(4)
    ])  # fmt: skip
    near = (candidates - got).abs().amax(-1).min(0)
    assert (near.values < 1e-5).all()
    assert len(set(near.indices.tolist())) > 1
    again = PartRemoval(model, reference, baseline="resample", seed=3, batch_size=2)
    torch.testing.assert_close(again(tokens, ["1.h1", "2.h0"]), got, atol=1e-6, rtol=1e-5)
    other = PartRemoval(model, reference, baseline="resample", seed=4)
    assert not torch.allclose(other(tokens, ["1.h1", "2.h0"]), got)


def test_one_part_of_models_of_transformers_as_ablation(transformers):
    """NeoX has heads and perceptrons in parallel, Llama heads that share keys."""
    sizes = {
        "num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 32, "vocab_size": 20,
        "intermediate_size": 48, "bos_token_id": 0, "eos_token_id": 0,
    }  # fmt: skip
    asked = pairs()
    for model in (
        transformers.GPTNeoXForCausalLM(transformers.GPTNeoXConfig(**sizes)),
        transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes, num_key_value_heads=2)),
    ):
        wild(model)
        removal = PartRemoval(model, asked.clean)
        before = difference(model, asked.clean, asked)
        rows = torch.arange(len(asked))
        for part, name in (("head", "0.h2"), ("mlp", "1.mlp")):
            answers = removal(asked.clean, [name])
            found = answers[rows, asked.right] - answers[rows, asked.wrong] - before
            place = {"layer": int(name[0])} | ({"head": 2} if part == "head" else {})
            np.testing.assert_allclose(
                found, ablate(model, asked, part).values.sel(place), atol=1e-4
            )


def test_errors():
    model, tokens = net(), pairs().clean
    with pytest.raises(InvalidArgument, match="baseline"):
        PartRemoval(model, tokens, baseline="median")
    with pytest.raises(InvalidArgument, match="reference"):
        PartRemoval(model, tokens, batch_size=0)
    removal = PartRemoval(model, tokens)
    assert removal.layers == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    with pytest.raises(UnknownName, match=r"1\.h1"):
        removal(tokens, ["1.h7"])
    with pytest.raises(InvalidArgument, match="token by token"):
        removal(tokens[:, :4], ["1.h1"])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda_gives_what_the_cpu_gives():
    tokens = pairs().clean
    here = PartRemoval(net(), tokens)(tokens, REMOVED)
    there = PartRemoval(net().cuda(), tokens.cuda())(tokens.cuda(), REMOVED)
    torch.testing.assert_close(there.cpu(), here, atol=1e-3, rtol=1e-3)
