"""Noise ceilings by chance: subjects whose stimuli have exchanged their labels."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int64

from ._pairs import n_stimuli_of
from ._rdm_bootstrap import averaged, subject_means
from ._rdm_comparison import RDMComparison
from ._relabel import CHUNK, relabelled


def permuted_ceilings(
    comparison: RDMComparison,
    data: Float[np.ndarray, "rdm pair"],
    subject: Int64[np.ndarray, " rdm"],
    n_draws: int,
    *,
    seed: int,
) -> Float[np.ndarray, " draw"]:
    """Lower ceilings when each subject's stimuli have exchanged their labels on their own.

    Parameters
    ----------
    comparison : RDMComparison
        How two RDMs are compared.
    data : array of shape (rdm, pair)
        Dissimilarities.
    subject : array of shape (rdm,)
        Whose RDM it is: numbers from 0. All RDMs of a subject keep the same labels.
    n_draws : int
        How many.
    seed : int
        Where the random numbers come from.

    Returns
    -------
    array of shape (draw,)
        Ceilings by chance.
    """
    rng = np.random.default_rng([seed, 1])  # not the draws of the scores
    n, n_subjects = n_stimuli_of(data.shape[1]), int(subject.max()) + 1
    counts, means = np.ones((1, 1, n_subjects), dtype=np.int64), subject_means(subject)
    step = max(1, CHUNK // data.size)
    out = []
    for start in range(0, n_draws, step):
        draws = min(step, n_draws - start)
        shuffled = np.empty((draws, *data.shape))
        for s in range(n_subjects):
            own = subject == s
            orders = rng.permuted(np.tile(np.arange(n), (draws, 1)), axis=1)
            of_pairs = np.concatenate(list(relabelled(data[own], orders)))
            shuffled[:, own] = of_pairs.transpose(0, 2, 1)
        got = comparison.resample(
            shuffled, data[:0], subject=subject, stimulus=np.ones((1, n), dtype=np.int64),
            multiplicity=counts[..., subject],
        )  # fmt: skip
        out.append(averaged(got, counts, means)[1][:, 0, 0])
    return np.concatenate(out)
