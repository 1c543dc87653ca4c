"""Years as seen from a present: which distance do similarity ratings follow, and where is now?"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from bregma import Recording
from bregma.claims import Curve, Expect, Paper, claim
from bregma.datasets import years
from bregma.geometry import (
    CosineDistance,
    MagnitudeFit,
    fit_magnitude,
    magnitude_distances,
    rdm,
)
from bregma.run import derive, fit, minibatches, spawn, spawn_torch

NOW, NOISE, ITEM_NOISE = 2025, 0.1, 0.15
ASKED = np.arange(1501.0, 2501.0, 2.0)  # references that are tried


def rater(
    shown: np.ndarray, account: str, rng: np.random.Generator, item_noise: float = 0.0
) -> np.ndarray:
    """Dissimilarities from 0 to 1 of all pairs of years, with noise of pairs and of years."""
    d = magnitude_distances(shown, account, reference=NOW)
    i, j = np.triu_indices(len(shown), 1)
    own = item_noise * rng.standard_normal(len(shown))
    return d / d.max() + NOISE * rng.standard_normal(len(d)) + own[i] + own[j]


def seen_by_network(reference: int | None, n: int, epochs: int, *, seed: int) -> MagnitudeFit:
    """A network learns which year comes next; how far apart its vectors of the years are."""
    world = years(n, first=1945, last=2044, reference=reference, seed=seed)
    net = nn.Sequential(nn.Embedding(100, 32), nn.Linear(32, 100))  # vectors first
    start = spawn_torch(seed, "weights")
    for p in net.parameters():
        p.data = 0.1 * torch.randn(p.shape, generator=start)
    fit(
        net,
        lambda net, batch: nn.functional.cross_entropy(net(batch[0]), batch[1]),
        minibatches(world.inputs.flatten(), world.targets.flatten(), size=256),
        optimizer=torch.optim.Adam(net.parameters(), lr=1e-2),
        epochs=epochs,
        seed=seed,
    )
    vectors = next(net.parameters()).detach().double().numpy()
    recorded = Recording.from_array(vectors, presentation=[str(y) for y in world.years])
    return fit_magnitude(
        rdm(recorded, CosineDistance()),
        world.years.astype(float),
        references=world.years.astype(float),
        seed=seed,
    )


@claim(
    paper=Paper(
        title="The Other Mind: How Language Models Exhibit Human Temporal Cognition",
        authors="Lingyu Li, Yang Yao, Yixu Wang, Chunbo Li, Yan Teng, Yingchun Wang",
        year=2025,
        arxiv="2507.15851",
    ),
    sentence="Years are told apart by the logarithm of how far they are from a reference in the "
    "present; held-out ratings tell this account from others and find the reference.",
    systems="simulated raters of 60 years with known accounts; networks that predict the next year",
    controls={
        "own": "raters that follow a linear, a logarithmic, a nearness or a digit distance",
        "permuted_score": "ratings exchanged among pairs, with the same scan of references",
        "coverage_pairs": "intervals from resampled pairs alone",
        "uniform_error": "a network for which all years are equally frequent",
        "untrained_score": "a network that learned nothing",
    },
    expects=[
        Expect(
            measure="advantage",
            above=0.1,
            says="Of raters that have a reference, the account with one predicts held-out years "
            "better than any without",
            paper="larger language models follow it, smaller ones the edit distance",
        ),
        Expect(
            measure="found",
            above=0.85,
            says="Their reference is found within 5 years",
            paper="near 2025; of years 1525 to 2524, whose middle is 2024.5",
        ),
        Expect(measure="own", above=0.9, says="Other raters are assigned to their own accounts"),
        Expect(
            measure="permuted_score",
            below=0.02,
            says="Where there is nothing to find, a free reference gains nothing",
        ),
        Expect(
            measure="coverage",
            above="coverage_pairs",
            says="With noise of years, resampled years and pairs cover the reference more often "
            "than resampled pairs",
        ),
        Expect(
            measure="network_score",
            above="network_linear",
            says="Vectors of a network that reads of the present more often are told apart by the "
            "distance from a reference, better than by the linear one",
        ),
        Expect(
            measure="network_error",
            below="uniform_error",
            by=5,
            says="And frequencies bring the reference to the present",
        ),
    ],
    smoke={"raters": 2, "resamples": 20, "n": 30, "epochs": 1},
    check={"raters": 20, "resamples": 200, "n": 1000, "epochs": 3},
    full={"raters": 200, "resamples": 1000, "n": 10_000, "epochs": 10},
    seeds=(1, 2, 3, 4, 5),
    equations=[
        r"s_R(y) = \mathrm{sign}(y - R) \ln(1 + |y - R|), \qquad d_R(i, j) = |s_R(i) - s_R(j)|",
        r"\hat R = \arg\min_R \min_{a, b \ge 0} \sum_{i < j} (D_{ij} - a - b\, d_R(i, j))^2",
    ],
    use="""
