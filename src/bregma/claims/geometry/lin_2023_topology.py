"""Which layer of a network is this? Asked of the geometry, the topology, and what lies between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement, pairwise

import numpy as np
import torch
from torch import nn

from bregma.claims import Curve, Expect, Paper, claim
from bregma.datasets import Task, digits
from bregma.geometry import CrossnobisDistance, GeoTopological, RDMSpearman, identify, rdm
from bregma.recording import Dissimilarity, Recording
from bregma.run import derive, fit, minibatches, spawn
from bregma.system import TorchSystem

RDM, MEDIAN_GRAPH = GeoTopological(0.0, 1.0), GeoTopological(0.5, 0.5)
N_LAYERS, VOXEL = 6, 10  # a voxel is the mean of so many random units


@dataclass(frozen=True)
class RandomMonotone:
    """Control: distances bent by a random rising function of their quantiles."""

    seed: int

    @property
    def name(self) -> str:
        return f"random monotone {self.seed}"

    def __call__(self, rdms: Dissimilarity) -> Dissimilarity:
        heights = np.sort(spawn(self.seed, "heights").random(11))
        knots = np.quantile(rdms.values, np.linspace(0, 1, 11), axis=1).T
        bent = [np.interp(d, k, heights) for d, k in zip(rdms.values, knots, strict=True)]
        return Dissimilarity(np.stack(bent), stimuli=rdms.stimuli, rdms=rdms.rdms)


def network(train: Task, width: int, epochs: int, *, seed: int) -> nn.Module:
    """Six convolutions that learned to read digits."""
    with torch.random.fork_rng([]):
        torch.default_generator.manual_seed(derive(seed, "weights"))
        net = nn.Sequential(nn.Unflatten(1, (1, 8, 8)))
        channels = (1, width, width, *[2 * width] * 4)
        for k, (before, after) in enumerate(pairwise(channels), start=1):
            net.add_module(f"conv{k}", nn.Conv2d(before, after, 3, padding=1))
            net.add_module(f"relu{k}", nn.ReLU())
            if k in (2, 4):
                net.add_module(f"pool{k}", nn.MaxPool2d(2))
        net.add_module("flat", nn.Flatten())
        net.add_module("readout", nn.Linear(4 * channels[-1], 10))
    fit(
        net,
        lambda net, batch: nn.functional.cross_entropy(net(batch[0]), batch[1]),
        minibatches(train.inputs, train.targets, size=64),
        optimizer=torch.optim.Adam(net.parameters(), lr=3e-3),
        epochs=epochs,
        seed=seed,
    )
    return net


def scanned(layers: Recording, noise: float, n_voxels: int = 50, *, seed: int) -> Recording:
    """Voxels of every layer, seen twice through noise (in SD of the voxels)."""
    values = []
    for layer, units in layers.split("layer").items():
        rng = spawn(seed, "voxels", str(layer))
        picked = rng.integers(units.n_units, size=(n_voxels, VOXEL))
        voxels = np.tile(units.values[:, picked].mean(axis=-1), (2, 1))
        values.append(voxels + noise * voxels.std() * rng.standard_normal(voxels.shape))
    names = np.repeat(list(layers.split("layer")), n_voxels)
    return Recording.from_array(
        np.concatenate(values, axis=1),
        unit={"unit": np.arange(len(names)), "layer": names, "subject": [seed] * len(names)},
        presentation={"stimulus": np.tile(layers.stimuli, 2)},
    )


def saturated(rdms: Dissimilarity, *, seed: int) -> Dissimilarity:
    """Large distances saturate, in each network at another scale."""
    subject = np.unique(rdms.column("subject"), return_inverse=True)[1]
    scale = np.exp(spawn(seed, "scale").uniform(np.log(0.05), np.log(5), subject.max() + 1))
    half = (scale[subject] * np.median(rdms.values, axis=1))[:, None]
    values = rdms.values / (np.abs(half) + np.abs(rdms.values))  # monotone, and never quite flat
    return Dissimilarity(values, stimuli=rdms.stimuli, rdms=rdms.rdms)


def exchanged(rdms: Dissimilarity, *, seed: int) -> Dissimilarity:
    """Control: the stimuli of each RDM have exchanged their labels."""
    orders = [spawn(seed, "order", k).permutation(rdms.n_stimuli) for k in range(rdms.n_rdms)]
    squares = [d[np.ix_(order, order)] for d, order in zip(rdms.square(), orders, strict=True)]
    return Dissimilarity.from_square(np.stack(squares), rdms=rdms.rdms)


@claim(
    paper=Paper(
        title="The Topology and Geometry of Neural Representations",
        authors="Baihan Lin, Nikolaus Kriegeskorte",
        year=2023,
        doi="10.1073/pnas.2317881121",
        arxiv="2309.11028",
    ),
    sentence="Which stimuli are neighbours, without how far apart they are, says nearly as well as "
    "all distances from which layer of another network a noisy recording is.",
    systems="six layers of convolutional networks that read digits, each network a subject, "
    "recorded as noisy voxels",
    controls={
        "rdm": "plain crossnobis RDM",
        "spearman": "ranks of the plain RDM",
        "random_monotone": "as many random monotone transforms, chosen in the same nested way",
        "hindsight": "the best thresholds for the very networks that they are tested on",
        "stimuli_exchanged": "plain RDM, its stimuli relabelled at random in each network",
        "saturated_rdm": "plain RDM, distances saturated in each network at another scale",
    },
    expects=[
        Expect(
            measure="graph_above_chance", above="rdm_above_chance", times=0.7,
            says="The graph of pairs nearer than the median keeps 70 % of what RDMs identify.",
            paper="All-CNN-C on CIFAR-10, 10 layers: 'excellent sensitivity'.",
        ),
        Expect(
            measure="nested_deficit", below=0.02,
            says="Thresholds chosen on other networks lose less than 2 % of accuracy to the RDM.",
            paper="Several families of thresholds match the RDM or slightly exceed it.",
        ),
        Expect(
            measure="saturated_nested", above="saturated_rdm",
            says="Where large distances saturate differently, chosen thresholds beat the RDM.",
        ),
        Expect(
            measure="hindsight", above="nested", by=0.01,
            says="Thresholds chosen on the tested networks promise over 1 % more than they hold.",
        ),
        Expect(
            measure="stimuli_exchanged", below=0.25,
            says="With relabelled stimuli nothing is left (chance is 1/6).",
        ),
    ],
    smoke={"n_networks": 3, "width": 4, "epochs": 1, "n_stimuli": 20, "noises": (0.5,), "steps": 2},
    check={
        "n_networks": 10, "width": 16, "epochs": 8, "n_stimuli": 60,
        "noises": (0.25, 0.5, 1.0, 2.0), "steps": 10,
    },
    full={
        "n_networks": 10, "width": 96, "epochs": 100, "n_stimuli": 62,
        "noises": (0.25, 0.5, 1.0, 2.0, 4.0), "steps": 20,
    },
    seeds=(1, 2, 3, 4, 5),
    equations=[
        r"f_{l,u}(d) = \begin{cases} 0 & d \le l \\ (d-l)/(u-l) & l < d < u \\ 1 & d \ge u"
        r"\end{cases}",
        r"\hat{a}(D) = \arg\max_a \, \mathrm{corr}\Big(f(D), \tfrac{1}{|S|}"
        r"\textstyle\sum_{s \in S} f(D_{s,a})\Big)",
    ],
    use="""
