"""Edges and paths are compared with a transformer written out head by head."""

# ruff: noqa: B023 (functions are called in the turn of the loop in which they are made)

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_nets import difference, net, pairs

from bregma.errors import InvalidArgument, UnknownName
from bregma.mechanism import Contrast, Graph, TransformerGraph, logit_difference, patch, path_patch

HEADS = 2


class ByHand:
    """A CausalTransformer computed from its numbers, with a say in what every receiver gets."""

    def __init__(self, model):
        self.model = model

    def head(self, block, h, query, key, value):
        w, b = block.query_key_value.weight, block.query_key_value.bias
        each = w.shape[0] // 3 // HEADS
        q, k, v = (
            block.first(x) @ w[(3 * 0 + i) * HEADS * each:][h * each : (h + 1) * each].T
            + b[i * HEADS * each :][h * each : (h + 1) * each]
            for i, x in enumerate((query, key, value))
        )  # fmt: skip
        score = q @ k.transpose(1, 2) / each**0.5
        n = score.shape[-1]
        score = score.masked_fill(torch.ones(n, n).triu(1).bool(), -torch.inf)
        return score.softmax(-1) @ v @ block.project.weight[:, h * each : (h + 1) * each].T

    @torch.no_grad()
    def run(self, tokens, get, put=lambda name, x: x):
        """get(receiver, sum of constants, sent by name) -> input; put(sender, x) -> sent."""
        sent, constants = {"embed": put("embed", self.model.embed(tokens))}, 0.0
        for i, block in enumerate(self.model.blocks):
            new = {}
            for h in range(HEADS):
                name = f"{i}.h{h}"
                ins = [get(f"{name}.{slot}", constants, sent) for slot in "qkv"]
                new[name] = put(name, self.head(block, h, *ins))
            sent = sent | new
            constants = constants + block.project.bias
            x = get(f"{i}.mlp", constants, sent)
            sent[f"{i}.mlp"] = put(
                f"{i}.mlp", block.narrow(block.hidden(block.widen(block.second(x))))
            )
        return self.model.unembed(self.model.norm(get("logits", constants, sent)))[:, -1], sent


def total(receiver, constants, sent):
    return sum(sent.values()) + constants


def subgraph_by_hand(model, asked, kept):
    """The measure where edges that are not kept carry what was sent for the corrupt prompt."""
    hand = ByHand(model)
    _, corrupt = hand.run(asked.corrupt, total)

    def get(receiver, constants, sent):
        return constants + sum(
            x if (name, receiver) in kept else corrupt[name] for name, x in sent.items()
        )

    return logit_difference(hand.run(asked.clean, get)[0], asked)


def test_subgraphs_as_by_hand():
    model, asked = net(), pairs()
    graph = TransformerGraph(model, batch_size=2)
    assert [s for s in graph.senders if s.startswith("1.")] == ["1.h0", "1.h1", "1.mlp"]
    rng = np.random.default_rng(0)
    some = [graph.joined & (rng.random(graph.joined.shape) < share) for share in (0.2, 0.5, 0.9)]
    found = graph.measure(asked, [graph.joined, graph.joined & False, *some])
    np.testing.assert_allclose(found[0], difference(model, asked.clean, asked), atol=1e-5)
    np.testing.assert_allclose(found[1], difference(model, asked.corrupt, asked), atol=1e-5)
    for kept, got in zip(some, found[2:], strict=True):
        by_hand = subgraph_by_hand(model, asked, set(graph.named(kept)))
        np.testing.assert_allclose(got, by_hand, atol=1e-5)


def test_all_edges_out_of_a_head_are_the_head():
    model, asked = net(), pairs()
    graph = TransformerGraph(model)
    cut = graph.joined.copy()
    cut[graph.senders.index("1.h0")] = False
    full, less = graph.measure(asked, [graph.joined, cut])
    by_patch = patch(model, asked, direction="noise").values.sel(layer=1, head=0)
    np.testing.assert_allclose(less - full, by_patch, atol=1e-5)