import numpy as np
from bregma.geometry import fit_magnitude

years = np.array([1600, 1700, 1800, 1850, 1900, 1950, 1980, 2000, 2010, 2020, 2030, 2100, 2200])
i, j = np.triu_indices(len(years), 1)
similarity = -np.log1p(years[j] - years[i])  # yours: a rating of each pair
found = fit_magnitude(-similarity, years, references=np.arange(1600, 2201, 5), seed=0)
print(found.to_frame())  # accounts, on held-out items
print(found.reference, found.interval(n=200, seed=0))
""",
)
def li_2025_years(
    *, seed: int, raters: int, resamples: int, n: int, epochs: int
) -> dict[str, float | Curve]:
    rng = spawn(seed, "raters")

    def shown() -> np.ndarray:
        return np.sort(rng.choice(np.arange(1500.0, 2501.0), 60, replace=False))

    def fitted(account: str, item_noise: float = 0.0, exchange: bool = False) -> MagnitudeFit:
        of = shown()
        answers = rater(of, account, rng, item_noise)
        answers = rng.permutation(answers) if exchange else answers
        key = derive(seed, "fit", int(rng.integers(2**31)))
        return fit_magnitude(answers, of, references=ASKED, seed=key)

    with_one = [fitted("reference") for _ in range(raters)]
    without = {
        name: [fitted(name) for _ in range(raters)] for name in ("linear", "log", "near", "digits")
    }
    exchanged = [fitted("reference", exchange=True) for _ in range(raters)]
    noisy = [fitted("reference", item_noise=ITEM_NOISE) for _ in range(raters)]

    def covered(over: str) -> float:
        intervals = [f.interval(n=resamples, over=over, seed=seed) for f in noisy]
        return float(np.mean([float(NOW) in interval for interval in intervals]))

    network = seen_by_network(NOW, n, epochs, seed=seed)
    uniform = seen_by_network(None, n, epochs, seed=seed)
    untrained = seen_by_network(NOW, n, 0, seed=seed)
    axes = "reference", "held-out R2"
    return {
        "advantage": float(np.mean([f.advantage for f in with_one])),
        "found": float(np.mean([abs(f.reference - NOW) <= 5 for f in with_one])),
        "own": float(np.mean([f.best == name for name, fits in without.items() for f in fits])),
        "permuted_score": float(np.mean([f.score["reference"] for f in exchanged])),
        "coverage": covered("items and pairs"),
        "coverage_pairs": covered("pairs"),
        "network_score": network.score["reference"],
        "network_linear": network.score["linear"],
        "network_error": abs(network.reference - NOW),
        "uniform_score": uniform.score["reference"],
        "uniform_linear": uniform.score["linear"],
        "uniform_error": abs(uniform.reference - NOW),
        "untrained_score": untrained.score["reference"],
        "network": Curve(network.references, network.scan, *axes),
        "uniform": Curve(uniform.references, uniform.scan, *axes),
    }
