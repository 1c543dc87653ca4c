"""Wired networks do their tasks, and their circuits are what cutting every single edge finds.

The edges are cut by a small run of its own: loops over heads, with the weights of the network.
"""

from __future__ import annotations

import pytest
import torch

from bregma.datasets import wired_families, wired_induction, wired_scenes
from bregma.errors import InvalidArgument, UnknownName


def contributions(net, tokens, instead=(), known=()):
    """What every node adds to the stream, and the scores at the end.

    `instead` has edges and what they carry in place of what the sender adds. Nodes whose
    contributions are known are not computed again.
    """
    added = {"embed": net.embed(tokens)}

    def arrives(receiver):
        x = sum(added.values())
        for (sender, to), other in dict(instead).items():
            if to == receiver:
                x = x + other - added[sender]
        return x

    def head(name, block, h):
        read = block.query_key_value.weight.unflatten(0, (3, block.heads, -1))[:, h]
        q, k, v = (arrives(f"{name}.{part}") @ w.T for part, w in zip("qkv", read, strict=True))
        score = q @ k.transpose(1, 2) / q.shape[-1] ** 0.5
        later = torch.ones(score.shape[1:]).triu(1).bool()
        z = score.masked_fill(later, float("-inf")).softmax(-1) @ v
        return z @ block.project.weight.unflatten(1, (block.heads, -1))[:, h].T

    for b, block in enumerate(net.blocks):
        names = [f"{b}.h{h}" for h in range(block.heads)]
        added |= {
            name: known[name] if name in known else head(name, block, h)
            for h, name in enumerate(names)
        }
        mlp = f"{b}.mlp"
        if mlp in known:
            added[mlp] = known[mlp]
        else:
            hidden = torch.nn.functional.gelu(block.widen(arrives(mlp)))
            added[mlp] = hidden @ block.narrow.weight.T
    return added, net.unembed(arrives("logits"))[:, -1]


def all_edges(net):
    senders, found = ["embed"], []
    for b, block in enumerate(net.blocks):
        heads = [f"{b}.h{h}" for h in range(block.heads)]
        found += [(s, f"{head}.{part}") for s in senders for head in heads for part in "qkv"]
        senders += heads
        found += [(s, f"{b}.mlp") for s in senders]
        senders.append(f"{b}.mlp")
    return found + [(s, "logits") for s in senders]


def lead(scores, pairs):
    rows = torch.arange(len(pairs))
    return scores[rows, pairs.right] - scores[rows, pairs.wrong]


@torch.no_grad()
def cut(wired, task, edges):
    """Scores where edges carry what the corrupt prompt makes of them; clean ones without any."""
    net, pairs = wired.net, wired.tasks[task]
    spoiled, _ = contributions(net, pairs.corrupt)
    clean, scores = contributions(net, pairs.clean)
    torch.testing.assert_close(scores, net(pairs.clean)[:, -1], atol=1e-3, rtol=0)
    yield scores
    for group in edges:
        first = min(receiver.split(".")[0] for _, receiver in group)
        known = {s: x for s, x in clean.items() if first == "logits" or s.split(".")[0] < first}
        instead = {edge: spoiled[edge[0]] for edge in group}
        yield contributions(net, pairs.clean, instead, known)[1]


def check_circuit(wired, task):
    """Cutting an edge of the circuit costs 0.4 of the lead or more; no other changes a score."""
    edges, circuit, pairs = all_edges(wired.net), wired.circuits[task], wired.tasks[task]
    assert circuit <= set(edges)
    clean, *after = cut(wired, task, [{edge} for edge in edges])
    for edge, scores in zip(edges, after, strict=True):
        if edge in circuit:
            assert (1 - lead(scores, pairs) / lead(clean, pairs)).min() > 0.4, edge
        else:
            torch.testing.assert_close(scores, clean, atol=1e-3, rtol=0, msg=str(edge))


def accuracy(wired, task):
    task = wired.tasks[task].task()
    return task.accuracy(wired.net(task.inputs)[:, -1])


@pytest.mark.parametrize("task", ["indirect_object", "colored_objects"])
def test_circuits_of_scenes(task):
    check_circuit(wired_scenes(2, n_heads=2, seed=1), task)


def test_circuit_among_distractors():
    check_circuit(wired_scenes(1, n_heads=3, seed=0), "indirect_object")


