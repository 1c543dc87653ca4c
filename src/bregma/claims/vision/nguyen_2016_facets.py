"""Multifaceted feature visualisation: one image for each kind of stimulus that drives a unit."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.manifold import TSNE
from sklearn.metrics import adjusted_rand_score
from torch import Tensor, nn

from bregma.claims import Curve, Expect, Paper, claim
from bregma.datasets import digits
from bregma.mechanism import PixelImages, facets, total_variation, visualize
from bregma.run import derive, fit, minibatches, spawn
from bregma.system import untrained

ARI = ("ari", "ari_plain", "ari_last")
UNITS, KINDS = 3, 3  # classes, and digits that are merged in each


def convolutional(classes: int, seed: int) -> nn.Sequential:
    net = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.ReLU(), nn.Flatten(), nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, classes),
    )  # fmt: skip
    return untrained(net, seeds=seed)[0]


def train(net: nn.Module, images: Tensor, labels: Tensor, epochs: int, seed: int) -> None:
    def loss(net: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return nn.functional.cross_entropy(net(batch[0]), batch[1])

    adam = torch.optim.Adam(net.parameters(), lr=2e-3)
    batches = minibatches(images, labels, size=64)
    fit(net, loss, batches, optimizer=adam, epochs=epochs, seed=seed)


def smooth(images: Tensor) -> Tensor:
    return 0.1 * total_variation(images)


def covered(said: Tensor, kinds: list[int]) -> float:
    """How many of the kinds that drive a unit its images show."""
    return float(len(set(said.tolist()) & set(kinds)))


@claim(
    paper=Paper(
        title="Multifaceted Feature Visualization: Uncovering the Different Types of Features "
        "Learned By Each Neuron in Deep Neural Networks",
        authors="Anh Nguyen, Jason Yosinski, Jeff Clune",
        year=2016,
        arxiv="1602.03616",
    ),
    sentence="A unit that answers to several kinds of stimuli gets one image for each when ascent "
    "starts from the mean of a cluster of its stimuli; from anywhere else it shows one kind.",
    systems="convolutional classifier of digits, each of whose three output units answers to three "
    "of them; an independent net of ten classes says what the images show",
    controls={
        "mixed_covered": "starts that are means of as many of the unit's stimuli, drawn at random",
        "noise_covered": "starts from noise; same ascent and number of images",
        "wrong_right": "starts from the facets of another unit",
        "ari_last": "facets in the last hidden layer, the code of the paper",
        "ari_plain": "k-means in the principal components, without t-SNE",
    },
    expects=[
        Expect(
            measure="facets_covered",
            above="mixed_covered",
            by=0.8,
            says="Images made from facets show most of a kind more than those from mixed means",
            paper="qualitative: facets of ImageNet classes, such as shops from inside and outside",
        ),
        Expect(
            measure="facets_covered",
            above="noise_covered",
            by=0.8,
            says="They show most of a kind more than images made from noise",
        ),
        Expect(
            measure="facets_right",
            above=0.7,
            says="An independent net sees the facet's own kind in its image",
        ),
        Expect(
            measure="facets_reached",
            above=0.9,
            says="The images drive the unit as the best tenth of real ones do",
        ),
        Expect(
            measure="facets_right",
            above="wrong_right",
            by=0.3,
            says="Starts from another unit's facets do not do it",
        ),
        Expect(measure="ari", above=0.7, says="Clusters are the kinds that were merged"),
        Expect(
            measure="ari",
            above="ari_last",
            by=0.4,
            says="They lie in a middle layer: the last one has forgotten what was merged",
            paper="uses the last hidden layer of a network of 1000 classes",
        ),
        Expect(
            measure="long_covered",
            below="facets_covered",
            by=0.5,
            says="Ten times the steps lose kinds: where ascent stops matters",
        ),
    ],
    smoke={"epochs": 2, "steps": 8, "n_images": 60},
    check={"epochs": 5, "steps": 10, "n_images": 1000},
    full={"epochs": 40, "steps": 40, "n_images": 1000},
    seeds=(1, 2, 3, 4),
    equations=[
        r"\{C_1, \dots, C_k\} = \mathrm{kmeans}(\mathrm{tSNE}(\mathrm{PCA}(h(x))))",
        r"x_0^{(j)} = \frac{1}{15}\sum_{i \in N_{15}(C_j)} x_i",
        r"x \leftarrow \mathrm{clip}\left(x + \eta\, \nabla_x \left[a_u(x) - R(x)\right]\right)",
    ],
    use="""
import torch
from bregma.mechanism import facets, visualize
from bregma.system import TorchSystem

