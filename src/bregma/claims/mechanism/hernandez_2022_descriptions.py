"""MILAN: units described in words by what their exemplars make more probable than usual."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations, permutations, product

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from bregma.claims import Curve, Expect, Paper, claim
from bregma.datasets import CaptionedScenes, captioned_scenes
from bregma.mechanism import (
    Descriptions,
    ExemplarCaptioner,
    RegionFeatures,
    SentencePrior,
    TopStimuli,
    Vocabulary,
    describe,
    described_by_chance,
    top_stimuli,
)
from bregma.recording import Recording
from bregma.run import derive, fit, minibatches, spawn
from bregma.system import Ablate, TorchSystem, untrained

WORDS = {
    "shape": ("circle", "square", "triangle", "cross"),
    "colour": ("red", "green", "blue", "yellow"),
    "texture": ("plain", "striped", "checked"),
}
ALL = {word for words in WORDS.values() for word in words} | {"tags"}
GENERIC = "some coloured shapes"  # what annotators say of anything
Concept = dict[str, tuple[str, ...]]  # attribute -> words of which one is enough


def concepts() -> dict[str, list[Concept]]:
    """What planted units can be for."""
    found: dict[str, list[Concept]] = {"and": [], "or": [], "relation": [], "tag": [{"tag": ()}]}
    for n in (1, 2, 3):
        for names in combinations(WORDS, n):
            for words in product(*(WORDS[name] for name in names)):
                found["and"].append({a: (w,) for a, w in zip(names, words, strict=True)})
    for name in ("shape", "colour"):
        found["or"] += [{name: pair} for pair in combinations(WORDS[name], 2)]
    found["relation"] = [{"above": pair} for pair in permutations(WORDS["shape"], 2)]
    return found


def phrase(concept: Concept, style: int) -> str:
    """How an annotator puts it."""
    if "tag" in concept:
        return ("white tags", "only tags", "pictures with tags")[style]
    if "above" in concept:
        return f"{('a', 'any', 'some')[style]} {' above '.join(concept['above'])}"
    said = {name: " or ".join(words) for name, words in concept.items()}
    noun = said.pop("shape", "thing")
    text = " ".join([*(said[name] for name in ("colour", "texture") if name in said), noun])
    return f"{('a', 'any', 'some')[style]} {text}"


def meaning(text: str) -> frozenset[str]:
    """The attributes in a text, and which is above which."""
    if "above" in text:
        return frozenset({text.partition(" ")[2]})
    return frozenset(text.split()) & ALL


def region(scenes: CaptionedScenes, concept: Concept) -> np.ndarray:
    """The pixels that a concept speaks of."""
    if "tag" in concept:
        return scenes.tag_regions
    if "above" not in concept:
        return scenes.covered(scenes.matching(**concept))
    upper, lower = (scenes.matching(shape=word) for word in concept["above"])
    row, column = np.divmod(scenes.attributes[..., 3], 3)
    above = (row[:, :, None] < row[:, None]) & (column[:, :, None] == column[:, None])
    pair = above & upper[:, :, None] & lower[:, None]
    return scenes.covered(pair.any(2) | pair.any(1))


def planted(scenes: CaptionedScenes, wanted: Sequence[Concept], k: int, seed: int) -> TopStimuli:
    """Exemplars of units that answer where their concept is, in half of the scenes strongly."""
    parts = []
    for first in range(0, len(wanted), 32):
        maps = []
        for i, concept in enumerate(wanted[first : first + 32], start=first):
            rng = spawn(seed, "unit", i)
            cells = region(scenes, concept).reshape(len(scenes), 10, 3, 10, 3).mean((2, 4))
            gain = rng.uniform(0.7, 1.3, len(scenes)) * np.where(
                rng.random(len(scenes)) < 0.5, 1, 0.3
            )
            noise = 0.05 * rng.standard_normal(cells.shape)
            maps.append(gain[:, None, None] * cells + noise)
        values = np.stack(maps, 1).astype(np.float32)
        where = np.indices(values.shape[1:]).reshape(3, -1)
        table = dict(zip(("channel", "row", "column"), where, strict=True))
        table |= {"layer": np.full(where.shape[1], f"p{first}")}
        table |= {"unit": np.array([f"p{first}/c{c}/y{y}/x{x}" for c, y, x in where.T])}
        recording = Recording.from_array(values.reshape(len(scenes), -1), unit=table)
        parts.append(top_stimuli(recording, scenes.images, k=k))

    def joined(name: str) -> np.ndarray:
        return np.concatenate([getattr(part, name) for part in parts])

    return TopStimuli(
        units=pd.concat([part.units for part in parts]),
        rows=joined("rows"),
        stimuli=joined("stimuli"),
        activations=joined("activations"),
        thresholds=joined("thresholds"),
        level=parts[0].level,
        maps=[one for part in parts for one in part.maps],
    )


class Pooled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.amax((2, 3))


def convolutional(n_out: int, seed: int) -> nn.Sequential:
    net = nn.Sequential(
        nn.Conv2d(3, 24, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(24, 32, 3, padding=1),
        nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 48, 3, padding=1), nn.ReLU(), Pooled(),
        nn.Linear(48, n_out),
    )  # fmt: skip
    return untrained(net, seeds=seed)[0]


def pixels(scenes: CaptionedScenes) -> Tensor:
    return torch.from_numpy(scenes.images).permute(0, 3, 1, 2).float() / 255


def train(module: nn.Module, loss: str, *data: Tensor, rate: float, epochs: int, seed: int) -> None:
    def of(net: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
        if loss == "own":
            return net.loss(*batch)  # type: ignore[operator]
        return getattr(nn.functional, loss)(net(batch[0]), batch[1])

    adam = torch.optim.Adam(module.parameters(), lr=rate)
    fit(module, of, minibatches(*data, size=50), optimizer=adam, epochs=epochs, seed=seed)


def shuffled(top: TopStimuli, n: int, seed: int) -> TopStimuli:
    """Random scenes instead of exemplars, with regions of other units."""
    rng = spawn(seed, "shuffled")
    rows = np.stack([rng.choice(n, top.rows.shape[1], replace=False) for _ in top.rows])
    return replace(top, rows=rows, maps=[top.maps[i] for i in rng.permutation(len(top))])


def present(scenes: CaptionedScenes) -> Tensor:
    """Which attributes are in a scene."""
    every = [region(scenes, {name: (word,)}) for name, words in WORDS.items() for word in words]
    seen = np.stack([*(one.any((1, 2)) for one in every), scenes.tags >= 0], axis=1)
    return torch.from_numpy(seen).float()


def tagged(n: int, share: float, seed: int) -> np.ndarray:
    rng = spawn(seed, "tags")
    return np.where(rng.random(n) < share, rng.integers(0, 4, n), -1)


def cells(regions: np.ndarray) -> np.ndarray:
    """How much of each place of a map of 7 x 7 is covered."""
    wide = torch.from_numpy(regions).float()[:, None]
    return nn.functional.adaptive_avg_pool2d(wide, 7)[:, 0].numpy()


def matched(found: Descriptions, wanted: Sequence[Concept]) -> np.ndarray:
    """Units whose description has all attributes of their concept, and no other."""
    said = found.table["description"]
    right = [meaning(a) == meaning(phrase(b, 0)) for a, b in zip(said, wanted, strict=True)]
    return np.array(right, dtype=float)


def spurious(n: int, agree: float | None, seed: int) -> tuple[CaptionedScenes, Tensor]:
    """One object a scene; how often the tag's pattern is that of the shape (None: no tags)."""
    plain = captioned_scenes(n, objects=1, seed=seed)
    shapes, rng = plain.attributes[:, 0, 0], spawn(seed, "agree")
    other = (shapes + rng.integers(1, 4, n)) % 4
    tags = np.where(rng.random(n) < (agree or 0), shapes, other)
    scenes = plain if agree is None else captioned_scenes(n, objects=1, tags=tags, seed=seed)
    return scenes, torch.from_numpy(shapes)


