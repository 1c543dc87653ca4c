"""Small evidence to test with."""

from __future__ import annotations

import numpy as np

from bregma.evidence import Ceiling, EvidenceSet, Inferred, Null, assemble


def inferred(**changes: object) -> Inferred:
    """Three models, four subjects, a ceiling of 0.6 to 0.8."""
    rng = np.random.default_rng(3)
    parts: dict = {
        "scores": np.array([0.2, 0.5, 0.66]),
        "per_subject": rng.normal(0.4, 0.1, (4, 3)),
        "covariance": np.diag([0.01, 0.01, 0.01, 0.004]),
        "dof": 19,
        "null": rng.normal(0, 0.1, (199, 3)),
        "exchanged": "labels of the stimuli in the brain were exchanged with each other",
        "n_arrangements": 2.4e18,
        "n": {"stimuli": 20, "subjects": 4},
        "ceiling": Ceiling(0.6, 0.8, "reliability", "each subject against the mean of the others"),
    }
    return Inferred(**{**parts, **changes})


def evidence_set(**changes: object) -> EvidenceSet:
    """Evidence of the above."""
    settings: dict = {
        "brain": "IT",
        "models": ["pixels", "V1", "cnn"],
        "method": "RSA: cosine of squared Euclidean distances",
        "settings": {"comparison": "cosine", "n_bootstrap": 1000},
        "seed": 7,
        "system_nulls": {
            "cnn": Null.of(0.66, [0.3, 0.31, 0.4], exchanged="weights with weights drawn anew")
        },
        "citations": ["kriegeskorte2008rsa"],
    }
    data = {k: changes.pop(k) for k in list(changes) if k not in {*settings, "level"}}
    return assemble(inferred(**data), **{**settings, **changes})
