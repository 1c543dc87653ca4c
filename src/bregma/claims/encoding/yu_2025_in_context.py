"""A transformer writes the encoder of a new subject's voxels from a few images."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from sklearn.linear_model import RidgeCV
from torch import Tensor

from bregma.claims import Curve, Expect, Paper, claim
from bregma.datasets import SharedVoxels, shared_voxels
from bregma.encoding import InContextEncoder, InContextRegressor, episodes, in_context_loss
from bregma.run import fit, spawn

LENGTHS = (8, 20, 64, 100, 300, 1000)  # trained are 8 to 64
RATE = 4e-3  # the highest: after a warm-up it falls to 0
Weights = Callable[[np.ndarray, np.ndarray], np.ndarray]


def trained(
    encoder: InContextEncoder,
    world: SharedVoxels,
    scale: float,
    steps: int,
    seed: int,
    loss: Callable[..., Tensor] = in_context_loss,
) -> InContextEncoder:
    """Learn to predict the voxels of all subjects but the last one."""
    subjects = [
        (torch.tensor(world.train).float(), torch.tensor(s.responses / scale).float())
        for s in world.subjects[:-1]
    ]
    adam = torch.optim.AdamW(encoder.parameters(), lr=RATE, weight_decay=1e-4)
    cycle = torch.optim.lr_scheduler.OneCycleLR(adam, RATE, total_steps=steps + 1, pct_start=0.1)
    adam.register_step_post_hook(lambda *_: cycle.step())
    batches = episodes(subjects, context=(8, 64), queries=32, tasks=32, steps=steps)
    fit(encoder, loss, batches, optimizer=adam, epochs=1, seed=seed)
    return encoder


def shuffled_loss(
    encoder: InContextEncoder, episode: tuple[Tensor, Tensor, Tensor, Tensor]
) -> Tensor:
    """Responses of the context belong to other images of the context."""
    x, y, new, target = episode
    return in_context_loss(encoder, (x, y.roll(1, dims=1), new, target))


def in_context(encoder: InContextEncoder, scale: float) -> Weights:
    model = InContextRegressor(encoder, batch_size=32, device="cpu")
    return lambda x, y: model.fit(x, y / scale).coef_


def ridge(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Fitted to the same pairs, with a penalty for each voxel from leave-one-out errors."""
    return RidgeCV(np.logspace(-1, 4, 16), alpha_per_target=True).fit(x, y).coef_


