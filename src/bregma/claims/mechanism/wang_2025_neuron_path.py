"""Neuron paths of a vision transformer: one hidden unit of each layer that together matter."""

from __future__ import annotations

import numpy as np
import torch
from scipy.stats import wilcoxon
from torch import Tensor, nn

from bregma.claims import Curve, Expect, Paper, claim
from bregma.datasets import Task, digits, neuron_chains
from bregma.mechanism import NeuronPaths, joint_attribution, neuron_paths, scale_neurons
from bregma.run import derive, fit, minibatches, private_randomness, spawn
from bregma.system import untrained

LAYERS, WIDTH, HIDDEN, CLS = 4, 48, 128, 0


class VisionTransformer(nn.Module):
    """Patches of 2 x 2 pixels and a class token, whose vector gives the answer."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        with private_randomness(derive(seed, "ViT")):
            self.patches = nn.Linear(4, WIDTH)
            self.cls = nn.Parameter(0.02 * torch.randn(1, 1, WIDTH))
            self.places = nn.Parameter(0.02 * torch.randn(1, 17, WIDTH))
            self.blocks = nn.Sequential(
                *(
                    nn.TransformerEncoderLayer(
                        WIDTH, 4, HIDDEN, 0.0, nn.GELU(), batch_first=True, norm_first=True
                    )
                    for _ in range(LAYERS)
                )
            )
            self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = x.view(-1, 4, 2, 4, 2).transpose(2, 3).reshape(-1, 16, 4)
        x = torch.cat([self.cls.expand(len(x), -1, -1), self.patches(x)], 1) + self.places
        return self.head(self.norm(self.blocks(x)[:, CLS]))


def cross_entropy(net: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
    return nn.functional.cross_entropy(net(batch[0]), batch[1])


def drops(net: nn.Module, task: Task, paths: NeuronPaths, factor: float = 0.0) -> np.ndarray:
    """What the class's probability loses where the neurons of the path are scaled."""
    rows = np.arange(len(task)), task.targets.numpy()
    before = scale_neurons(net, task.inputs, paths, 1.0)[rows]
    return before - scale_neurons(net, task.inputs, paths, factor)[rows]


def found(seed: int, by: str, *, stream: bool) -> float:
    """Share of the wired neurons that a search finds."""
    world = neuron_chains(64, stream=stream, seed=seed)
    x, y = world.task.inputs, world.task.targets
    paths = neuron_paths(world.module, x, y, world.layers, by=by)
    return float((paths.neurons == world.neurons[y]).mean())


