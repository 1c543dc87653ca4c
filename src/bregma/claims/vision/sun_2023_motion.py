"""Motion energy as V1, self-attention as MT: flow, illusions and plaids of one small model."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from bregma.claims import Curve, Expect, Measures, Paper, claim
from bregma.datasets import drifting_grating, motion_directions, moving_scenes, plaid
from bregma.run import derive, fit, minibatches
from bregma.vision import (
    CosineAffinity,
    MotionEnergy,
    MotionFlow,
    MotionIntegration,
    NeighbourAffinity,
    UniformAffinity,
    direction_index,
    direction_vector,
    endpoint_error,
    pattern_index,
    sequence_loss,
)

AFFINITIES: dict[str, type[nn.Module]] = {
    "attention": CosineAffinity,
    "uniform": UniformAffinity,
    "neighbours": NeighbourAffinity,
}
DIRECTIONS = 12


class RandomFilters(MotionEnergy):
    """The same energy of filters that are no quadrature pairs: noise of the same length."""

    def space_filters(self, scale: int) -> Tensor:
        return _noise_like(super().space_filters(scale), "space", scale)

    def time_filters(self, scale: int) -> Tensor:
        return _noise_like(super().time_filters(scale), "time", scale)


@claim(
    paper=Paper(
        "Modeling human visual motion processing with trainable motion energy sensing and a "
        "self-attention network",
        "Zitang Sun, Yen-Ju Chen, Yung-Hao Yang, Shin'ya Nishida",
        2023,
        arxiv="2305.09156",
    ),
    sentence="Motion energy followed by integration over places that attend to each other sees "
    "objects move as wholes, and is fooled where people are.",
    systems="Gabor motion energy and a recurrent graph of places, on discs of moving texture",
    controls={
        "error_uniform": "the same network, but every place listens to all places alike",
        "error_neighbours": "the same network, but every place listens to its 3 x 3 neighbours",
        "opponency_random": "energy of random filters instead of quadrature pairs",
        "flips_matching": "the best match of successive frames instead of motion energy",
    },
    expects=[
        Expect(
            measure="error_attention",
            below="error_uniform",
            times=0.85,
            says="attention has at least 15 % less end-point error than uniform pooling",
        ),
        Expect(
            measure="error_attention",
            below="error_neighbours",
            times=0.85,
            says="attention has at least 15 % less end-point error than local pooling",
        ),
        Expect(
            measure="flips_v1",
            above=0.8,
            says="the energy of dots that reverse their contrast goes back in 80 % of the trials",
        ),
        Expect(
            measure="flips",
            above=0.8,
            says="and so does the flow that the whole network sees",
            paper="reverse phi is seen, as people see it",
        ),
        Expect(
            measure="dots",
            above=0.9,
            says="the direction of drifting dots is found in 90 % of the trials (chance 12.5 %)",
        ),
        Expect(
            measure="pattern_mt",
            above="pattern_v1",
            by=1.28,
            says="MT units are closer to the pattern of a plaid than V1 units (Zp - Zc, medians)",
            paper="the share of pattern cells grows from the first to the second stage",
        ),
        Expect(
            measure="pattern_mt",
            above=0.0,
            says="the median MT unit follows the pattern (Zp above Zc)",
            paper="so it does in the trained full-size model",
        ),
        Expect(
            measure="pattern_v1",
            below=0.0,
            says="the median V1 unit follows the components (Zp below Zc)",
        ),
        Expect(
            measure="opponency_v1",
            above="opponency_random",
            by=0.3,
            says="quadrature pairs, not any filters, make energy opponent to direction",
        ),
    ],
    smoke={"n": 16, "n_test": 8, "epochs": 2, "size": 32, "scales": 2, "units": 8},
    check={"n": 192, "n_test": 64, "epochs": 12, "size": 48, "scales": 3, "units": 12},
    full={"n": 4000, "n_test": 500, "epochs": 40, "size": 128, "scales": 8, "units": 32},
    equations=[
        r"E = (S_c * k_c - S_s * k_s)^2 + (S_c * k_s + S_s * k_c)^2 + b^2",
        r"E \leftarrow k E / (\langle E \rangle + \sigma^2)",
        r"A_{ij} = \exp(s \cos(a_i, a_j)), \quad m = D^{-1/2} A D^{-1/2} V h",
    ],
    use="""
import torch
from bregma.vision import MotionEnergy, MotionFlow, MotionIntegration

