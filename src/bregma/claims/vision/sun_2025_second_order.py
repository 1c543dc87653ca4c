"""Two paths of motion: luminance for the first, what a nonlinearity makes of it for the second."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from bregma.claims import Curve, Expect, Measures, Paper, claim
from bregma.datasets import contrast_modulation, motion_directions, moving_scenes
from bregma.run import derive, fit, minibatches
from bregma.vision import (
    DualPathFlow,
    MotionEnergy,
    MotionIntegration,
    RectifiedContrast,
    SecondOrderMotion,
    direction_vector,
    sequence_loss,
)

SCENES = {  # share of glossy objects, and whether the label is the motion of their light
    "matt": (0.0, False),
    "glossy": (0.7, False),
    "surface": (0.7, True),
}


@claim(
    paper=Paper(
        "Machine learning modelling for multi-order human visual motion processing",
        "Zitang Sun, Yen-Ju Chen, Yung-Hao Yang, Yuan Li, Shin'ya Nishida",
        2025,
        doi="10.1038/s42256-025-01068-w",
        arxiv="2501.12810",
    ),
    sentence="Motion of contrast is seen only by a path with a nonlinearity before its motion "
    "energy, and a network learns to use that path from objects whose light is not their own.",
    systems="Gabor motion energy with and without rectification, and a network that fuses both, "
    "on drift-balanced motion",
    controls={
        "contrast_first": "motion energy of luminance alone",
        "contrast_linear": "the second path without its rectification",
        "contrast_matt": "the same network trained on matt objects only",
        "contrast_surface": "the same network and movies, labelled with the motion of the light",
    },
    expects=[
        Expect(
            measure="contrast_second",
            above="contrast_first",
            by=0.6,
            says="the rectifying path finds the direction of moving contrast, the luminance path "
            "does not: 60 points between them",
            paper="only the model with a second path follows second-order motion as people do",
        ),
        Expect(
            measure="contrast_second",
            above="contrast_linear",
            by=0.6,
            says="a second path without nonlinearity does not help",
        ),
        Expect(
            measure="contrast_glossy",
            above="contrast_matt",
            by=0.1,
            says="a network trained with glossy objects finds it better than one trained on matt "
            "ones, by 10 points",
            paper="training with non-diffuse materials brings second-order motion perception",
        ),
        Expect(
            measure="contrast_glossy",
            above="contrast_surface",
            by=0.1,
            says="the objects' motion as label does it, not the look of gloss",
        ),
        Expect(
            measure="luminance_first",
            above=0.95,
            says="the luminance path finds the direction of gratings, noise and dots",
        ),
        Expect(
            measure="imbalance",
            below=0.02,
            says="the stimulus is drift-balanced: opponent energy of its pixels is below 2 %",
        ),
    ],
    smoke={"n": 16, "n_test": 16, "epochs": 2, "size": 32, "units": 8, "scales": 2},
    check={"n": 384, "n_test": 96, "epochs": 12, "size": 32, "units": 16, "scales": 2},
    full={"n": 8000, "n_test": 800, "epochs": 30, "size": 128, "units": 32, "scales": 8},
    equations=[
        r"E_1 = |G * I|^2, \quad E_2 = |G * f(I)|^2, \quad f(I) = |I - \bar I|",
        r"E = \big(W_2 \max(0, W_1 [E_1; E_2])\big)^2",
    ],
    use="""
import torch
from bregma.vision import (
    DualPathFlow, MotionEnergy, MotionIntegration, SecondOrderMotion, TextureFeatures,
)

