"""A population of subjects and stimuli of which the true scores are known, for calibration.

A stimulus is a point of some features, drawn from the population. A subject weighs the features
in its own way, shows them through its own random projection and adds noise to every pattern, in
two runs; its RDM is the cross-validated distance between patterns. A model weighs the features
too: how alike it is to the population is known from very many pairs of stimuli.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from bregma.evidence import Inferred, assemble
from bregma.geometry import RDMComparison
from bregma.recording import Dissimilarity

N_UNITS = 30
N_MODELS = 4  # all features alike; the true weights; other weights; a quarter of the features


@dataclass(frozen=True)
class Population:
    """How stimuli, subjects and noise vary; `noise` 1 is as large as the signal."""

    n_features: int = 20
    spread: float = 0.4  # of the weights of features, and of subjects around them (log)
    noise: float = 1.0
    categories: bool = False

    def weights(self):
        """Mean weights of the subjects, and the weights of each model."""
        rng = np.random.default_rng(5)
        mean = np.exp(self.spread * rng.normal(size=self.n_features))
        quarter = np.arange(self.n_features) < self.n_features // 4
        other = np.exp(rng.normal(size=self.n_features))
        return mean, np.stack([np.ones(self.n_features), mean, other, quarter.astype(float)])

    def features(self, rng, n):
        """Features of n stimuli; with categories, four groups of them."""
        x = rng.normal(size=(n, self.n_features))
        if not self.categories:
            return x
        centres = np.random.default_rng(6).normal(size=(4, self.n_features))
        return centres[rng.integers(0, 4, n)] + 0.8 * x

    def subjects(self, rng, n):
        """Weights and projection of n new subjects."""
        mean, _ = self.weights()
        return [
            (
                np.sqrt(mean * np.exp(self.spread * rng.normal(size=self.n_features))),
                rng.normal(size=(self.n_features, N_UNITS)) / np.sqrt(N_UNITS),
            )
            for _ in range(n)
        ]

    def runs(self, rng, features, subject, n_patterns=1):
        """Noisy patterns of a subject in two runs, or differences of two patterns."""
        weights, project = subject
        signal = (features * weights) @ project
        size = self.noise * np.sqrt(n_patterns * self.n_features / N_UNITS)
        return [signal + size * rng.normal(size=signal.shape) for _ in range(2)]

    def draw(self, rng, n_stimuli, n_subjects, *, related=True, stimuli=None, subjects=None):
        """RDMs of new subjects and of the models over new stimuli, as arrays.

        Unless related, models and every subject see different stimuli: nothing corresponds.
        `stimuli` (their features) and `subjects` may be given, where they are not to vary.
        """
        i, j = np.triu_indices(n_stimuli, 1)
        x = self.features(rng, n_stimuli) if stimuli is None else stimuli
        data = []
        for subject in self.subjects(rng, n_subjects) if subjects is None else subjects:
            seen = x if related else self.features(rng, n_stimuli)
            one, two = self.runs(rng, seen, subject)
            data.append(((one[i] - one[j]) * (two[i] - two[j])).sum(-1))
        x = x if related else self.features(rng, n_stimuli)
        models = (x[i] - x[j]) ** 2 @ self.weights()[1].T
        return np.stack(data), models.T

    def draw_rdms(self, seed, n_stimuli, n_subjects, **how):
        """The same as what inference takes."""
        data, models = self.draw(np.random.default_rng(seed), n_stimuli, n_subjects, **how)
        return Dissimilarity(data), [Dissimilarity(m) for m in models]


@lru_cache
def truth(
    population: Population,
    comparison: RDMComparison,
    n_subjects: int,
    *,
    over: str = "both",
    n_stimuli: int = 0,
    n_groups: int | None = None,
) -> np.ndarray:
    """Scores of the models in the population, and the lower ceiling of so many subjects.

    Over infinitely many stimuli only the joint distribution of dissimilarities matters, so that
    independent pairs of stimuli do (not for whitened comparisons, which look at the design).
    Over subjects alone it is for the n stimuli of `fixed`, over stimuli alone for its subjects.
    """
    rng = np.random.default_rng(7)
    stimuli, subjects = fixed(population, over, n_stimuli, n_subjects)
    whitened = "whitened" in comparison.name
    n = n_stimuli if stimuli is not None else 250 if whitened else 80
    n_pairs, out = n * (n - 1) // 2, []
    for _ in range(n_groups or (400 if whitened else 3000) // n_subjects):
        if whitened or stimuli is not None:
            data, models = population.draw(rng, n, n_subjects, stimuli=stimuli, subjects=subjects)
        else:
            x = population.features(rng, n_pairs) - population.features(rng, n_pairs)
            data = []
            for subject in subjects or population.subjects(rng, n_subjects):
                one, two = population.runs(rng, x, subject, n_patterns=2)
                data.append((one * two).sum(-1))
            data, models = np.stack(data), (x**2 @ population.weights()[1].T).T
        got = comparison.resample(
            data[None], models, subject=np.arange(n_subjects),
            stimulus=np.ones((1, n), np.int64), multiplicity=np.ones((1, 1, n_subjects), np.int64),
        )  # fmt: skip
        out.append(np.append(got.similarity[0, 0].mean(0), got.lower.mean()))
    return np.mean(out, 0)


def fixed(population, over, n_stimuli, n_subjects):
    """What does not vary between studies: stimuli, subjects, or nothing."""
    rng = np.random.default_rng(8)
    stimuli = population.features(rng, n_stimuli) if over == "subject" else None
    subjects = population.subjects(rng, n_subjects) if over == "stimulus" else None
    return stimuli, subjects


def intervals(found: Inferred) -> dict[tuple[int, int | None], tuple[float, float]]:
    """Every 95 % interval of the evidence: of an estimate (i, None), of a difference (i, j).

    Models are 0, 1, ...; the lower ceiling is one more.
    """
    models, ceiling = [str(k) for k in range(len(found.scores))], len(found.scores)
    evidence = assemble(found, brain="b", models=models, method="m", settings={}, seed=0)
    ends = {(k, None): (e.interval.low, e.interval.high) for k, e in enumerate(evidence)}
    for r in evidence.pairwise.itertuples():
        ends[int(r.model_a), int(r.model_b)] = r.low, r.high
    for r in evidence.against_ceiling.itertuples():
        ends[int(r.model), ceiling] = r.low, r.high
    if found.ceiling_varies:
        of_ceiling = evidence[0].ceiling.interval
        ends[ceiling, None] = of_ceiling.low, of_ceiling.high
    return ends
