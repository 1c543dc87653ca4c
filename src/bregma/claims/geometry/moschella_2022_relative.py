"""A decoder of one network or animal reads another one, given responses to the same anchors."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from bregma.claims import Curve, Expect, Paper, claim
from bregma.datasets import Task, digits, sample_images, v1_population
from bregma.geometry import ProcrustesMap, RelativeRepresentation, reciprocal_rank
from bregma.run import derive, fit, minibatches, spawn


def encoder(train: Task, epochs: int, *, seed: int) -> nn.Module:
    """64 pixels to 32 units, trained to tell digits apart by a readout that is thrown away."""
    with torch.random.fork_rng([]):
        torch.default_generator.manual_seed(derive(seed, "weights"))
        encode = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 32))
        net = nn.Sequential(encode, nn.ReLU(), nn.Linear(32, 10))
    fit(
        net,
        lambda net, batch: nn.functional.cross_entropy(net(batch[0]), batch[1]),
        minibatches(train.inputs, train.targets, size=64),
        optimizer=torch.optim.Adam(net.parameters(), lr=2e-3),
        epochs=epochs,
        seed=seed,
    )
    return encode


def decoder() -> Pipeline:
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))


def stitched(
    own: np.ndarray, other: np.ndarray, labels: np.ndarray, n_train: int, n_anchors: int,
    *, center: bool, seed: int,
) -> dict[str, float]:  # fmt: skip
    """Decoders learn from the first rows of one system and are tested on the last of another.

    Anchors are the very first rows. All ways to the other system know the same: its responses to
    the anchors, and no label.
    """
    train, test = slice(0, n_train), slice(n_train, None)
    y, a = labels[:n_anchors], slice(0, n_anchors)
    rng = spawn(seed, "exchange")
    shuffled = rng.permutation(n_anchors)
    within = np.empty(n_anchors, dtype=int)
    for digit in np.unique(y):
        within[y == digit] = rng.permutation(np.flatnonzero(y == digit))

    def of(anchors: np.ndarray, x: np.ndarray) -> np.ndarray:
        return RelativeRepresentation(center=center).fit(anchors).transform(x)

    absolute = decoder().fit(own[train], labels[train])
    relative = decoder().fit(of(own[a], own[train]), labels[train])
    middle = own[a].mean(axis=0)
    mapped = ProcrustesMap().fit(other[a], own[a]).predict(other[test])
    return {
        "own_absolute": absolute.score(own[test], labels[test]),
        "own": relative.score(of(own[a], own[test]), labels[test]),
        "stitched": relative.score(of(other[a], other[test]), labels[test]),
        "absolute": absolute.score(other[test], labels[test]),
        "unpaired": relative.score(of(other[a][shuffled], other[test]), labels[test]),
        "paired_by_class": relative.score(of(other[a][within], other[test]), labels[test]),
        "procrustes": absolute.score(mapped, labels[test]),
        "found": reciprocal_rank(of(own[a], own[test]), of(other[a], other[test])),
        "found_procrustes": reciprocal_rank(own[test] - middle, mapped - middle),
    }


@claim(
    paper=Paper(
        title="Relative representations enable zero-shot latent space communication",
        authors="Luca Moschella, Valentino Maiorca, Marco Fumero, Antonio Norelli, "
        "Francesco Locatello, Emanuele Rodolà",
        year=2022,
        arxiv="2209.15430",
    ),
    sentence="Responses told by their cosines with those to shared anchors let a decoder that was "
    "trained on one network or animal read another one, without any training.",
    systems="encoders of digits from several random starts; simulated primary visual cortex of two "
    "animals with different cells",
    controls={
        "networks_absolute": "the decoder of the units themselves, applied to the other network",
        "networks_unpaired": "anchors of the other network in a random order",
        "networks_paired_by_class": "anchors exchanged among those of the same digit only",
        "networks_procrustes": "best rotation onto the decoder's network, from the same anchors",
        "animals_absolute": "the decoder of the cells themselves, applied to the other animal",
        "animals_unpaired": "anchors of the other animal in a random order",
        "animals_paired_by_class": "anchors exchanged among those of the same digit only",
        "animals_procrustes": "best rotation onto the decoder's animal, from the same anchors",
    },
    expects=[
        Expect(
            measure="networks_stitched", above="networks_absolute", by=0.6,
            says="Relative decoders read another network at least 60 % better than absolute ones.",
            paper="Absolute stitching is at chance, relative near the network's own accuracy.",
        ),
        Expect(
            measure="networks_stitched", above=0.9,
            says="They read it right in over 90 % (chance is 10 %).",
        ),
        Expect(
            measure="networks_loss", below=0.02,
            says="In its own network a relative decoder loses less than 2 % to an absolute one.",
        ),
        Expect(
            measure="networks_stitched", above="networks_unpaired", by=0.6,
            says="With anchors in a random order they read at least 60 % less.",
        ),
        Expect(
            measure="networks_deficit", below=0.05,
            says="A rotation fitted to the same anchors is less than 5 % better.",
        ),
        Expect(
            measure="animals_stitched", above="animals_absolute", by=0.5,
            says="Between two animals that share no cell they read at least 50 % better.",
        ),
        Expect(
            measure="animals_stitched", above="animals_paired_by_class", by=0.02,
            says="In animals, which image an anchor is matters beyond which digit it shows.",
        ),
    ],
    smoke={
        "n_encoders": 2, "epochs": 3, "n_anchors": 50, "n_images": 200, "n_units": 60,
        "n_repeats": 2,
    },
    check={
        "n_encoders": 3, "epochs": 20, "n_anchors": 100, "n_images": 900, "n_units": 300,
        "n_repeats": 8,
    },
    full={
        "n_encoders": 10, "epochs": 100, "n_anchors": 300, "n_images": 1797, "n_units": 1000,
        "n_repeats": 20,
    },
    seeds=(1, 2, 3, 4, 5, 6),
    equations=[
        r"r_k(x) = \frac{\langle E(x), E(a_k) \rangle}{\|E(x)\| \, \|E(a_k)\|}, \quad k \le K",
        r"r(x; sQE) = r(x; E) \quad \text{for any rotation or reflection } Q \text{ and } s > 0",
    ],
    use="""