movie = torch.rand(2, 11, 32, 32)  # yours: grey levels (movie, frame, row, column)
first = MotionEnergy(units=8, scales=2, coarsest=2.0, radius=5)
second = SecondOrderMotion(  # features that learn, at half the resolution
    TextureFeatures(4, stride=2), MotionEnergy(8, 2, coarsest=2.0, channels=4, radius=5, grid=4)
)
model = DualPathFlow(first, second, MotionIntegration(16, iterations=2))
flow = model(movie)[-1]            # (movie, 2, row / 8, column / 8), pixels per frame
""",
    area=("V1", "MT"),
    species=("human",),
)
def second_order(
    *, seed: int, n: int, n_test: int, epochs: int, size: int, units: int, scales: int
) -> Measures:
    """Read directions from untrained paths; train networks on other scenes with the same paths."""
    measures: dict[str, float | Curve] = {}
    grid = size // 8
    energy = MotionEnergy(units, scales, coarsest=float(scales), stride=2, grid=grid)
    rectified = SecondOrderMotion(RectifiedContrast(), energy)
    linear = SecondOrderMotion(RectifiedContrast(nn.Identity()), energy)
    tasks = {
        pattern: motion_directions(pattern, n_test, size=size, seed=derive(seed, "test"))
        for pattern in ("grating", "noise", "dots", "contrast")
    }
    paths: dict[str, MotionEnergy | SecondOrderMotion] = {
        "first": energy,
        "second": rectified,
        "linear": linear,
    }
    for name, path in paths.items():
        share = {p: task.accuracy(_untrained(path, task.inputs)) for p, task in tasks.items()}
        measures[f"contrast_{name}"] = share.pop("contrast")
        measures[f"luminance_{name}"] = sum(share.values()) / len(share)
    measures["imbalance"] = _imbalance(energy, n_test, size, derive(seed, "balance"))
    for name, (glossy, label_surface) in SCENES.items():
        train = moving_scenes(
            n,
            objects=6,
            radius=0.2,
            glossy=glossy,
            label_surface=label_surface,
            size=size,
            seed=derive(seed, "train"),
        )
        with torch.random.fork_rng():
            torch.manual_seed(derive(seed, "weights"))
            model = DualPathFlow(energy, rectified, MotionIntegration(units * scales, 2))
        with torch.no_grad():  # neither path is trained: what they see is computed once
            seen = torch.cat([model.sense(part) for part in train.movies.split(32)])
        trained = nn.ModuleList([model.fuse, model.integration, model.decode])
        losses = fit(
            model,
            _loss,
            minibatches(seen, train.flow_on(grid), size=16),
            optimizer=torch.optim.AdamW(trained.parameters(), lr=3e-3),
            epochs=epochs,
            seed=seed,
        )
        steps = losses.reshape(epochs, -1).mean(1)
        measures[f"training {name}"] = Curve(
            range(1, epochs + 1), steps, "epoch", "end-point error (pixels per frame)"
        )
        for pattern, task in tasks.items():
            measures[f"{pattern}_{name}"] = task.accuracy(_answers(model, task.inputs))
    return measures


def _loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    assert isinstance(model, DualPathFlow)
    seen, flow = batch
    return sequence_loss(model.estimate(seen), flow)


def _classes(direction: Tensor) -> Tensor:
    return (direction / (math.pi / 4)).round().long() % 8


def _untrained(path: MotionEnergy | SecondOrderMotion, movies: Tensor) -> Tensor:
    """Vector sum of the units' preferred directions, away from the borders."""
    energy = path if isinstance(path, MotionEnergy) else path.energy
    with torch.no_grad():
        seen = torch.cat([path(part[:, None]) for part in movies.split(32)])
    seen = seen[..., 2:-2, 2:-2].mean((-2, -1))
    return _classes(direction_vector(seen, energy.preferences()["direction"]))


def _answers(model: DualPathFlow, movies: Tensor) -> Tensor:
    """Direction of the mean flow away from the borders."""
    with torch.no_grad():
        flows = torch.cat([model(part)[-1] for part in movies.split(32)])
    x, y = flows[..., 1:-1, 1:-1].mean((-2, -1)).unbind(1)
    return _classes(torch.atan2(y, x))


def _imbalance(energy: MotionEnergy, n: int, size: int, seed: int) -> float:
    """Opponent energy along the motion of contrast, relative to all: the mean over movies."""
    movies = torch.stack(
        [contrast_modulation(0.0, size=size, seed=derive(seed, k)) for k in range(n)]
    )
    with torch.no_grad():
        seen = energy(movies[:, None]).mean((0, 2, 3))
    along = energy.preferences()["direction"].cos()
    return float((seen @ along).abs() / (seen @ along.abs()))
