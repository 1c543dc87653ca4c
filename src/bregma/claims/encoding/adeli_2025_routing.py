"""Attention routes what category areas need from wherever it is; a fixed field cannot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.decomposition import PCA
from sklearn.linear_model import RidgeCV
from torch import nn

from bregma.claims import Curve, Expect, Paper, claim
from bregma.datasets import RoutedAreas, routed_areas
from bregma.encoding import AttentionReadout, FactorisedReadout, TokenRegressor

WIDTH, HIDDEN = 32, 64
RATES = (3e-3, 1e-2)  # every readout has the choice


def fitted(readout: nn.Module, x: np.ndarray, y: np.ndarray, **settings: Any) -> TokenRegressor:
    """The readout, trained with the learning rate that predicts held-out scenes best."""
    models = [TokenRegressor(readout, lr=lr, batch_size=64, **settings).fit(x, y) for lr in RATES]
    return max(models, key=lambda model: model.validation_scores_.mean())


def frozen(readout: AttentionReadout) -> AttentionReadout:
    """Attention that stays as random as it is; values and weights of units are learned."""
    for name, parameter in readout.named_parameters():
        parameter.requires_grad_(not name.startswith(("query", "key", "place_key")))
    return readout


def correlations(predicted: np.ndarray, signal: np.ndarray) -> np.ndarray:
    """Of each unit, with its response without noise: 1 is the noise ceiling."""
    a, b = predicted - predicted.mean(axis=0), signal - signal.mean(axis=0)
    lengths = np.linalg.norm(a, axis=0) * np.linalg.norm(b, axis=0)
    return (a * b).sum(axis=0) / np.maximum(lengths, 1e-12)


def pointing(maps: np.ndarray, areas: Sequence[str], labels: np.ndarray) -> float:
    """How often an area's attention is highest at its digit, where there is one."""
    hits = []
    for area, of_area in zip(areas, maps.swapaxes(0, 1), strict=True):
        kind, target = area.split()
        if kind == "digit":
            there = (labels == int(target)).any(axis=1)
            peaks = of_area[there].argmax(axis=1)
            hits.append(labels[there, peaks] == int(target))
    return float(np.concatenate(hits).mean())