import numpy as np
from sklearn.linear_model import LogisticRegression
from bregma.geometry import RelativeRepresentation

rng = np.random.default_rng(0)
latent = rng.standard_normal((300, 5))                  # what both animals are driven by
labels = (latent[:, 0] > 0).astype(int)
one = latent @ rng.standard_normal((5, 80)) + 0.5 * rng.standard_normal((300, 80))
two = latent @ rng.standard_normal((5, 60)) + 0.5 * rng.standard_normal((300, 60))

shared = slice(0, 50)                                   # stimuli that both have seen
to_one = RelativeRepresentation(center=True).fit(one[shared])
to_two = RelativeRepresentation(center=True).fit(two[shared])
decoder = LogisticRegression().fit(to_one.transform(one[:200]), labels[:200])
print(decoder.score(to_two.transform(two[200:]), labels[200:]))
""",
)  # fmt: skip
def moschella_2022_relative(
    *,
    seed: int,
    n_encoders: int,
    epochs: int,
    n_anchors: int,
    n_images: int,
    n_units: int,
    n_repeats: int,
) -> dict[str, float | Curve]:
    """Stitch decoders between networks, then between animals, in every direction."""
    train, test = digits(seed=seed)
    inputs = torch.cat([train.inputs, test.inputs])
    labels = torch.cat([train.targets, test.targets]).numpy()
    encoders = [encoder(train, epochs, seed=derive(seed, "net", k)) for k in range(n_encoders)]
    with torch.no_grad():
        networks = [encode(inputs).numpy() for encode in encoders]
    found = {
        "networks": [
            stitched(own, other, labels, len(train), n_anchors, center=False, seed=seed)
            for own, other in permutations(networks, 2)
        ]
    }

    images = sample_images(n_images, photographs=0.0, seed=seed)
    brains = v1_population(images, n_units=n_units, n_repeats=n_repeats, n_subjects=2, seed=seed)
    order = spawn(seed, "images").permutation(n_images)
    shown = images.table["label"].to_numpy().astype(int)[order]
    parts = brains.recording.average_repeats().split("subject").values()
    animals = list(permutations([part.values[order] for part in parts], 2))
    n_train = 2 * n_images // 3

    def between(n: int) -> list[dict[str, float]]:  # spike counts have offsets: centred
        return [stitched(*pair, shown, n_train, n, center=True, seed=seed) for pair in animals]

    found["animals"] = between(n_anchors)
    mean = {
        f"{system}_{name}": float(np.mean([result[name] for result in results]))
        for system, results in found.items()
        for name in results[0]
    }
    numbers = [n for n in (5, 10, 20, 50, 100, 200) if n <= n_train]
    by_number = [between(n) for n in numbers]
    return {
        **mean,
        "networks_loss": mean["networks_own_absolute"] - mean["networks_own"],
        "networks_deficit": mean["networks_procrustes"] - mean["networks_stitched"],
        **{
            f"animals, {name}": Curve(
                numbers, [float(np.mean([r[name] for r in results])) for results in by_number],
                "anchors", "accuracy in the other animal",
            )
            for name in ("stitched", "procrustes", "unpaired")
        },
    }  # fmt: skip
