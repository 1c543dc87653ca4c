"""Sparse coding with penalties that do not shrink: fewer active units for the same error."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from bregma.claims import Curve, Expect, Measures, Paper, claim
from bregma.datasets import planted_codes, sample_images
from bregma.run import derive, spawn
from bregma.vision import (
    CEL0Penalty,
    HalfPenalty,
    HardPenalty,
    Penalty,
    SoftPenalty,
    SparseCoding,
    debias,
    fit_gabor,
    random_patches,
    sparse_code,
    warm_code,
    whitened,
)

Coder = Callable[[Tensor, Tensor, float], Tensor]
PENALTIES: dict[str, type[Penalty]] = {
    "hard": HardPenalty,
    "half": HalfPenalty,
    "cel0": CEL0Penalty,
}
LEVELS = (0.2, 0.3, 0.4, 0.5)  # of the variance of the patches


@claim(
    paper=Paper(
        "Beyond l1 sparse coding in V1",
        "Ilias Rentzeperis, Luca Calatroni, Laurent U. Perrinet, Dario Prandi",
        2023,
        doi="10.1371/journal.pcbi.1011459",
        arxiv="2301.10002",
    ),
    sentence="At equal reconstruction error, penalties that do not shrink what stays need fewer "
    "active units than the l1 norm.",
    systems="proximal descent on planted codes and on whitened patches of two photographs",
    controls={
        "active_soft": "the l1 norm at the same error",
        "active_debiased": "the support of the l1 norm, fitted again without shrinkage",
        "gabors_shuffled": "a dictionary of patches whose pixels were shuffled",
    },
    expects=[
        Expect(
            measure="active_hard",
            below="active_soft",
            times=0.75,
            says="hard thresholding needs at most 75 % of the active units of soft thresholding",
            paper="l1 needs a denser code or a dictionary of ten times the size",
        ),
        Expect(
            measure="active_half",
            below="active_soft",
            times=0.75,
            says="so does the l1/2 penalty",
        ),
        Expect(
            measure="active_cel0",
            below="active_soft",
            times=0.75,
            says="and the exact continuous relaxation of l0",
        ),
        Expect(
            measure="f1_hard",
            above="f1_soft",
            by=0.1,
            says="the planted support is found better, by 0.1 of F1",
        ),
        Expect(
            measure="natural_ratio_hard",
            below=0.9,
            says="on patches of photographs at every error level too: at most 90 %",
        ),
        Expect(
            measure="natural_ratio_cel0",
            below=0.9,
            says="and with the relaxation",
        ),
        Expect(
            measure="natural_ratio_cel0",
            below="natural_ratio_debiased",
            says="not only because it does not shrink: fewer than the l1 support fitted again",
        ),
        Expect(
            measure="gabors_hard",
            above="gabors_shuffled",
            by=0.2,
            says="atoms for photographs are Gabor functions (R2 above 0.7), those for shuffled "
            "pixels are not: 20 points between them",
            paper="oriented receptive fields with all penalties",
        ),
        Expect(
            measure="gabors_soft",
            above=0.5,
            says="half of the atoms that the l1 norm learns are",
        ),
    ],
    smoke={"n": 40, "patches": 200, "atoms": 64, "epochs": 2, "halvings": 4, "steps": 50},
    check={"n": 200, "patches": 2000, "atoms": 128, "epochs": 15, "halvings": 9, "steps": 150},
    full={"n": 2000, "patches": 50_000, "atoms": 256, "epochs": 50, "halvings": 14, "steps": 500},
    equations=[
        r"\min_a \tfrac12 \|y - D a\|^2 + \lambda \phi(a), \quad "
        r"a \leftarrow \mathrm{prox}_{s \lambda \phi}\big(a + s D^\top (y - D a)\big)",
        r"\mathrm{soft}: \mathrm{sign}(u) \max(|u| - s\lambda, 0), \quad "
        r"\mathrm{hard}: u \, [\,|u| > \sqrt{2 s \lambda}\,]",
    ],
    use="""