@claim(
    paper=Paper(
        title="Transformer brain encoders explain human high-level visual responses",
        authors="Hossein Adeli, Minni Sun, Nikolaus Kriegeskorte",
        year=2025,
        arxiv="2505.17329",
    ),
    sentence="One attention query for each area predicts category-selective areas, which read "
    "their object wherever it is; readouts with fixed places do so in retinotopic areas only.",
    systems="4 simulated category areas and 4 place areas seeing scenes of scattered handwritten "
    "digits; tokens are whitened principal components of the patches",
    controls={
        "factorised_category": "a fixed map of places and weights of features for each unit, "
        "with as many parameters and the same layer behind",
        "ridge_category": "ridge regression on the tokens of all places, penalty chosen per unit",
        "frozen_category": "the same attention with random queries and keys that are not learned",
        "unplaced_place": "the same attention without the code of places",
    },
    expects=[
        Expect(
            measure="attention_category",
            above="factorised_category",
            by=0.4,
            says="Attention predicts category areas far better than fixed maps",
            paper="better in face, body and place areas by a smaller margin: each token of a deep "
            "network knows of the whole image",
        ),
        Expect(
            measure="attention_category",
            above=0.7,
            says="It comes near the noise ceiling of category areas",
        ),
        Expect(
            measure="attention_category",
            above="ridge_category",
            by=0.4,
            says="and far above ridge regression on all tokens",
            paper="also above ridge regression on all tokens",
        ),
        Expect(
            measure="attention_category",
            above="frozen_category",
            by=0.4,
            says="It is the learned routing that does it",
        ),
        Expect(
            measure="lead_in_place",
            below=0.03,
            says="In place areas attention gains nothing over a fixed map",
            paper="calls fixed receptive fields appropriate for early visual areas only",
        ),
        Expect(
            measure="factorised_place", above=0.9, says="where the fixed map reaches the ceiling"
        ),
        Expect(
            measure="pointing",
            above=0.9,
            says="Attention points at the digit of the area (by chance 1 in 36 times)",
            paper="maps of face areas land on faces",
        ),
        Expect(
            measure="attention_place",
            above="unplaced_place",
            by=0.5,
            says="Without a code of places on the keys, place areas are lost",
        ),
    ],
    smoke={"n_train": 150, "n_test": 60, "side": 4, "n_units": 3, "epochs": 3},
    check={"n_train": 2000, "n_test": 500, "side": 6, "n_units": 12, "epochs": 30},
    full={"n_train": 20000, "n_test": 2000, "side": 12, "n_units": 50, "epochs": 60},
    seeds=(1, 2, 3, 4, 5),
    equations=[
        r"A_{rt} = \operatorname{softmax}_t \frac{q_r^\top (W_k x_t + W_p p_t)}{\sqrt d}",
        r"\hat y_v = w_v^\top\, \phi\Bigl(\sum_t A_{r(v)t}\, W_v x_t\Bigr) + b_v",
        r"\text{fixed: } \hat y_v = w_v^\top\, \phi\Bigl(\sum_t m_{vt}\, x_t\Bigr) + b_v",
    ],
    use="""
import numpy as np
from bregma.encoding import AttentionReadout, TokenRegressor

rng = np.random.default_rng(0)
tokens = rng.standard_normal((100, 16, 8))  # yours: patch_tokens(model, images)
responses = rng.standard_normal((100, 5))  # (image, voxel)
areas = ["V1", "V1", "FFA", "FFA", "PPA"]  # of each voxel
readout = AttentionReadout(8, areas, grid=(4, 4), seed=0)
model = TokenRegressor(readout, epochs=3, seed=0).fit(tokens, responses)
predicted = model.predict(tokens)
where = model.readout_.attention(model.standardised(tokens))  # (image, area, token)
""",
    area=("FFA", "EBA", "PPA", "V1"),
    species=("human",),
)
def adeli_2025_routing(
    *, seed: int, n_train: int, n_test: int, side: int, n_units: int, epochs: int
) -> dict[str, float | Curve]:
    train, test = routed_areas(n_train, n_test, side=side, n_units=n_units, seed=seed)
    backbone = PCA(WIDTH, whiten=True, random_state=seed).fit(train.patches.reshape(-1, 64))

    def tokens(scenes: RoutedAreas) -> np.ndarray:
        found = backbone.transform(scenes.patches.reshape(-1, 64))
        return found.reshape(len(scenes.images), side**2, WIDTH)

    x, x_test = tokens(train), tokens(test)
    y, signal = train.areas.recording.values, test.areas.signal.values
    areas, category = list(train.areas.truth["area"]), train.areas.truth["kind"] == "category"
    settings = {"hidden": HIDDEN, "seed": seed}
    readouts = {
        "attention": AttentionReadout(WIDTH, areas, grid=(side, side), **settings),
        "factorised": FactorisedReadout(WIDTH, range(len(areas)), n_tokens=side**2, **settings),
        "frozen": frozen(AttentionReadout(WIDTH, areas, grid=(side, side), **settings)),
        "unplaced": AttentionReadout(WIDTH, areas, grid=None, **settings),
    }
    models = {
        name: fitted(readout, x, y, epochs=epochs, seed=seed, device="cpu")
        for name, readout in readouts.items()
    }
    r = {name: correlations(model.predict(x_test), signal) for name, model in models.items()}
    ridge = RidgeCV(np.logspace(0, 6, 13), alpha_per_target=True).fit(x.reshape(len(x), -1), y)
    r["ridge"] = correlations(ridge.predict(x_test.reshape(len(x_test), -1)), signal)

    attention = models["attention"]
    maps = attention.readout_.attention(attention.standardised(x_test)).detach().numpy()
    measures: dict[str, float | Curve] = {
        "pointing": pointing(maps, attention.readout_.areas, test.labels),
        "lead_in_place": float((r["attention"] - r["factorised"])[~category].mean()),
    }
    for name, values in r.items():
        measures[f"{name}_category"] = float(values[category].mean())
        measures[f"{name}_place"] = float(values[~category].mean())
        measures[name] = Curve(
            range(len(areas)),
            np.r_[np.sort(values[category])[::-1], np.sort(values[~category])[::-1]],
            "unit: category areas, then place areas",
            "correlation with the response without noise",
        )
    return measures
