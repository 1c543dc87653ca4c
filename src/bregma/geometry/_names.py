"""The names under which distances and comparisons are asked for, in one place."""

from __future__ import annotations

from typing import Any

from bregma import geometry
from bregma.errors import UnknownName

# What people type -> the object of this room that does it. Adding one is one line.
DISTANCES = {
    "correlation": "CorrelationDistance",
    "euclidean": "EuclideanDistance",
    "cosine": "CosineDistance",
    "mahalanobis": "MahalanobisDistance",
    "crossnobis": "CrossnobisDistance",
    "poisson-kl": "PoissonKLDistance",
}
RDM_COMPARISONS = {
    "pearson": "RDMPearson",
    "spearman": "RDMSpearman",
    "tau-a": "RDMTauA",
    "rho-a": "RDMRhoA",
    "cosine": "RDMCosine",
    "whitened-cosine": "RDMWhitenedCosine",
    "whitened-correlation": "RDMWhitenedCorrelation",
}
RESPONSE_COMPARISONS = {
    "cka": "CKA",
    "procrustes": "Procrustes",
    "ridge": "RidgePredictivity",
    "svcca": "SVCCA",
}
METHODS = ("rsa", *RESPONSE_COMPARISONS)


def named(kind: str, what: Any, names: dict[str, str]) -> Any:
    """The object behind a name; an object stays what it is."""
    if not isinstance(what, str):
        return what
    if what not in names:
        raise UnknownName.of(kind, what, names)
    return getattr(geometry, names[what])()
