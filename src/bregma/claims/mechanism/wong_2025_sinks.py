"""Secondary attention sinks are made by perceptrons, and how much these write sets their life."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor

from bregma.claims import Curve, Expect, Paper, claim
from bregma.datasets import PlantedSinks, planted_sinks
from bregma.mechanism import (
    AttentionSinks,
    RescaleAlong,
    attention_sinks,
    edited_answers,
    sink_writings,
)
from bregma.nn import CausalTransformer
from bregma.run import derive

Edits = Mapping[int, Callable[[Tensor], Tensor]]
PLACE, LAYER = 5, 2  # where doses are written
LARGE = 30.0  # what perceptrons write to make a sink is longer


def attention_while(found: AttentionSinks, world: PlantedSinks) -> float:
    """What planted sinks get while they should be sinks, by uniform attention."""
    inputs, tokens = np.nonzero(world.created > 1)
    layer = np.arange(found.scores.sizes["layer"])
    begin = world.created[inputs, tokens][:, None]
    there = (layer > begin) & (layer <= begin + world.lifetime[inputs, tokens][:, None])
    scores = (
        found.scores.values[inputs, :, tokens] / np.maximum(found.uniform[tokens], 1e-9)[:, None]
    )
    return float(scores[there & (tokens < found.scores.sizes["token"] - 1)[:, None]].mean())


def elsewhere(world: PlantedSinks) -> Edits:
    """The same length on the same tokens, along a direction that nothing reads."""

    def turn(written: Tensor) -> Tensor:
        length = written.norm(dim=-1, keepdim=True)
        return torch.where(length > LARGE, length * world.idle, written)

    return {int(layer): turn for layer in set(world.created[world.created > 1])}


def dosed(world: PlantedSinks, dose: float) -> tuple[float, float]:
    """Attention and lifetime of an ordinary token on which so much is written."""

    def write(written: Tensor) -> Tensor:
        more = written.clone()
        more[:, PLACE] += dose * world.direction
        return more

    found = attention_sinks(world.net, world.tokens, edits={LAYER: write})
    scores = found.scores.values[:, LAYER + 1 : found.span[1] + 1, PLACE]
    return float(scores.mean() / found.uniform[PLACE]), float(found.lifetime[:, PLACE].mean())


def divergence(world: PlantedSinks, edits: Edits) -> float:
    """How far answers at ordinary tokens change (nats)."""
    before, after = (
        edited_answers(world.net, world.tokens, e).log_softmax(-1) for e in ({}, edits)
    )
    ordinary = torch.from_numpy(world.created < 0)
    return float((before.exp() * (before - after)).sum(-1)[ordinary].mean())


@claim(
    paper=Paper(
        title="On the Existence and Behaviour of Secondary Attention Sinks",
        authors="Jeffrey T. H. Wong, Cheng Zhang, Louis Mahon, Wayne Luk, Anton Isopoussu, "
        "Yiren Zhao",
        year=2025,
        arxiv="2512.22213",
    ),
    sentence="Tokens become attention sinks in the middle of a network where a perceptron writes "
    "much of the primary sink's direction on them; how much sets the attention and the life of "
    "the sink, and with less of it the sink is gone.",
    systems="transformers of 12 layers and 4 heads with random weights and planted sinks of three "
    "kinds, whose layers and lifetimes are known",
    controls={
        "idle_attention": "attention of the same tokens, given as long a vector that nothing reads",
        "without": "secondary sinks found in networks in which none are planted",
        "untrained": "networks of random weights in which a primary sink is found",
        "silenced": "change of other tokens' answers if these perceptrons write nothing at all",
        "primary_alone": "attention of the primary sink in a network without secondary ones",
    },
    expects=[
        Expect(
            measure="attention",
            above="idle_attention",
            times=3,
            says="Secondary sinks draw attention, as long vectors of another direction do not",
        ),
        Expect(
            measure="idle_attention", below=1.2, says="which get no more than uniform attention"
        ),
        Expect(
            measure="recovered",
            above=0.95,
            says="The layer that makes a sink and its lifetime are found exactly",
        ),
        Expect(
            measure="false_alarms", below=0.01, says="and hardly any other token is taken for one"
        ),
        Expect(
            measure="dose_attention",
            above=0.9,
            says="The more is written, the more attention a sink draws",
        ),
        Expect(measure="dose_life", above=0.85, says="and the longer it lasts"),
        Expect(
            measure="late_gain",
            below="early_gain",
            by=0.3,
            says="until norms take over: twice as much then adds little attention",
        ),
        Expect(
            measure="left",
            below=0.05,
            says="Given a small norm, what is written along the direction makes no sink",
            paper="rescales to a norm of 100 in models whose outputs there are thousands long",
        ),
        Expect(
            measure="side_effect",
            below="silenced",
            times=0.2,
            says="and little else changes",
        ),
        Expect(
            measure="primary_attention",
            below="primary_alone",
            times=0.9,
            says="The primary sink weakens where there are secondary ones",
        ),
    ],
    smoke={"n": 4, "doses": (4.0, 16.0, 64.0, 128.0)},
    check={
        "n": 24,
        "doses": (6.0, 8.0, 10.0, 12.0, 14.0, 16.0, 18.0, 20.0, 24.0, 32.0, 64.0, 128.0),
    },
    full={"n": 512, "doses": tuple(float(2 ** (i / 4)) for i in range(8, 41))},
    seeds=(1, 2, 3, 4, 5),
    equations=[
        r"|\cos(h_t^l, h_b^l)| > 0.9, \qquad "
        r"S_t^l = \frac{1}{H (T - t)} \sum_h \sum_{q > t} A^{l,h}_{qt}",
        r"m_t^l = c \, d^l, \qquad m_t^l \to \rho \, \frac{m_t^l}{\lVert m_t^l \rVert}"
        r"\;\text{ if } \cos(m_t^l, d^l) > 0.9",
    ],
    use="""
