"""Paths back from the answer, roles of heads, and attention that is overwritten."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import hypergeom
from small_nets import net, of_transformers, pairs, wild

from bregma.datasets import wired_families, wired_induction, wired_scenes
from bregma.errors import InvalidArgument, NotIdentifiable, UnknownName
from bregma.mechanism import (
    Contrast,
    TransformerGraph,
    attend,
    backward_paths,
    path_patch,
    roles,
)


@pytest.fixture(scope="module")
def scenes():
    return wired_scenes(4, n_heads=3, seed=1)


@pytest.fixture(scope="module")
def found(scenes):
    return {name: backward_paths(scenes.net, task) for name, task in scenes.tasks.items()}


def test_wired_circuits_are_found_edge_by_edge(scenes, found):
    for name, one in found.items():
        assert set(one.edges) == scenes.circuits[name]
        assert one.heads == scenes.heads(name)
    for n in (0, 1):
        wired = wired_induction(3, seed=n)
        assert (
            set(backward_paths(wired.net, wired.tasks["induction"]).edges)
            == (wired.circuits["induction"])
        )


def test_the_answer_comes_first_and_every_input_is_asked_once(scenes, found):
    steps = found["indirect_object"].steps
    assert steps[0].receivers == ("logits",)
    assert steps[0].found == tuple(h for h, role in scenes.roles.items() if role == "mover")
    asked = [receiver for step in steps for receiver in step.receivers]
    assert len(asked) == len(set(asked)) == 1 + 3 * len(scenes.heads("indirect_object"))
    table = found["indirect_object"].to_frame()
    assert list(table.columns) == ["sender", "receiver", "share"]
    assert (table["share"] > 0.4).all()


def test_overlap_is_that_of_the_hypergeometric_distribution(scenes, found):
    one, other = found["indirect_object"], found["colored_objects"]
    shared = one.overlap(other)
    assert (shared.n_shared, shared.iou) == (4, pytest.approx(4 / 6))
    assert shared.p_value == pytest.approx(hypergeom(12, 5, 5).pmf([4, 5]).sum())
    assert shared.expected == pytest.approx(25 / 12)
    fewer = replace(other, every_head=other.every_head[1:])
    with pytest.raises(InvalidArgument, match="other heads"):
        one.overlap(fewer)
    with pytest.raises(InvalidArgument, match="without heads"):
        one.overlap(replace(other, edges={}))


def test_heads_that_do_the_same_are_asked_together():
    """Two copies of a head share what is asked for, so that an edge of one alone is weaker."""
    wired = wired_families(3, copies=2, seed=0)
    one = backward_paths(wired.net, wired.tasks["agreement"], least=0.02)
    assert one.heads == wired.heads("agreement")
    assert set(one.steps[0].found) == {
        head for head, role in wired.roles.items() if role.startswith("agreer")
    }
    assert 0.01 < min(map(abs, one.edges.values())) < 0.02


def test_top_keeps_the_strongest_head(scenes):
    model, asked = net(layers=2), pairs()
    few = backward_paths(model, asked, least=1e-3, top=0.01)
    assert all(len(set(step.found) - {"embed"}) <= 1 for step in few.steps)
    effects = few.steps[0].effects.mean
    heads = [s for s in effects["sender"].values.tolist() if s != "embed"]
    assert few.steps[0].found[0] == max(heads, key=lambda s: abs(effects.sel(sender=s).item())) or (
        few.steps[0].found[0] == "embed"
    )


def test_effects_are_those_of_path_patching():
    model, asked = net(), pairs()
    one = backward_paths(model, asked, least=0.02)
    for step in one.steps:
        alone = path_patch(
            model, asked, step.receivers, step.effects.values["sender"].values.tolist()
        )
        np.testing.assert_allclose(step.effects.values, alone.values, atol=1e-6)
    for (sender, receiver), share in list(one.edges.items())[:6]:
        again = path_patch(model, asked, [receiver], [sender])
        assert share == pytest.approx(again.share.item(), abs=1e-5)


@pytest.mark.parametrize("family", ["gpt_neox", "gpt2"])
def test_a_single_path_is_an_edge_of_the_graph(transformers, family):
    """With perceptrons held, path patching of one receiver cuts one edge, in any build."""
    # In NeoX perceptrons read what the heads read.
    model = of_transformers(transformers, family, num_attention_heads=2, hidden_size=16)
    asked = pairs(3)
    graph = TransformerGraph(model)
    for receiver in ("logits", "1.mlp", "1.h0.k", "0.mlp"):
        column = graph.receivers.index(receiver)
        senders = [graph.senders[i] for i in np.flatnonzero(graph.joined[:, column])]
        cuts = [graph.joined.copy() for _ in senders]
        for i, cut in enumerate(cuts):
            cut[i, column] = False
        whole, *less = graph.measure(asked, [graph.joined, *cuts])
        paths = path_patch(model, asked, receiver, senders, through_mlps=False)
        np.testing.assert_allclose(paths.values, (np.array(less) - whole).T, atol=2e-5)


def test_a_network_that_tells_nothing_apart_is_refused():
    model = net(layers=1)
    asked = pairs()
    with pytest.raises(NotIdentifiable):
        backward_paths(model, Contrast(asked.clean, asked.clean, asked.right, asked.wrong))
    with pytest.raises(InvalidArgument, match="least"):
        backward_paths(model, asked, least=0)
    with pytest.raises(InvalidArgument, match="top"):
        backward_paths(model, asked, top=2)


def test_roles_of_wired_heads(scenes):
    where = {role: head for head, role in scenes.roles.items()}
    one, other = (roles(scenes.net, task) for task in scenes.tasks.values())
    for role, target, least in (
        ("previous", "previous", 0.99), ("duplicate", "same", 0.3),
        ("induction", "behind same", 0.3), ("inhibition", "wrong", 0.95),
        ("mover", "right", 0.95),
    ):  # fmt: skip
        looks = one.looks.sel(head=where[role]).drop_sel(target="itself")
        assert looks.idxmax("target") == target
        assert looks.max() > least
    assert one.copying.sel(head=where["mover"]) == 1
    assert one.copying.drop_sel(head=where["mover"]).max() < 0.6
    shared = scenes.heads("indirect_object") & scenes.heads("colored_objects")
    assert one.agreement(other, shared).min() > 0.7
    assert one.agreement(other, [where["inhibition"]]).item() < 0.4
    assert one.agreement(one).values == pytest.approx(np.ones(12))


def test_targets_by_hand():
    """One head of even attention: what it gives each target is known."""
    model = wild(net(layers=1, heads=1))
    with torch.no_grad():
        model.blocks[0].query_key_value.weight[:16] = 0
        model.blocks[0].query_key_value.bias[:16] = 0
    # Token 4 comes again at place 3, behind it first 7; the right answer is 7, the wrong one 5.
    tokens = torch.tensor([[4, 7, 5, 4, 9, 8]])
    asked = Contrast(tokens, tokens.flip(1), torch.tensor([7]), torch.tensor([5]))
    looks = roles(model, asked).looks.sel(head="0.h0")
    even = 1 / np.arange(1, 7)
    assert looks.sel(target="itself").item() == pytest.approx(even.mean())
    assert looks.sel(target="previous").item() == pytest.approx(even[1:].mean())
    assert looks.sel(target="same").item() == pytest.approx(1 / 4)
    assert looks.sel(target="behind same").item() == pytest.approx(1 / 4)
    assert looks.sel(target="right").item() == pytest.approx(1 / 6)
    assert looks.sel(target="wrong").item() == pytest.approx(1 / 6)


def test_copying_by_hand():
    """Attention to one token alone, what is written read out by itself."""
    model, asked = net(layers=2, heads=2), pairs(4)
    k, held = 3, list[bool]()
    answers = torch.stack([asked.right, asked.wrong], 1)
    with torch.no_grad():
        x = model.blocks[0](model.embed(asked.clean))
        block = model.blocks[1]
        v = block.query_key_value(block.first(x))[..., 32:]  # of both heads
        for prompt, place in (
            (asked.clean[..., None] == answers[:, None]).any(-1).nonzero().tolist()
        ):
            write = v[prompt, place, :8] @ block.project.weight[:, :8].T
            raised = model.unembed(model.norm(write))
            held.append(int(asked.clean[prompt, place]) in raised.topk(k).indices.tolist())
    assert held
    found_ = roles(model, asked, k=k, batch_size=3).copying.sel(head="1.h0")
    assert found_.item() == pytest.approx(np.mean(held))


def test_no_answer_in_the_prompt_is_copied_by_nobody():
    tokens = torch.tensor([[4, 7, 4, 9, 8, 6]])
    absent = Contrast(tokens, tokens.flip(1), torch.tensor([1]), torch.tensor([2]))
    found_ = roles(net(), absent)
    assert (found_.copying == 0).all()
    assert (found_.looks.sel(target=["right", "wrong"]) == 0).all()


def test_attention_that_is_overwritten():
    model, asked = net(layers=2, heads=2), pairs(5)
    plain = attend(model, asked.clean, batch_size=2)
    with torch.no_grad():
        np.testing.assert_allclose(plain.answers, model(asked.clean)[:, -1], atol=1e-5)
    np.testing.assert_allclose(plain.patterns.sum("key"), 1, atol=1e-6)
    same = attend(
        model, asked.clean, {h: plain.patterns.sel(head=h).values for h in ("0.h1", "1.h0")}
    )
    np.testing.assert_allclose(same.answers, plain.answers, atol=1e-5)
    row = np.array([0.2, 0, 0.5, 0, 0, 0.1])
    told = attend(model, asked.clean, {"0.h1": row})
    by_hand(model, asked.clean, row, told.answers)
    before = told.patterns.sel(head=["0.h0"])
    np.testing.assert_allclose(before, plain.patterns.sel(head=["0.h0"]), atol=1e-6)
    assert abs(told.patterns - plain.patterns).sel(head="1.h1").max() > 1e-3


def by_hand(model, tokens, row, answers):
    """Head 1 of layer 0 gathers at the last token what it is told to."""

    def gathered(module, args, z):
        z = z.clone()
        v = module.value_seen[:, 1]
        z[:, 1, -1] = torch.einsum("k,bkv->bv", torch.tensor(row, dtype=v.dtype), v)
        return z

    block = model.blocks[0]

    def note(_, args, v):
        block.head.value_seen = v

    hooks = [block.value.register_forward_hook(note), block.head.register_forward_hook(gathered)]
    with torch.no_grad():
        np.testing.assert_allclose(answers, model(tokens)[:, -1], atol=1e-5)
    for hook in hooks:
        hook.remove()


def test_heads_that_share_values(transformers):
    model, asked = of_transformers(transformers, "qwen2"), pairs(3)
    plain = attend(model, asked.clean)
    again = attend(model, asked.clean, {"1.h3": plain.patterns.sel(head="1.h3").values})
    np.testing.assert_allclose(again.answers, plain.answers, atol=1e-4)
    silent = attend(model, asked.clean, {"1.h3": np.zeros(6)})
    with torch.no_grad():
        weight = model.model.layers[1].self_attn.o_proj.weight
        weight[:, 24:] = 0
        np.testing.assert_allclose(silent.answers, model(asked.clean).logits[:, -1], atol=1e-4)
    assert roles(model, asked).looks.shape == (8, 6)
    assert backward_paths(model, asked, least=0.2, top=0.25).heads


def test_errors_of_attention_and_roles(timm):
    model, asked = net(layers=1), pairs()
    with pytest.raises(UnknownName, match=r"0\.h1"):
        attend(model, asked.clean, {"0.h7": np.ones(6)})
    for row in (np.ones(5), -np.ones(6), np.full(6, np.nan), np.ones((4, 6))):
        with pytest.raises(InvalidArgument, match=r"0\.h0"):
            attend(model, asked.clean, {"0.h0": row})
    with pytest.raises(InvalidArgument, match="batch_size"):
        attend(model, asked.clean, batch_size=0)
    for size in (0, -1):
        with pytest.raises(InvalidArgument, match="batch_size"):
            path_patch(model, asked, batch_size=size)
    with pytest.raises(InvalidArgument, match="k and"):
        roles(model, asked, k=0)
    with pytest.raises(UnknownName, match="head"):
        roles(model, asked).agreement(roles(model, asked), ["0.h9"])
    with pytest.raises(InvalidArgument, match="other heads"):
        roles(model, asked).agreement(roles(net(layers=2), asked))
    pooled = timm.create_model(
        "vit_tiny_patch16_224", img_size=32, depth=1, num_classes=4, global_pool="avg",
        class_token=False, fc_norm=False,
    )  # fmt: skip
    images = torch.rand(2, 3, 32, 32)
    with pytest.raises(InvalidArgument, match="all tokens"):
        attend(pooled, images)
    kinds = Contrast(images, images.flip(0), torch.tensor([0, 1]), torch.tensor([1, 0]))
    with pytest.raises(InvalidArgument, match="causal"):
        roles(pooled, kinds)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_on_a_gpu_as_on_the_cpu():
    model, asked = net(), pairs()
    here, looks = backward_paths(model, asked, least=0.02), roles(model, asked)
    told = attend(model, asked.clean, {"1.h0": np.ones(6) / 6}).answers
    there = Contrast(*(getattr(asked, n).cuda() for n in ("clean", "corrupt", "right", "wrong")))
    model = model.cuda()
    gpu = backward_paths(model, there, least=0.02)
    assert set(gpu.edges) == set(here.edges)
    np.testing.assert_allclose(roles(model, there).looks, looks.looks, atol=1e-4)
    moved = attend(model, there.clean, {"1.h0": np.ones(6) / 6}).answers
    np.testing.assert_allclose(moved.cpu(), told, atol=1e-4)