@pytest.mark.parametrize("receivers", ["logits", ["2.h0.q", "2.h1.v"], ["1.mlp"]])
@pytest.mark.parametrize("through_mlps", [True, False])
def test_path_patching_as_by_hand(receivers, through_mlps):
    model, asked = net(), pairs()
    found = path_patch(model, asked, receivers, through_mlps=through_mlps, batch_size=3)
    hand, targets = ByHand(model), [receivers] if isinstance(receivers, str) else receivers
    clean_answers, clean = hand.run(asked.clean, total)
    _, corrupt = hand.run(asked.corrupt, total)
    before = logit_difference(clean_answers, asked)
    senders = found.values["sender"].values.tolist()
    assert senders == [n for n in ("0.h0", "0.h1", "1.h0", "1.h1", "2.h0", "2.h1")
                       if receivers == "logits" or n[0] < targets[0][0]
                       or (targets == ["1.mlp"] and n[0] == "1")]  # fmt: skip
    for sender in senders:
        got = {}

        def note(receiver, constants, sent):
            got[receiver] = total(receiver, constants, sent)
            return got[receiver]

        def put(name, x):
            if name == sender:
                return corrupt[name]
            return x if through_mlps and name.endswith("mlp") else clean[name]

        hand.run(asked.clean, note, put)

        def given(receiver, constants, sent):
            if receiver in targets:
                return got[receiver]
            return total(receiver, constants, sent)

        after = logit_difference(hand.run(asked.clean, given)[0], asked)
        np.testing.assert_allclose(found.values.sel(sender=sender), after - before, atol=1e-5)


def test_path_patching_is_not_activation_patching():
    """A head that acts on the answer through another head only has no direct effect."""
    model, asked = net(layers=2), pairs()
    with torch.no_grad():  # layer 0 writes to one half of the stream, the answer reads the other
        for part in (model.blocks[0].project, model.blocks[0].narrow):
            part.weight[8:] = 0
            part.bias[8:] = 0
        model.norm = torch.nn.Identity()
        model.unembed.weight[:, :8] = 0
        model.blocks[1].narrow.weight.zero_()
    direct = path_patch(model, asked, "logits").values
    whole = patch(model, asked, direction="noise").values
    np.testing.assert_allclose(direct.sel(sender=["0.h0", "0.h1"]), 0, atol=1e-5)
    assert (np.abs(whole.sel(layer=0)).max("pair") > 0.05).all()


def test_attribution_is_exact_for_small_differences():
    """Where the prompts hardly differ, the gradient says what cutting an edge does."""
    model = net().double()
    asked = pairs(3)

    class Near(torch.nn.Module):  # two words more that hardly differ from two others
        def __init__(self):
            super().__init__()
            self.inner = model.embed
            self.table = torch.randn(6, 16, dtype=torch.float64)

        def forward(self, tokens):
            moved = self.inner(tokens % 100)
            return moved + 1e-4 * self.table * (tokens >= 100)[..., None]

    model.embed = Near()
    near = Contrast(asked.clean, asked.clean + 100, asked.right, asked.wrong)
    graph = TransformerGraph(model)
    exact = graph.attribute(near, steps=None)[graph.joined]
    for steps in (1, 4):
        fast = graph.attribute(near, steps=steps)[graph.joined]
        assert np.abs(fast - exact).max() < 2e-3 * np.abs(exact).max()


def test_what_the_embedding_sends_adds_up_to_everything():
    """Integrated gradients are complete: from corrupt to clean they sum to the difference."""
    model, asked = net(layers=2), pairs(4)
    graph = TransformerGraph(model, batch_size=3)
    scores = graph.attribute(asked, steps=200)
    whole = (difference(model, asked.clean, asked) - difference(model, asked.corrupt, asked)).mean()
    assert abs(whole) > 0.1
    assert scores[0].sum() == pytest.approx(whole.item(), abs=0.02 * np.abs(scores).max())
    assert (scores[~graph.joined] == 0).all()
    assert scores.shape == Graph.attribute(graph, asked).shape


def test_errors():
    model, asked = net(), pairs()
    graph = TransformerGraph(model)
    with pytest.raises(UnknownName, match=r"2.h0.q"):
        path_patch(model, asked, "2.h0.z")
    with pytest.raises(UnknownName, match=r"1.h1"):
        path_patch(model, asked, senders=["1.h9"])
    with pytest.raises(InvalidArgument, match="sends nothing"):
        graph.mask([("2.h0", "1.h0.q")])
    with pytest.raises(UnknownName):
        graph.mask([("2.h0", "nowhere")])
    with pytest.raises(InvalidArgument, match="steps"):
        graph.attribute(asked, steps=0)
    with pytest.raises(InvalidArgument, match="no gradients"):
        Graph.attribute(graph, asked, steps=3)
    with pytest.raises(InvalidArgument, match="shape"):
        graph.measure(asked, [np.ones((2, 2), bool)])
    edges = [("embed", "0.h0.q"), ("0.h0", "logits")]
    assert graph.named(graph.mask(edges)) == edges
