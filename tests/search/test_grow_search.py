"""Searching by growing: what the controller sees, how likely it decides, and that it learns."""

from __future__ import annotations

import copy
import math
from collections import Counter

import pytest
import torch
from torch import nn

from bregma.errors import InvalidArgument
from bregma.search import (
    GrowthPolicy,
    GrowthSpace,
    RandomPolicy,
    grow_search,
    growth_reward,
    outline,
    wider,
)
from bregma.search._grow_search import _reinforce

LEVELS, KERNELS = (2, 4, 8), (1, 3)


def chain():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(2, 8, 1), nn.ReLU(), nn.Conv2d(8, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(12, 4), nn.ReLU(), nn.Linear(4, 5),
    ).eval()  # fmt: skip


def images():
    return torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def policy(seed=0):
    return GrowthPolicy(len(LEVELS), len(KERNELS), hidden=8, seed=seed)


def test_the_outline_by_hand():
    seen = outline(chain(), LEVELS, KERNELS)
    conv, pool, linear = 1, 2, 0
    assert seen.tokens.tolist() == [
        [conv, 0, 1], [pool, 0, 0], [conv, 2, 0], [conv, 0, 1], [pool, 0, 0], [linear, 1, 0],
    ]  # fmt: skip
    assert seen.layers == (0, 3, 4, 6, 8, 10)
    assert seen.blocks == ((0,), (2, 3), (5,))
    assert seen.may_widen.tolist() == [True, False, False, True, False, True]


@pytest.mark.parametrize("made", [policy(), RandomPolicy(len(KERNELS))])
def test_decisions_are_as_frequent_as_they_are_likely(made):
    seen, generator = outline(chain(), LEVELS, KERNELS), torch.Generator().manual_seed(1)
    with torch.no_grad():
        deep = [made.deeper(seen, generator) for _ in range(400)]
        wide = [made.wider(seen, generator) for _ in range(400)]
    every = {(b, i, k) for b, tokens in enumerate(seen.blocks) for i in range(len(tokens))
             for k in range(2)}  # fmt: skip
    assert {d.choice for d in deep} <= every
    assert {t for d in wide for t in d.choice} == {0, 3, 5}
    likely = {d.choice: float(d.log_prob.exp()) for d in deep}
    if isinstance(made, RandomPolicy):  # blocks alike, then layers in the block, then kernels
        likely = {c: 1 / 3 / len(seen.blocks[c[0]]) / 2 for c in every}
    assert sum(likely.values()) == pytest.approx(1, abs=1e-4 if len(likely) == len(every) else 0.1)
    found = Counter(d.choice for d in deep)
    assert all(abs(found[c] / 400 - p) < 5 * math.sqrt(p / 400) for c, p in likely.items())
    chances = {d.choice: float(d.log_prob.exp()) for d in wide}
    if isinstance(made, RandomPolicy):
        chances = dict.fromkeys(chances, 1 / 8)
    found = Counter(d.choice for d in wide)
    assert sum(chances.values()) == pytest.approx(1, abs=1e-4)
    assert all(abs(found[c] / 400 - p) < 5 * math.sqrt(p / 400) for c, p in chances.items())


def test_the_update_follows_the_expected_reward():
    # Over all decisions: sum of P grad(log P) R is the gradient of sum of P R.
    made, seen = policy(), outline(chain(), LEVELS, KERNELS)
    generator = torch.Generator().manual_seed(2)
    drawn = {}
    while len(drawn) < 8:
        decision = made.wider(seen, generator)
        drawn.setdefault(decision.choice, decision)
    expected = sum(d.log_prob.exp() * len(c) for c, d in drawn.items())
    slopes = torch.autograd.grad(expected, made.widen.weight, retain_graph=True)[0]
    weights = [8 * float(d.log_prob.detach().exp()) * len(c) for c, d in drawn.items()]
    loss = _reinforce([[d._replace(entropy=d.entropy * 0)] for d in drawn.values()], weights)
    found = torch.autograd.grad(loss, made.widen.weight)[0]
    torch.testing.assert_close(-found, slopes, rtol=1e-4, atol=1e-6)


def test_children_start_with_the_function_of_their_parent():
    start, x = chain().double(), images().double()
    before, state = start(x), copy.deepcopy(start.state_dict())
    space = GrowthSpace(LEVELS, KERNELS, wider=2, deeper=3, wider_noise=0.0, deeper_noise=0.0)

    def train(net, seed):
        return float((net(x) - before).abs().max() < 1e-12)

    tried = grow_search(start, train, policy(), space, episodes=2, children=3, seed=0)
    assert [t.accuracy for t in tried] == [1.0] * 6
    assert [t.episode for t in tried] == [0, 0, 0, 1, 1, 1]
    for child in tried:
        assert sum(name == "deeper" for name, *_ in child.moves) == 3
        net = start
        for name, layer, size in child.moves:
            assert len(net) >= layer
            if name == "wider":
                assert size in LEVELS
                net = wider(net, layer, size, seed=0)
            else:
                break
    for a, b in zip(state.values(), start.state_dict().values(), strict=True):
        assert (a == b).all()


def test_a_policy_learns_what_pays():
    start = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))
    space = GrowthSpace((2, 3), (1,), wider=1, deeper=0)

    def train(net, seed):  # the first layer should grow, the second one should not
        return 0.3 + 0.3 * (net[0].out_features == 3) + 0.3 * (net[2].out_features == 2)

    means = []
    for made in (GrowthPolicy(2, 1, hidden=8, seed=0), RandomPolicy(1)):
        tried = grow_search(start, train, made, space, episodes=40, children=6, rate=0.03, seed=0)
        means.append(sum(t.accuracy for t in tried[-60:]) / 60)
    assert means[0] > 0.85 > 0.7 > means[1]


def test_the_seed_decides():
    space = GrowthSpace(LEVELS, KERNELS, wider=2, deeper=2)

    def moves(seed):
        made = policy()
        made_before = copy.deepcopy(made.state_dict())
        tried = grow_search(
            chain(), lambda net, s: 0.5, made, space, episodes=1, children=3, seed=seed
        )
        assert all((a == b).all() for a, b in zip(
            made_before.values(), policy().state_dict().values(), strict=True))  # fmt: skip
        return [t.moves for t in tried]

    assert moves(1) == moves(1) != moves(2)


def test_rewards():
    assert growth_reward(0.5) == pytest.approx(1.0)
    assert growth_reward(0.0) == 0.0
    assert growth_reward(1.0) == growth_reward(0.9995) == pytest.approx(636.6, rel=1e-3)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: GrowthSpace((2,), wider=0, deeper=0), "no child"),
        (lambda: GrowthSpace((2,), wider=-1), "-1 wider"),
        (lambda: GrowthPolicy(0, 1, seed=0), "1 or more"),
        (lambda: outline(chain(), (4, 2), KERNELS), "rise"),
        (lambda: outline(nn.Sequential(nn.Linear(2, 2)), LEVELS, KERNELS), "no layer can grow"),
        (lambda: search(episodes=0), "episodes"),
        (lambda: search(accuracy=1.5), "from 0 to 1"),
        (lambda: search(accuracy=float("nan")), "from 0 to 1"),
    ],
)
def test_bad_input_is_refused(make, match):
    with pytest.raises(InvalidArgument, match=match):
        make()


def search(*, episodes=1, accuracy=0.5):
    space = GrowthSpace(LEVELS, KERNELS)
    return grow_search(
        chain(), lambda net, seed: accuracy, RandomPolicy(2), space, episodes=episodes, seed=0
    )