movie = torch.rand(1, 11, 32, 32)  # yours: grey levels (movie, frame, row, column)
v1 = MotionEnergy(units=16, scales=2, coarsest=2.0)
model = MotionFlow(v1, MotionIntegration(32, iterations=3))
flow = model(movie)[-1]            # (movie, 2, row / 8, column / 8), pixels per frame
features = model.v1(movie)         # regressors for a dorsal-stream area
preferred = v1.preferences()["direction"]
""",
    area=("V1", "MT"),
    species=("human", "macaque"),
)
def attention(
    *, seed: int, n: int, n_test: int, epochs: int, size: int, scales: int, units: int
) -> Measures:
    """Train three networks that differ in who listens to whom, on the same frozen V1."""
    grid = size // 8
    v1 = MotionEnergy(units, scales, coarsest=float(scales), stride=2, grid=grid)
    measures: dict[str, float | Curve] = {}
    train, test = (
        moving_scenes(k, objects=2, noise=0.3, size=size, seed=derive(seed, part))
        for k, part in ((n, "train"), (n_test, "test"))
    )
    seen, shown = _v1(v1, train.movies), _v1(v1, test.movies)
    models = {}
    for name, affinity in AFFINITIES.items():
        with torch.random.fork_rng():
            torch.manual_seed(derive(seed, "weights"))
            model = MotionFlow(v1, MotionIntegration(units * scales, 3, affinity()))
        trained = [*model.integration.parameters(), *model.decode.parameters()]
        fit(
            model,
            _loss,
            minibatches(seen, train.flow_on(grid), size=16),
            optimizer=torch.optim.AdamW(trained, lr=3e-3),
            epochs=epochs,
            seed=seed,
        )
        with torch.no_grad():
            flows = model.read_out(model.mt(shown))
        errors = endpoint_error(flows, test.flow_on(grid).expand_as(flows)).mean((1, 2, 3))
        measures[f"error_{name}"] = float(errors[-1])
        measures[f"errors {name}"] = Curve(
            range(1, len(errors) + 1),
            errors.tolist(),
            "iteration",
            "end-point error (pixels per frame)",
        )
        models[name] = model
    model = models["attention"]
    plain, turned = (
        motion_directions("dots", max(8, n_test), size=size, reverse=r, seed=derive(seed, "dots"))
        for r in (False, True)
    )
    measures["dots"] = plain.accuracy(_direction(model, plain.inputs))
    measures["flips_v1"] = turned.accuracy((_vector_sum(v1, turned.inputs) + 4) % 8)
    measures["flips"] = turned.accuracy((_direction(model, turned.inputs) + 4) % 8)
    measures["flips_matching"] = turned.accuracy((_matched(turned.inputs) + 4) % 8)
    gratings, plaids = (
        torch.stack([f(k * 2 * math.pi / DIRECTIONS, size=size) for k in range(DIRECTIONS)])
        for f in (drifting_grating, plaid)
    )
    with torch.no_grad():
        tunings = [(model.v1(m), model.mt(model.v1(m))[-1]) for m in (gratings, plaids)]
        random = RandomFilters(units, scales, coarsest=float(scales), stride=2, grid=grid)
        measures["opponency_v1"] = float(direction_index(_tuning(v1(gratings[:, None]))).mean())
        measures["opponency_random"] = float(
            direction_index(_tuning(random(gratings[:, None]))).mean()
        )
    for area, responses in zip(("v1", "mt"), zip(*tunings, strict=True), strict=True):
        pattern, component = pattern_index(*(_tuning(r) for r in responses))
        measures[f"pattern_{area}"] = float((pattern - component).median())
    return measures


def _loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    assert isinstance(model, MotionFlow)
    seen, flow = batch
    return sequence_loss(model.read_out(model.mt(seen)), flow)


def _v1(v1: MotionEnergy, movies: Tensor) -> Tensor:
    """Normalised energy of many movies, which training does not change."""
    stage = MotionFlow(v1, MotionIntegration(v1.angle.numel()))
    with torch.no_grad():
        return torch.cat([stage.v1(part) for part in movies.split(16)])


def _direction(model: MotionFlow, movies: Tensor) -> Tensor:
    """Which of eight directions the mean flow away from the borders has."""
    with torch.no_grad():
        x, y = model(movies)[-1][..., 1:-1, 1:-1].mean((-2, -1)).unbind(1)
    return (torch.atan2(y, x) / (math.pi / 4)).round().long() % 8


def _vector_sum(v1: MotionEnergy, movies: Tensor) -> Tensor:
    """Direction that V1 alone stands for."""
    with torch.no_grad():
        seen = torch.cat([v1(part[:, None]) for part in movies.split(16)])
    direction = direction_vector(_tuning(seen).T, v1.preferences()["direction"])
    return (direction / (math.pi / 4)).round().long() % 8


def _matched(movies: Tensor) -> Tensor:
    """The direction of the displacement that brings frames onto their successors best."""
    spectra = torch.fft.fft2(movies - 0.5)
    match = torch.fft.ifft2((spectra[:, :-1].conj() * spectra[:, 1:]).mean(1)).real
    side = match.shape[-1]
    best = match.flatten(1).argmax(1)
    y, x = ((place + side // 2) % side - side // 2 for place in (best // side, best % side))
    return (torch.atan2(y.float(), x.float()) / (math.pi / 4)).round().long() % 8


def _tuning(responses: Tensor) -> Tensor:
    """(unit, direction), the mean over places away from the borders."""
    return responses[..., 2:-2, 2:-2].mean((-2, -1)).T


def _noise_like(filters: Tensor, *name: str | int) -> Tensor:
    """Noise under the same norm, always the same for the same name."""
    generator = torch.Generator().manual_seed(derive(0, *name))
    noise = torch.randn(filters.shape, generator=generator)
    return noise * (filters.flatten(1).norm(dim=1) / noise.flatten(1).norm(dim=1)).view(
        -1, *[1] * (filters.ndim - 1)
    )