def accuracy(weights: Weights, world: SharedVoxels, n: int, n_new: int, seed: int) -> float:
    """Correlation of predictions for the test images with the noise-free responses there.

    Averaged over voxels of the new subject, and over contexts where they are short.
    """
    new, found = world.subjects[-1], []
    for draw in range(max(1, 200 // n)):
        seen = spawn(seed, "context", n, draw).permutation(len(world.train))[:n]
        predicted = world.test @ weights(world.train[seen], new.responses[seen, :n_new]).T
        a, b = predicted - predicted.mean(0), new.signal[:, :n_new] - new.signal[:, :n_new].mean(0)
        lengths = np.linalg.norm(a, axis=0) * np.linalg.norm(b, axis=0)
        found.append((a * b).sum(axis=0) / np.maximum(lengths, 1e-12))
    return float(np.mean(found))


@claim(
    paper=Paper(
        title="Meta-Learning an In-Context Transformer Model of Human Higher Visual Cortex",
        authors="Muquan Yu, Mu Nan, Hossein Adeli, Jacob S. Prince, John A. Pyles, Leila Wehbe, "
        "Margaret M. Henderson, Michael J. Tarr, Andrew F. Luo",
        year=2025,
        arxiv="2505.15813",
    ),
    sentence="A transformer that was trained on other subjects writes the encoders of a new "
    "subject's voxels from a few images, far better than ridge regression on the same images.",
    systems="simulated voxels, linear in embeddings of handwritten digits, with weights in a "
    "4-dimensional subspace of 16 that all subjects share",
    controls={
        "ridge_20": "ridge regression on the same 20 images, penalty chosen for each voxel",
        "shuffled_20": "the same transformer, trained with contexts in which responses belong to "
        "other images",
        "broken_20": "the trained transformer, given such a context of the new subject",
        "unscaled_1000": "the same transformer without scaling queries by the length's logarithm",
        "bayes_20": "the ceiling: posterior mean that knows the shared subspace and the noise",
    },
    expects=[
        Expect(
            measure="in_context_20",
            above="ridge_20",
            by=0.15,
            says="With 20 images it predicts far better than ridge regression",
            paper="beats voxelwise regression on the same images",
        ),
        Expect(
            measure="below_bayes_20",
            below=0.07,
            says="It comes close to the best possible inference",
        ),
        Expect(
            measure="in_context_1000",
            above="in_context_20",
            by=0.1,
            says="It gets better with more images, also with more than it was ever trained on",
            paper="accuracy keeps growing with the number of images",
        ),
        Expect(
            measure="below_ridge_1000",
            below=0.02,
            says="At 1000 images it is as good as ridge regression",
            paper="near encoders that are fitted to thousands of images",
        ),
        Expect(
            measure="shuffled_size",
            below=0.15,
            says="It has to be trained on responses that belong to their images",
        ),
        Expect(measure="broken_size", below=0.25, says="and to be given such responses"),
        Expect(
            measure="in_context_1000",
            above="unscaled_1000",
            says="Scaling queries by log n carries it further beyond the trained lengths",
            paper="uses it for that purpose",
        ),
    ],
    smoke={"n_subjects": 3, "n_voxels": 20, "n_new": 4, "steps": 8},
    check={"n_subjects": 8, "n_voxels": 500, "n_new": 50, "steps": 600},
    full={"n_subjects": 8, "n_voxels": 10000, "n_new": 1000, "steps": 20000},
    equations=[
        r"t_i = \mathrm{MLP}([x_i; y_i]), \quad t \leftarrow t + \mathrm{Attention}"
        r"(\log(n + r)\, q, k, v), \quad (w, c) = \mathrm{MLP}(t_{\text{register}})",
        r"\hat y(x) = w^\top x + c, \quad n \text{ images}, r \text{ registers}",
        r"\text{Bayes: } w = B\,(Z^\top Z + \sigma^2 I)^{-1} Z^\top y, \quad Z = X B",
    ],
    use="""
import torch
from bregma.encoding import InContextEncoder, InContextRegressor, episodes, in_context_loss
from bregma.run import fit

subjects = [(torch.randn(60, 8), torch.randn(60, 30)) for _ in range(2)]  # images, voxels
encoder = InContextEncoder(8, width=16, layers=1, heads=2, hidden=16, seed=0)
batches = episodes(subjects, context=(8, 32), queries=8, tasks=16, steps=5)
adam = torch.optim.AdamW(encoder.parameters(), lr=2e-3)
fit(encoder, in_context_loss, batches, optimizer=adam, epochs=1, seed=0)
x, y = torch.randn(20, 8).numpy(), torch.randn(20, 40).numpy()  # a new subject
model = InContextRegressor(encoder).fit(x, y)  # one forward pass
print(model.predict(x).shape, model.coef_.shape)
""",
    area=("higher visual cortex",),
    species=("human",),
)
def yu_2025_in_context(
    *, seed: int, n_subjects: int, n_voxels: int, n_new: int, steps: int
) -> dict[str, float | Curve]:
    world = shared_voxels(n_subjects, n_voxels, seed=seed)
    size, scale = world.train.shape[1], float(np.std(world.subjects[0].responses))
    encoder = trained(InContextEncoder(size, seed=seed), world, scale, steps, seed)
    shuffled = trained(InContextEncoder(size, seed=seed), world, scale, steps, seed, shuffled_loss)
    unscaled = InContextEncoder(size, length_scaling=False, seed=seed)
    unscaled = trained(unscaled, world, scale, steps, seed)

    written = in_context(encoder, scale)
    methods: dict[str, Weights] = {
        "in_context": written,
        "ridge": ridge,
        "bayes": world.posterior_mean,
        "unscaled": in_context(unscaled, scale),
    }
    measures: dict[str, float | Curve] = {}
    for name, weights in methods.items():
        r = {f"{name}_{n}": accuracy(weights, world, n, n_new, seed) for n in LENGTHS}
        axes = "log10 of images in the context", "correlation with the signal"
        measures |= {**r, name: Curve(np.log10(LENGTHS), list(r.values()), *axes)}
    controls = {
        "shuffled_20": accuracy(in_context(shuffled, scale), world, 20, n_new, seed),
        "broken_20": accuracy(
            lambda x, y: written(x, np.roll(y, 1, axis=0)), world, 20, n_new, seed
        ),
    }
    at = {name: value for name, value in measures.items() if isinstance(value, float)}
    return (
        measures
        | controls
        | {
            "below_bayes_20": at["bayes_20"] - at["in_context_20"],
            "below_ridge_1000": at["ridge_1000"] - at["in_context_1000"],
            "shuffled_size": abs(controls["shuffled_20"]),
            "broken_size": abs(controls["broken_20"]),
        }
    )