@claim(
    paper=Paper(
        title="Natural Language Descriptions of Deep Visual Features",
        authors="Evan Hernandez, Sarah Schwettmann, David Bau, Teona Bagashvili, Antonio Torralba, "
        "Jacob Andreas",
        year=2022,
        arxiv="2201.11114",
    ),
    sentence="Units are described rightly by the phrase whose probability their exemplars raise "
    "most, where the most probable phrase is one that fits everything; units found by their "
    "description can be edited.",
    systems="scenes of textured objects; units planted for one to three attributes, for either of "
    "two, for one shape above another; annotators who say something generic a third of the time; a "
    "classifier of shapes, in a third of whose scenes a tag nearly gives the shape away",
    controls={
        "match_plain": "the same captioner without the prior (lambda = 0)",
        "match_shuffled": "random scenes with regions of other units instead of exemplars",
        "match_unmasked": "the same exemplars without regions",
        "gain_random": "as many units of the classifier zeroed, drawn at random",
        "gain_known": "as many units zeroed: those with the smallest ratio of activity on the "
        "object to activity on the tag; silent units have the smallest",
        "gain_active": "as many units zeroed: those that are most active",
    },
    expects=[
        Expect(
            measure="match",
            above="match_plain",
            by=0.2,
            says="With the prior more units get all their attributes than without",
            paper="chooses lambda = 0.2 on held-out units; gives no such planted truth",
        ),
        Expect(measure="match", above=0.4, says="Four units in ten get all their attributes"),
        Expect(measure="match_shuffled", below=0.1, says="Random exemplars give no right words"),
        Expect(
            measure="match",
            above="match_unmasked",
            by=0.2,
            says="Without the regions a captioner does not know what of a scene is meant",
        ),
        Expect(
            measure="match_and",
            above="match_relation",
            by=0.1,
            says="What lies between objects is lost where regions are averaged",
            paper="reports relations among the descriptions",
        ),
        Expect(
            measure="gain_tag",
            above="gain_random",
            by=0.1,
            says="Zeroing units described as tags helps where tags mislead, random units do not",
            paper="up to 4.9 points on images with misleading text",
        ),
        Expect(
            measure="gain_tag",
            above="gain_active",
            by=0.1,
            says="Nor do the most active units",
        ),
        Expect(
            measure="clean_loss",
            below=0.05,
            says="Images without tags are classified as before",
        ),
    ],
    smoke={"n": 40, "nth": 24, "copies": 1, "k": 2, "epochs": 2, "beam": 3, "n_twins": 1},
    check={"n": 800, "nth": 1, "copies": 5, "k": 8, "epochs": 16, "beam": 20, "n_twins": 2},
    full={"n": 5000, "nth": 1, "copies": 40, "k": 15, "epochs": 60, "beam": 50, "n_twins": 19},
    seeds=(1, 2, 3),
    equations=[
        r"E_i = \{(x, a_i(x) > \theta_i)\}_{x \in \mathrm{top}_k}, \qquad "
        r"P(a_i > \theta_i) = 0.01",
        r"d^* = \arg\max_d\; \log p(d \mid E_i) - \lambda \log p(d)",
    ],
    use="""
import numpy as np
import torch
from bregma.datasets import captioned_scenes
from bregma.mechanism import describe, top_stimuli
from bregma.system import TorchSystem

images = captioned_scenes(40, seed=0).images  # yours
net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.ReLU())
top = top_stimuli(TorchSystem(net, "1"), images, k=5)

class Brightness:  # yours: VisionLanguageCaptioner(model, processor), EndpointCaptioner(url, model)
    def propose(self, exemplars, n):
        paint = exemplars.images[exemplars.masks]
        bright = (paint.sum() + 1) / (255 * paint.size + 2)
        return [("something bright", np.log(bright)), ("something dark", np.log(1 - bright))]
    def log_prob(self, texts):  # yours: LanguageModelPrior(model, tokenizer)
        return np.log(np.full(len(texts), 0.5))

print(describe(top, images, Brightness(), Brightness()).table)
""",
)
def hernandez_2022_descriptions(
    *, seed: int, n: int, nth: int, copies: int, k: int, epochs: int, beam: int, n_twins: int
) -> dict[str, float | Curve]:
    # A frozen network that tells attributes apart gives the features of regions.
    single = captioned_scenes(
        2 * n, objects=1, tags=tagged(2 * n, 0.3, derive(seed, "s")), seed=derive(seed, "s")
    )
    eyes = convolutional(12, derive(seed, "eyes"))
    bce = "binary_cross_entropy_with_logits"
    train(eyes, bce, pixels(single), present(single), rate=4e-3, epochs=epochs, seed=seed)
    features = RegionFeatures(TorchSystem(eyes, ["1", "4", "7"]))

    # Captioner and prior learn from annotated units of some scenes, and describe those of others.
    known, new = (
        captioned_scenes(n, objects=3, tags=tagged(n, 0.3, key), seed=key)
        for key in (derive(seed, "known"), derive(seed, "new"))
    )
    groups = {name: group[::nth] for name, group in concepts().items()}
    every = [concept for group in groups.values() for concept in group]
    of_known = planted(known, every * copies, k, derive(seed, "units"))
    of_new = planted(new, every, k, derive(seed, "new units"))
    seen = torch.stack(
        [features(of_known.exemplars(known.images, unit)) for unit in of_known.units.index]
    )
    rng, rows, texts = spawn(seed, "annotators"), [], []
    for i, concept in enumerate(every * copies):
        for _ in range(3):
            said = phrase(concept, int(rng.integers(3)))
            texts.append(GENERIC if rng.random() < 0.35 else said)
            rows.append(i)
    words = Vocabulary(texts)
    sentences = words.encode(texts)
    blank = ExemplarCaptioner(features, seen.shape[2], words)
    [captioner] = untrained(blank, seeds=derive(seed, "captioner"))
    [prior] = untrained(SentencePrior(words), seeds=derive(seed, "prior"))
    train(captioner, "own", seen[rows], sentences, rate=3e-3, epochs=epochs, seed=seed)
    train(prior, "own", sentences, rate=3e-3, epochs=epochs // 2, seed=seed)

    def described(top: TopStimuli, scenes: CaptionedScenes) -> Descriptions:
        return describe(top, scenes.images, captioner, prior, beam=beam)

    found = described(of_new, new)
    right = matched(found, every)
    kind = np.repeat(list(groups), [len(group) for group in groups.values()])
    whole = replace(of_new, thresholds=np.full(len(of_new), -np.inf))
    weights = [0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0]
    over = [matched(found.weighted(weight), every).mean() for weight in weights]

    # Editing: a classifier of shapes; a third of its scenes have tags that nearly give them away.
    net = convolutional(4, derive(seed, "classifier"))
    scenes, shapes = spurious(n, 0.95, derive(seed, "spurious"))
    plain, plain_shapes = spurious(2 * n, None, derive(seed, "plain"))
    both = torch.cat([pixels(scenes), pixels(plain)]), torch.cat([shapes, plain_shapes])
    train(net, "cross_entropy", *both, rate=4e-3, epochs=epochs, seed=seed)
    probe, _ = spurious(n, 0.25, derive(seed, "probe"))
    system = TorchSystem(net, "7")

    def of_units(one: TorchSystem) -> Descriptions:
        return described(top_stimuli(one, probe.images, k=k, batch_size=100), probe)

    units = of_units(system)
    tags = units.mention("tags")
    misled, misled_shapes = spurious(n, 0.0, derive(seed, "misled"))
    clean, clean_shapes = spurious(n, None, derive(seed, "clean"))

    def accuracy(zeroed: Sequence[str], some: CaptionedScenes, truth: Tensor) -> float:
        edits = [Ablate("7", list(zeroed))] if len(zeroed) else []
        out = system.with_layers("9").perturb(*edits).record(some.images, batch_size=100).values
        return float((out.argmax(1) == truth.numpy()).mean())

    ids = np.array([f"7/c{c}" for c in range(48)])
    means = system.record(misled.images, reduce="mean", batch_size=100).values.mean(0)
    active = ids[np.argsort(-means)[: len(tags)]].tolist()
    maps = system.record(misled.images, batch_size=100).values.reshape(n, 48, 7, 7)
    on_tag, on_object = (
        np.where(cells(pixels_of)[:, None] > 0.2, maps, 0).max((2, 3)).mean(0)
        for pixels_of in (misled.tag_regions, misled.regions[:, 0])
    )
    known_tags = ids[np.argsort(on_object / (on_tag + 1e-6))[: len(tags)]].tolist()
    chance = spawn(seed, "random units")
    some = [chance.choice(ids, len(tags), replace=False).tolist() for _ in range(5)]
    before = accuracy([], misled, misled_shapes)
    twins = described_by_chance(units, system, of_units, n=n_twins, seed=seed)
    return {
        "match": float(right.mean()),
        "match_plain": float(matched(found.weighted(0.0), every).mean()),
        "match_shuffled": float(matched(described(shuffled(of_new, n, seed), new), every).mean()),
        "match_unmasked": float(matched(described(whole, new), every).mean()),
        **{f"match_{name}": float(right[kind == name].mean()) for name in groups},
        "misled_accuracy": before,
        "gain_tag": accuracy(tags, misled, misled_shapes) - before,
        "gain_random": float(np.mean([accuracy(u, misled, misled_shapes) for u in some])) - before,
        "gain_active": accuracy(active, misled, misled_shapes) - before,
        "gain_known": accuracy(known_tags, misled, misled_shapes) - before,
        "clean_accuracy": accuracy([], clean, clean_shapes),
        "clean_loss": accuracy([], clean, clean_shapes) - accuracy(tags, clean, clean_shapes),
        "n_tag_units": float(len(tags)),
        "fooled": twins.fooled,
        "units with all attributes right": Curve(weights, over, "weight of the prior", "share"),
    }
