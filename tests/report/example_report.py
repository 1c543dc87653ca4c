"""Reports on synthetic evidence: one model, many models, brain parts, time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from bregma.evidence import Ceiling, EvidenceSet, Inferred, Null, assemble
from bregma.recording import Dissimilarity, Stimuli
from bregma.report import Section, TimeCourse


def evidence(
    models: Sequence[str],
    scores: Sequence[float],
    *,
    brain: str = "human IT",
    seed: int = 0,
    ceiling: bool = True,
    twins: Sequence[str] = (),
    **changes: Any,
) -> EvidenceSet:
    """Evidence with these scores, standard errors of 0.03 and a ceiling of 0.55 to 0.68."""
    rng = np.random.default_rng(seed)
    m = len(models)
    covariance = 0.0005 * np.eye(m + 1) + 0.0004
    inferred = Inferred(
        scores=np.array(scores, dtype=float),
        per_subject=np.array(scores) + rng.normal(0, 0.05, (4, m)),
        covariance=covariance if ceiling else covariance[:m, :m],
        dof=30,
        null=rng.normal(0, 0.05, (999, m)),
        exchanged="the stimulus labels of the brain were exchanged with each other",
        n_arrangements=1.2e142,
        n={"stimuli": 92, "subjects": 4, "bootstrap": 1000, "permutations": 999},
        ceiling=Ceiling(
            0.55, 0.68, "reliability", "each subject with the mean of the others (lower) or of all"
        )
        if ceiling
        else None,
        ceiling_reason="" if ceiling else "a single subject without repeats has no ceiling",
    )
    score = dict(zip(models, scores, strict=True))
    settings = {
        "brain": brain,
        "models": list(models),
        "method": "RSA: correlation distances, compared by Spearman's rank correlation",
        "settings": {"comparison": "spearman", "measure": "correlation", "over": ["subject"]},
        "seed": seed,
        "system_nulls": {
            name: Null.of(
                score[name],
                score[name] - 0.2 + 0.03 * rng.normal(size=5),
                exchanged="the trained weights of the model with weights drawn anew",
            )
            for name in twins
        },
        "citations": ["kriegeskorte2008rsa", "schutt2023inference"],
    }
    return assemble(inferred, **{**settings, **changes})


def pictures(n: int, seed: int = 0) -> Stimuli:
    """Small colourful pictures."""
    rng = np.random.default_rng(seed)
    base = rng.integers(0, 255, (n, 4, 4, 3))
    images = np.repeat(np.repeat(base, 8, axis=1), 8, axis=2).astype(np.uint8)
    return Stimuli(images, stimulus=[f"s{i}" for i in range(n)])


def rdms(
    names: Sequence[str], n: int = 24, labels: Sequence[str] | None = None
) -> list[Dissimilarity]:
    """RDMs of two clusters with more and more noise; the first has three subjects."""
    rng = np.random.default_rng(1)
    hidden = np.concatenate([rng.normal(0, 1, (n // 2, 5)), rng.normal(2, 1, (n - n // 2, 5))])
    rows, columns = np.triu_indices(n, 1)
    out = []
    for k, name in enumerate(names):
        copies = 3 if k == 0 else 1
        points = hidden + (0.4 + 0.5 * k) * rng.normal(size=(copies, n, 5))
        values = np.linalg.norm(points[:, rows] - points[:, columns], axis=-1)
        out.append(
            Dissimilarity(
                values,
                stimuli=list(labels) if labels else [f"s{i}" for i in range(n)],
                measure="Euclidean",
                name=name,
            )
        )
    return out


def course() -> TimeCourse:
    """Decoding that rises after 0.1 s."""
    times = np.linspace(-0.2, 0.8, 101)
    rng = np.random.default_rng(0)
    rise = 0.25 / (1 + np.exp(-(times - 0.15) * 40)) * np.exp(-np.maximum(times - 0.2, 0) * 2)
    score = 0.5 + rise + 0.01 * rng.normal(size=101)
    return TimeCourse(
        title="Decoding of the two events",
        times=times,
        scores={"accuracy": score},
        measure="accuracy (share of trials)",
        band=np.array([np.full(101, 0.45), np.full(101, 0.55)]),
        band_says="labels of the trials exchanged, 95 %",
        chance=0.5,
        above=score > 0.57,
        text="Events can be told apart from about 0.1 s on.",
    )


def lesion() -> Section:
    """Bars of a lesion."""
    return Section(
        title="What the lesion does",
        text=("Ablating the 20 most tuned units of conv2 in the winning model lowers its score.",),
        bars=pd.DataFrame(
            {
                "name": ["intact", "20 tuned units", "20 random units"],
                "value": [0.5, 0.3, 0.48],
                "low": [0.45, 0.25, 0.44],
                "high": [0.55, 0.35, 0.52],
            }
        ),
        axis="score (rank correlation)",
        table=pd.DataFrame({"system": ["intact", "lesioned"], "score": [0.5, 0.3]}),
    )


EIGHT = ["pixels", "V1 energy", "cnn conv1", "cnn conv2", "cnn conv3", "cnn untrained",
         "resnet18 layer4 (ImageNet, timm)", "monkey IT"]  # fmt: skip


def write_cases(folder: Any) -> dict[str, Any]:
    """The cases that should be looked at."""
    from bregma import report

    brain = ["human IT", *EIGHT]
    regions = ["V1", "V2", "V4", "LOC", "FFA", "PPA", "EBA"]
    joined = EvidenceSet.join(
        evidence(["AlexNet fc7", "word2vec"], [0.1 + 0.06 * i, 0.3 - 0.02 * i], brain=r, seed=i)
        for i, r in enumerate(regions)
    )
    categories = {f"s{i}": "animate" if i < 12 else "inanimate" for i in range(24)}
    return {
        "one": report.html(
            evidence(["V1 energy"], [0.31], ceiling=False), path=folder / "one.html"
        ),
        "eight": report.html(
            evidence(
                EIGHT,
                [0.08, 0.15, 0.22, 0.31, 0.36, 0.19, 0.44, 0.49],
                twins=["cnn conv3", "resnet18 layer4 (ImageNet, timm)"],
            ),
            path=folder / "eight.html",
            rdms=rdms(brain),
            stimuli=pictures(24),
            categories=categories,
            sections=[lesion()],
        ),
        "regions": report.html(joined, path=folder / "regions.html"),
        "time": report.html(
            evidence(["frequent ~ rare"], [0.22], brain="EEG"),
            path=folder / "time.html",
            timecourses=[course()],
        ),
    }