import numpy as np
from bregma.vision import CEL0Penalty, SparseCoding, fit_gabor, random_patches, whitened
import torch

images = np.random.default_rng(0).random((4, 64, 64))  # yours: grey levels (image, row, column)
patches = random_patches(whitened(images), 500, 8, seed=0)
model = SparseCoding(96, CEL0Penalty(0.3), epochs=1).fit(patches)
code = model.transform(patches)
fields = torch.as_tensor(model.dictionary_.reshape(-1, 8, 8))
shape = fit_gabor(fields, steps=20)  # r2, frequency, orientation, widths of every atom
""",
    area=("V1",),
)
def thresholding(
    *, seed: int, n: int, patches: int, atoms: int, epochs: int, halvings: int, steps: int
) -> Measures:
    """Match penalties in error, then count; learn dictionaries, then look at them."""
    measures: dict[str, float | Curve] = {}

    def soft(signals: Tensor, dictionary: Tensor, strength: float) -> Tensor:
        return sparse_code(signals, dictionary, SoftPenalty(strength), steps=steps)

    def debiased(signals: Tensor, dictionary: Tensor, strength: float) -> Tensor:
        return debias(signals, dictionary, soft(signals, dictionary, strength))

    def unshrunk(penalty: type[Penalty]) -> Coder:
        return lambda signals, dictionary, strength: warm_code(
            signals, dictionary, penalty, strength, steps=steps
        )

    coders: dict[str, Coder] = {"soft": soft, "debiased": debiased}
    coders |= {name: unshrunk(penalty) for name, penalty in PENALTIES.items()}

    data = planted_codes(n, seed=derive(seed, "planted"))
    for name, coder in coders.items():
        code = _matched(coder, data.signals, data.dictionary, 1.6 * data.noise**2, halvings)
        measures[f"active_{name}"] = _active(code)
        measures[f"f1_{name}"] = data.f1(code)

    images = whitened(sample_images(60, photographs=1.0, seed=derive(seed, "images")).array())
    train = random_patches(images, patches, 8, seed=derive(seed, "patches"))
    shuffled = spawn(seed, "shuffle").permuted(train, axis=1)
    fields = {}
    for name, penalty, signals in (
        ("soft", SoftPenalty(0.8), train),
        ("hard", HardPenalty(1.5), train),
        ("shuffled", HardPenalty(1.5), shuffled),
    ):
        model = SparseCoding(atoms, penalty, epochs=epochs, steps=30, seed=derive(seed, "atoms"))
        fields[name] = torch.as_tensor(model.fit(signals).dictionary_)
        shape = fit_gabor(fields[name].unflatten(1, (8, 8)))
        measures[f"gabors_{name}"] = float((shape.r2 > 0.7).float().mean())

    # all penalties on the dictionary that was learned for the control
    test = torch.as_tensor(
        random_patches(images, n, 8, seed=derive(seed, "test")), dtype=torch.float32
    )
    curves = {}
    for name in ("soft", "debiased", "hard", "cel0"):
        codes = [
            _matched(coders[name], test, fields["soft"].T, level * float(test.var()), halvings)
            for level in LEVELS
        ]
        curves[name] = np.array([_active(code) for code in codes])
        measures[f"natural {name}"] = Curve(
            LEVELS, curves[name], "error (share of variance)", "active units"
        )
    for name in ("debiased", "hard", "cel0"):
        measures[f"natural_ratio_{name}"] = float((curves[name] / curves["soft"]).max())
    return measures


def _matched(
    coder: Coder, signals: Tensor, dictionary: Tensor, error: float, halvings: int
) -> Tensor:
    """The code whose mean squared error is the one asked for, by bisection of log lambda."""
    low, high = np.log(1e-5), np.log(1e2)
    for _ in range(halvings + 4):
        middle = (low + high) / 2
        code = coder(signals, dictionary, float(np.exp(middle)))
        if float((signals - code @ dictionary.T).square().mean()) > error:
            high = middle
        else:
            low = middle
    return code


def _active(code: Tensor) -> float:
    """Mean number of active units."""
    return float((code != 0).sum(1).float().mean())