def test_circuit_of_induction():
    check_circuit(wired_induction(8, n_pairs=3, n_heads=3, seed=0), "induction")


@pytest.mark.parametrize("task", ["licensing", "capital"])
def test_circuits_of_families(task):
    check_circuit(wired_families(2, n_heads=3, seed=0), task)


def test_scenes_are_solved_and_need_good_aim():
    wired, blind = wired_scenes(50, seed=3), wired_scenes(50, misaimed=True, seed=3)
    assert accuracy(wired, "indirect_object") == accuracy(wired, "colored_objects") == 1
    assert accuracy(blind, "indirect_object") == 0
    assert 0.15 < accuracy(blind, "colored_objects") < 0.55
    pairs = wired.tasks["indirect_object"]
    assert lead(wired.net(pairs.corrupt)[:, -1], pairs).abs().max() < 1e-3


def test_five_of_24_heads():
    wired = wired_scenes(50, n_heads=6, seed=0)
    assert len(wired.roles) == 24
    assert accuracy(wired, "indirect_object") == 1
    names, colors = map(wired.heads, wired.tasks)
    assert len(names) == len(colors) == 5
    assert {wired.roles[head] for head in names ^ colors} == {"inhibition", "gatherer"}
    with pytest.raises(UnknownName, match="indirect_object"):
        wired.heads("indirect")


@pytest.mark.parametrize("n_pairs", [3, 12])
def test_induction_is_solved(n_pairs):
    wired = wired_induction(50, n_pairs=n_pairs, seed=n_pairs)
    assert accuracy(wired, "induction") == 1
    pairs = wired.tasks["induction"]
    assert torch.equal(wired.net(pairs.corrupt)[:, -1].argmax(-1), pairs.wrong)


@pytest.mark.parametrize(("copies", "n_heads"), [(1, 2), (3, 8)])
def test_families_are_solved(copies, n_heads):
    wired = wired_families(50, copies=copies, n_heads=n_heads, seed=2)
    assert len(wired.tasks) == 6
    for task, pairs in wired.tasks.items():
        assert accuracy(wired, task) == 1
        assert pairs.name == task
        assert lead(wired.net(pairs.corrupt)[:, -1], pairs).abs().max() < 1e-3
    assert len(set(wired.circuits.values())) == 2
    formal, functional = wired.circuits["gender"], wired.circuits["binding"]
    assert not formal & functional


@pytest.mark.parametrize(
    ("task", "heads"), [("agreement", "carrier agreer"), ("capital", "previous matcher")]
)
def test_one_copy_of_each_head_is_enough(task, heads):
    """Cut all edges but those along one copy: the strong one of the task, and that of another."""
    wired = wired_families(2, copies=3, n_heads=6, seed=0)
    pairs, circuit = wired.tasks[task], wired.circuits[task]

    def is_copy(end, copy):
        role = wired.roles.get(".".join(end.split(".")[:2]), f" {copy}")
        return role.endswith(f" {copy}") and not role.startswith("distractor")

    everything = set(all_edges(wired.net))
    alone = [
        everything - {edge for edge in circuit if all(is_copy(end, copy) for end in edge)}
        for copy in range(3)
    ]
    clean, without, *alone = cut(wired, task, [everything, *alone])
    assert lead(without, pairs).abs().max() < 0.01
    for scores in alone:
        assert (lead(scores, pairs) / lead(clean, pairs)).min() > 0.88
    # No single edge matters, except those that all copies go through.
    clean, *after = cut(wired, task, [{edge} for edge in sorted(circuit)])
    kept = [bool((lead(scores, pairs) / lead(clean, pairs)).min() > 0.95) for scores in after]
    assert kept == [receiver != "logits" for _, receiver in sorted(circuit)]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: wired_scenes(0, seed=0), "n must be"),
        (lambda: wired_scenes(n_heads=1, seed=0), "takes 2"),
        (lambda: wired_scenes(strength=4.0, seed=0), "strength 5 or more"),
        (lambda: wired_induction(n_pairs=2, seed=0), "n_pairs must be from 3"),
        (lambda: wired_families(copies=0, seed=0), "copies must be"),
        (lambda: wired_families(copies=3, seed=0), "takes 6"),
    ],
)
def test_what_is_wrong_is_said(make, says):
    with pytest.raises(InvalidArgument, match=says):
        make()