net = torch.nn.Sequential(  # yours
    torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 2)
)
images = torch.rand(60, 1, 8, 8)  # those that drive the unit most
codes = TorchSystem(net, "1").record(images).values
found = facets(codes, k=[2, 3, 4], seed=0)  # embedding=sklearn.manifold.TSNE() as in the paper
made = visualize(net, "3/c0", starts=found.means(images), steps=20, seed=0)
print(made.start_activations, made.activations)
made.plot()
""",
)
def nguyen_2016_facets(
    *, seed: int, epochs: int, steps: int, n_images: int
) -> dict[str, float | Curve]:
    task, test = digits(seed=seed)
    groups = spawn(seed, "merged").permutation(10)[: UNITS * KINDS].reshape(UNITS, KINDS)
    merged = torch.full((10,), -1)
    for unit, kinds in enumerate(groups.tolist()):
        merged[kinds] = unit
    mine = merged[task.targets] >= 0
    x, kind = task.inputs[mine].reshape(-1, 1, 8, 8), task.targets[mine]
    net, judge = convolutional(UNITS, derive(seed, "net")), convolutional(10, derive(seed, "judge"))
    train(net, x, merged[kind], epochs, seed)
    train(judge, task.inputs.reshape(-1, 1, 8, 8), task.targets, 2 * epochs, seed)
    held_out = test.inputs.reshape(-1, 1, 8, 8)

    starts, kinds_of = [], []
    ari: dict[str, list[float]] = {name: [] for name in ARI}
    for unit in range(UNITS):
        own = merged[kind] == unit
        images, true = x[own][:n_images], kind[own][:n_images]
        with torch.no_grad():
            middle, last = net[:5](images).numpy(), net[:7](images).numpy()
        tsne = TSNE(random_state=0)
        found = facets(middle, k=KINDS, embedding=tsne, seed=seed)
        plain = facets(middle, k=KINDS, seed=seed)
        deep = facets(last, k=KINDS, embedding=tsne, seed=seed)
        for name, one in zip(ari, (found, plain, deep), strict=True):
            ari[name].append(adjusted_rand_score(true.numpy(), one.labels))
        rng = spawn(seed, "mixed", unit)
        mixed = [images[rng.choice(len(images), 15).tolist()].mean(0) for _ in range(KINDS)]
        starts.append((found.means(images), torch.stack(mixed)))
        kinds_of.append([int(true[rows[:15].tolist()].mode().values) for rows in found.order])

    rows: list[dict[str, float]] = []
    paths = []
    for unit, kinds in enumerate(groups.tolist()):
        own = merged[test.targets] == unit
        with torch.no_grad():
            real = net(held_out[own])[:, unit].quantile(0.9).item()

        def ascend(given: Tensor | None, n: int = steps, unit: int = unit) -> tuple:
            made = visualize(
                net, f"7/c{unit}", starts=given, shape=(1, 8, 8), n=KINDS, model=PixelImages,
                steps=n, rate=0.02, jitter=0, penalty=smooth, seed=derive(seed, "ascent", unit),
            )  # fmt: skip
            with torch.no_grad():
                return made, judge(made.images).argmax(1), judge(made.starts).argmax(1)

        facet, mix = starts[unit]
        wanted = torch.tensor(kinds_of[unit])
        made, said, said_at_start = ascend(facet)
        noise, from_noise, _ = ascend(None)
        rows.append(
            {
                "facets_covered": covered(said, kinds),
                "facets_right": float((said == wanted).float().mean()),
                "facets_reached": float((made.activations >= real).mean()),
                "start_right": float((said_at_start == wanted).float().mean()),
                "start_reached": float((made.start_activations >= real).mean()),
                "mixed_covered": covered(ascend(mix)[1], kinds),
                "noise_covered": covered(from_noise, kinds),
                "noise_reached": float((noise.activations >= real).mean()),
                "wrong_right": float(
                    np.isin(ascend(starts[(unit + 1) % UNITS][0])[1].numpy(), kinds).mean()
                ),
                "long_covered": covered(ascend(facet, 10 * steps)[1], kinds),
            }
        )
        paths.append((made.trace.mean(1) / real, noise.trace.mean(1) / real))
    with torch.no_grad():
        right = (net(held_out).argmax(1) == merged[test.targets])[merged[test.targets] >= 0]
        judged = test.accuracy(judge(held_out))
    axes = ("step of ascent", "activity as a share of the best tenth of real images")
    facet_path, noise_path = np.mean(paths, axis=0)
    return {
        **{name: float(np.mean([row[name] for row in rows])) for name in rows[0]},
        **{name: float(np.mean(values)) for name, values in ari.items()},
        "accuracy": float(right.float().mean()),
        "judge_accuracy": judged,
        "from facets": Curve(range(steps), facet_path, *axes),
        "from noise": Curve(range(steps), noise_path, *axes),
    }