import numpy as np
from bregma import Recording
from bregma.geometry import CrossnobisDistance, GeoTopological, identify, rdm

rng = np.random.default_rng(0)
tuning = {area: rng.standard_normal((20, 30)) for area in ("V1", "IT")}  # what subjects share
parts = []
for subject in range(4):
    for area, signal in tuning.items():
        values = np.tile(signal, (2, 1)) + rng.standard_normal((40, 30))  # two repeats
        labels = {"subject": [subject] * 30, "area": [area] * 30}
        recording = Recording.from_array(
            values, unit=labels, presentation={"stimulus": list(range(20)) * 2}
        )
        parts.append(rdm(recording, CrossnobisDistance()))
rdms = parts[0].concat(*parts[1:])
quantiles = (0.0, 0.25, 0.5, 0.75)
grid = [GeoTopological(l, u) for l in quantiles for u in (*quantiles, 1.0) if l <= u]
found = identify(rdms, "area", transforms=grid)
print(found.accuracy, found.chance)
""",
)  # fmt: skip
def lin_2023_topology(
    *,
    seed: int,
    n_networks: int,
    width: int,
    epochs: int,
    n_stimuli: int,
    noises: Sequence[float],
    steps: int,
) -> dict[str, float | Curve]:
    """Identify layers across networks at several levels of noise, under every transform."""
    train, test = digits(seed=seed)
    shown = test.inputs[:n_stimuli].numpy()
    layers = [f"relu{k}" for k in range(1, N_LAYERS + 1)]
    nets = [network(train, width, epochs, seed=derive(seed, "net", k)) for k in range(n_networks)]
    responses = [TorchSystem(net, layers).record(shown) for net in nets]

    quantiles = [float(q) for q in np.linspace(0, 1, steps + 1)]
    pairs = combinations_with_replacement(quantiles, 2)
    grid = [GeoTopological(low, high) for low, high in pairs if low < 1]
    grid = [RDM, *[transform for transform in grid if transform != RDM]]  # first where equally good
    random = [RandomMonotone(derive(seed, "monotone", k)) for k in range(len(grid))]
    accuracy: dict[str, list[float]] = {}
    for level, noise in enumerate(noises):
        scans = [scanned(r, noise, seed=derive(seed, "scan", k)) for k, r in enumerate(responses)]
        parts = [rdm(scan, CrossnobisDistance(), by="layer") for scan in scans]
        rdms = parts[0].concat(*parts[1:])
        bent = saturated(rdms, seed=derive(seed, "saturation", level))
        plain, curved = (identify(d, "layer", transforms=grid) for d in (rdms, bent))
        mixed = exchanged(rdms, seed=derive(seed, "exchange", level))
        for name, value in {
            "nested": plain.accuracy,
            "rdm": plain.hindsight[RDM.name],
            "median_graph": plain.hindsight[MEDIAN_GRAPH.name],
            "hindsight": plain.hindsight.max(),
            "random_monotone": identify(rdms, "layer", transforms=random).accuracy,
            "spearman": identify(rdms, "layer", comparison=RDMSpearman()).accuracy,
            "stimuli_exchanged": identify(mixed, "layer").accuracy,
            "saturated_nested": curved.accuracy,
            "saturated_rdm": curved.hindsight[RDM.name],
        }.items():
            accuracy.setdefault(name, []).append(float(value))
    mean = {name: float(np.mean(values)) for name, values in accuracy.items()}
    drawn = ("nested", "rdm", "median_graph", "hindsight", "spearman")
    return {
        **mean,
        "graph_above_chance": mean["median_graph"] - 1 / N_LAYERS,
        "rdm_above_chance": mean["rdm"] - 1 / N_LAYERS,
        "nested_deficit": mean["rdm"] - mean["nested"],
        **{
            f"{name} by noise": Curve(noises, accuracy[name], "noise (SD of voxels)", "accuracy")
            for name in drawn
        },
    }