@claim(
    paper=Paper(
        title="Discovering Influential Neuron Path in Vision Transformers",
        authors="Yifan Wang, Yifei Liu, Yingdong Shi, Changming Li, Anqi Pang, Sibei Yang, "
        "Jingyi Yu, Kan Ren",
        year=2025,
        arxiv="2503.09046",
    ),
    sentence="Hidden units, one of each layer, that are chosen layer by layer for their joint "
    "attribution matter far more to a vision transformer's answer than the most active ones, and "
    "images of one class share them.",
    systems="vision transformer of 4 layers on handwritten digits; perceptrons with wired neurons",
    controls={
        "drop_active": "the most active neuron of each layer, silenced in the same network",
        "drop_random": "random neurons, silenced in the same network",
        "drop_alone": "neurons with the largest integrated gradient, each layer by itself",
        "drop_untrained": "the same search in the same network before training",
        "sharing_untrained": "how much more paths share within classes, before training",
        "shared_answer": "different classes, asked for one and the same answer",
        "stream_joint": "the same search where idle neurons of a residual stream are louder",
    },
    expects=[
        Expect(
            measure="drop_path",
            above="drop_active",
            times=2,
            says="Silencing the path takes at least twice as much of the class's probability as "
            "silencing the most active neurons",
            paper="reports larger changes than all baselines on ImageNet; gives no such factor",
        ),
        Expect(
            measure="score_path",
            above="score_active",
            times=2,
            says="So does the joint attribution, which the search maximises and silencing does not",
        ),
        Expect(measure="p_drop", below=1e-3, says="Over images, by Wilcoxon's signed ranks"),
        Expect(measure="drop_path", above="drop_random", by=0.02, says="Random neurons do nothing"),
        Expect(
            measure="drop_path",
            above="drop_untrained",
            says="Training made such neurons: before it, as good a search finds less",
        ),
        Expect(
            measure="p_shared",
            below=0.01,
            says="Paths share more neurons within classes than between them",
            paper="images of one class share paths, and similar classes similar ones",
        ),
        Expect(
            measure="sharing",
            above="sharing_untrained",
            says="And more so than before training, when each search asks for the class as well",
            paper="has no such control",
        ),
        Expect(
            measure="chain_joint",
            above=0.99,
            says="All neurons are found that were wired one behind the other, beside louder ones",
        ),
        Expect(
            measure="stream_alone",
            above="stream_joint",
            by=0.1,
            says="A limit: in a residual stream loud neurons that do nothing raise the product of "
            "sums, and are taken; integrated gradients of each layer by itself are not misled",
        ),
    ],
    smoke={"images": 30, "epochs": 1, "steps": 4},
    check={"images": 80, "epochs": 15, "steps": 20},
    full={"images": 597, "epochs": 60, "steps": 20},
    seeds=(1, 2, 3, 4, 5),
    equations=[
        r"J(P) = \sum_{l=1}^{L} w_l^{i_l} \cdot \frac{1}{m} \sum_{k=1}^{m} \sum_{l=1}^{L} "
        r"\frac{\partial F_y(\frac{k}{m} w_P)}{\partial w_l^{i_l}}, \qquad P = (i_1, \dots, i_L)",
        r"i_l = \arg\max_i J(P_{l-1} \cup \{i\})",
    ],
    use="""
import torch
from bregma.mechanism import joint_attribution, neuron_paths, scale_neurons

net = torch.nn.Sequential(torch.nn.Linear(20, 30), torch.nn.ReLU(),  # yours
                          torch.nn.Linear(30, 30), torch.nn.ReLU(), torch.nn.Linear(30, 4))
inputs, classes = torch.randn(24, 20), torch.arange(24) % 4
paths = neuron_paths(net, inputs, classes, ["1", "3"])  # of a timm ViT: "blocks.*.mlp.act", token=0
print(joint_attribution(net, inputs, classes, paths).mean())
print(scale_neurons(net, inputs, paths, 0.0)[0])  # probabilities of the answers without them
print(paths.evidence(classes, n=99, seed=0))  # do inputs of one class share neurons?
""",
)
def wang_2025_neuron_path(
    *, seed: int, images: int, epochs: int, steps: int
) -> dict[str, float | Curve]:
    train, test = digits(seed=seed)
    net = VisionTransformer(seed)
    [fresh] = untrained(net, seeds=seed)
    adam = torch.optim.AdamW(net.parameters(), lr=2e-3)
    batches = minibatches(train.inputs, train.targets, size=64)
    fit(net, cross_entropy, batches, optimizer=adam, epochs=epochs, seed=seed)
    net.eval()
    with torch.no_grad():
        accuracy = test.accuracy(net(test.inputs))
    shown = Task(test.inputs[:images], test.targets[:images], 10, test.chance)
    x, y = shown.inputs, shown.targets
    layers = [f"blocks.{i}.activation" for i in range(LAYERS)]
    ways = {
        rule: neuron_paths(net, x, y, layers, token=CLS, by=rule, steps=steps)
        for rule in ("joint", "alone", "activity")
    }
    joint = ways["joint"]
    drawn = spawn(seed, "random").integers(HIDDEN, size=joint.neurons.shape)
    ways["random"] = NeuronPaths(joint.layers, drawn, joint.widths, CLS)
    new = neuron_paths(fresh, x, y, layers, token=CLS, steps=steps)
    score = {w: joint_attribution(net, x, y, p, steps=steps) for w, p in ways.items()}
    drop = {way: drops(net, shown, paths) for way, paths in ways.items()}
    same = (y[:, None] == y).numpy()
    within, between = same & ~np.eye(images, dtype=bool), ~same
    shared, unlearned = joint.shared(), new.shared()
    # Asked for answers that are not there: is it the image or the question that is shared?
    asked = (y + 1 + torch.as_tensor(spawn(seed, "asked").integers(9, size=images))) % 10
    wrong = neuron_paths(net, x, asked, layers, token=CLS, steps=steps).shared()
    alike = (asked[:, None] == asked).numpy()
    factors = [0.0, 0.5, 1.0, 1.5, 2.0]
    axes = ("factor on the activity of the path", "probability lost")
    return {
        "drop_path": drop["joint"].mean(),
        "drop_active": drop["activity"].mean(),
        "drop_random": drop["random"].mean(),
        "drop_alone": drop["alone"].mean(),
        "drop_untrained": drops(fresh, shown, new).mean(),
        "score_path": score["joint"].mean(),
        "score_active": score["activity"].mean(),
        "score_alone": score["alone"].mean(),
        "score_random": score["random"].mean(),
        "p_drop": wilcoxon(drop["joint"], drop["activity"], alternative="greater").pvalue,
        "shared_within": shared[within].mean(),
        "shared_between": shared[between].mean(),
        "shared_answer": wrong[between & alike].mean(),
        "shared_image": wrong[within & ~alike].mean(),
        "sharing": shared[within].mean() - shared[between].mean(),
        "sharing_untrained": unlearned[within].mean() - unlearned[between].mean(),
        "p_shared": joint.evidence(y.numpy(), n=999, seed=seed).p_value,
        "chain_joint": found(seed, "joint", stream=False),
        "chain_active": found(seed, "activity", stream=False),
        "stream_joint": found(seed, "joint", stream=True),
        "stream_alone": found(seed, "alone", stream=True),
        "accuracy": accuracy,
        "joint path": Curve(factors, [drops(net, shown, joint, f).mean() for f in factors], *axes),
        "most active": Curve(
            factors, [drops(net, shown, ways["activity"], f).mean() for f in factors], *axes
        ),
    }