from bregma.datasets import planted_sinks
from bregma.mechanism import RescaleAlong, attention_sinks, sink_writings

world = planted_sinks(8, seed=0)
model, tokens = world.net, world.tokens  # yours: GPT-2, Llama, Qwen ... and tokenized texts
sinks = attention_sinks(model, tokens)
print(sinks.span, sinks.to_frame().groupby(["kind", "created", "lifetime"]).size())
for layer, one in sink_writings(model, tokens, sinks).items():
    without = {layer: RescaleAlong(one.direction, norm=1.0, cosine=0.9)}
    print(layer, one.explained, attention_sinks(model, tokens, edits=without).lifetime.sum())
""",
)
def wong_2025_sinks(*, seed: int, n: int, doses: tuple[float, ...]) -> dict[str, float | Curve]:
    world = planted_sinks(n, seed=seed)
    plain = planted_sinks(n, n_kinds=0, seed=seed)
    random = CausalTransformer(40, 24, 64, heads=4, layers=12, seed=derive(seed, "untrained"))
    found, bare = (attention_sinks(w.net, w.tokens) for w in (world, plain))
    secondary, ordinary = world.created > 1, world.created < 0
    right = (found.created == world.created) & (found.lifetime == world.lifetime)

    writings = sink_writings(world.net, world.tokens, found)
    made_by = sorted(set(world.created[secondary].tolist()))
    small = {
        i: RescaleAlong(writings[i].direction, norm=1.0, cosine=0.9)
        for i in made_by
        if i in writings
    }
    rescaled = attention_sinks(world.net, world.tokens, edits=small)
    idle = attention_sinks(world.net, world.tokens, edits=elsewhere(world))
    attention, life = np.array([dosed(plain, dose) for dose in doses]).T
    # From a dose to the one after it, at the steepest and at the last.
    slope = np.diff(attention) / np.diff(np.log2(doses))
    shared = slice(max(made_by) + 1, found.span[1] + 1)
    return {
        "attention": attention_while(found, world),
        "idle_attention": attention_while(idle, world),
        "recovered": float(right[secondary].mean()),
        "false_alarms": float((found.created[ordinary] >= 0).mean()),
        "without": float((bare.created[:, 1:] >= 0).mean()),
        "untrained": float(attention_sinks(random, world.tokens).primary >= 0),
        "dose_attention": float(spearmanr(doses, attention).statistic),
        "dose_life": float(spearmanr(doses, life).statistic),
        "early_gain": float(slope.max()),
        "late_gain": float(slope[-1]),
        "left": float((rescaled.created[secondary] >= 0).mean()),
        "left_attention": attention_while(rescaled, world),
        "side_effect": divergence(world, small),
        "silenced": divergence(world, dict.fromkeys(made_by, torch.zeros_like)),
        "primary_attention": float(found.scores.values[:, shared, 0].mean()),
        "primary_alone": float(bare.scores.values[:, shared, 0].mean()),
        "attention of a dose": Curve(doses, attention, "dose", "attention (uniform = 1)"),
        "lifetime of a dose": Curve(doses, life, "dose", "lifetime (layers)"),
    }
