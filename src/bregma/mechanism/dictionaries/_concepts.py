"""Which feature says which concept: chosen on one half of the data, counted on the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from bregma.errors import InvalidArgument, NotIdentifiable
from bregma.evidence import permutation_p
from bregma.run import spawn_torch

ELEMENTS = 2**24  # of the table of samples and features: 64 MiB at a time


@dataclass(frozen=True)
class ConceptFeatures:
    """For each concept the feature that says it best, and how well on data it was not chosen on.

    Parameters
    ----------
    concept : array (concept,)
        The concepts.
    feature : array (concept,)
        The feature with the largest product of precision and recall on the first half.
    precision : array (concept,)
        On the other half: of the samples where it is on, the share with the concept; 0 if none.
    recall : array (concept,)
        On the other half: of the samples with the concept, the share where it is on.
    null : array (draw, concept)
        Products of precision and recall that come out, chosen and counted in the same way, when
        concepts are exchanged among the samples of each half.
    """

    concept: Int[np.ndarray, " concept"]
    feature: Int[np.ndarray, " concept"]
    precision: Float[np.ndarray, " concept"]
    recall: Float[np.ndarray, " concept"]
    null: Float[np.ndarray, "draw concept"]

    @property
    def score(self) -> Float[np.ndarray, " concept"]:
        """Precision times recall."""
        return self.precision * self.recall

    @property
    def p_value(self) -> Float[np.ndarray, " concept"]:
        """Share of exchanges that score as high, with the data themselves as one of them."""
        pairs = zip(self.score, self.null.T, strict=True)
        return np.array([permutation_p(float(score), null) for score, null in pairs])


@torch.no_grad()
def concept_features(
    on: Bool[Tensor, "sample feature"],
    concept: Int[Tensor, " sample"],
    *,
    n: int = 99,
    seed: int,
) -> ConceptFeatures:
    """Find the feature that says each concept: when it is on the concept is there, and vice versa.

    The best of many features looks good on the data it was chosen on. So it is chosen on a random
    half of the samples and counted on the other, and the same is done with concepts exchanged among
    the samples of each half. Give samples that are independent of each other, such as one position
    of each text.

    Parameters
    ----------
    on : Tensor (sample, feature)
        Where each feature is on: a code that was chosen, an activity above 0, or `thresholded`.
    concept : Tensor (sample,)
        Which concept each sample has.
    n : int
        Exchanges for the null.
    seed : int
        Draws halves and exchanges.

    Returns
    -------
    ConceptFeatures
        Precision and recall on held-out data, and their null.

    Raises
    ------
    InvalidArgument
        If there are fewer than 2 samples, or fewer than 1 exchange.
    NotIdentifiable
        If a concept is in one half only.

    Examples
    --------
    >>> from bregma.mechanism import concept_features
    >>> concept = torch.arange(200) % 4
    >>> found = concept_features(concept[:, None] == torch.arange(4), concept, seed=0)
    >>> found.feature.tolist(), found.score.tolist()
    ([0, 1, 2, 3], [1.0, 1.0, 1.0, 1.0])
    """
    if len(on) < 2 or len(on) != len(concept) or on.shape[1] < 1 or n < 1:
        raise InvalidArgument(
            f"give 2 samples or more, each with features and a concept, and n=1 or more, not "
            f"features {tuple(on.shape)}, concepts {tuple(concept.shape)} and n={n}"
        )
    names, label = concept.to(on.device).unique(return_inverse=True)
    rng = spawn_torch(seed, "concepts")
    order = torch.randperm(len(on), generator=rng).to(on.device)
    halves = order[::2], order[1::2]
    for half in halves:
        if rare := names[label[half].bincount(minlength=len(names)) == 0].tolist():
            raise NotIdentifiable(
                f"concepts {rare[:5]} are in one half of the samples only; give more samples, or "
                "leave them out"
            )

    def held_out(label: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The chosen features, and their precision and recall on the second half."""
        choose, count = (_hits(on, label, half, len(names)) for half in halves)
        best = (choose[0] * choose[1]).argmax(1, keepdim=True)
        return best[:, 0], count[0].gather(1, best)[:, 0], count[1].gather(1, best)[:, 0]

    feature, precision, recall = held_out(label)
    null = []
    for _ in range(n):
        mixed = label.clone()
        for half in halves:  # within a half, so that each keeps all concepts
            mixed[half] = label[half[torch.randperm(len(half), generator=rng).to(on.device)]]
        _, p, r = held_out(mixed)
        null.append((p * r).cpu().numpy())
    found = [x.cpu().numpy() for x in (names, feature, precision, recall)]
    return ConceptFeatures(found[0], found[1], found[2], found[3], np.stack(null))


def thresholded(
    activity: Float[Tensor, "sample unit"], n: int = 10
) -> Bool[Tensor, "sample feature"]:
    """Where units are above, or not above, thresholds: what a single neuron can say.

    Parameters
    ----------
    activity : Tensor (sample, unit)
        Activity.
    n : int
        Thresholds of each unit, at equally spaced quantiles of its own activity.

    Returns
    -------
    Tensor (sample, feature)
        2 n features of the first unit, those of the second, and so on.

    Raises
    ------
    InvalidArgument
        If activity is empty or not finite, or there is no threshold.

    Examples
    --------
    >>> from bregma.mechanism import thresholded
    >>> thresholded(torch.tensor([[0.0], [1.0], [2.0]]), n=1).int().tolist()
    [[0, 1], [0, 1], [1, 0]]
    """
    if activity.numel() == 0 or n < 1 or not bool(activity.isfinite().all()):
        raise InvalidArgument("activity must be finite and not empty, and n 1 or more")
    levels = torch.arange(1, n + 1, device=activity.device, dtype=activity.dtype) / (n + 1)
    above = activity[:, :, None] > activity.quantile(levels, dim=0).T
    return torch.cat([above, ~above], 2).flatten(1)


def _hits(
    on: Bool[Tensor, "sample feature"],
    label: Int[Tensor, " sample"],
    rows: Int[Tensor, " row"],
    n_concepts: int,
) -> tuple[Float[Tensor, "concept feature"], Float[Tensor, "concept feature"]]:
    """Precision and recall of every feature for every concept on some samples."""
    both = torch.zeros(n_concepts, on.shape[1], device=on.device)
    for some in rows.split(max(1, ELEMENTS // on.shape[1])):
        both.index_add_(0, label[some], on[some].float())
    of_concept = label[rows].bincount(minlength=n_concepts)[:, None]
    return both / both.sum(0).clamp_min(1), both / of_concept
