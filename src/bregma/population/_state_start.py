"""A first guess of hidden states: stretches of time in which a model without states errs alike."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.ndimage import gaussian_filter1d
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA

from bregma.population._counts import LaggedCounts
from bregma.population._switching_glm import SwitchingGLM

BLOCK = 5  # bins that are looked at together
LEADING = 10  # components of smoothed scores that are clustered
MOST_TRACES = 20  # components of the traces, of which couplings have scores


def guess_states(
    single: SwitchingGLM,
    data: LaggedCounts,
    parts: list[slice],
    n_presentations: int,
    n_states: int,
    *,
    width: int,
    seed: int,
) -> Int[np.ndarray, "presentation bin"]:
    """Cluster the scores of a model of one state.

    The score of a bin is the derivative of its log-likelihood by the biases and couplings. Its mean
    in a state points from the parameters of all states together to those of that state, so its
    running means (Gaussian, `width` bins) are clustered.
    """
    scores, trace_axes = [], _trace_axes(single, data, parts)
    with torch.no_grad():
        weight = single.weight()
        for part in parts:
            history, counts = data[part]
            rate = single(history, weight)[:, 0]
            slope = -torch.expm1(-rate)  # of softplus, at the drive that gives this rate
            error = (counts / rate.clamp_min(1e-6) - 1) * slope
            trace = history @ single.kernel
            scores.append((error, (trace - trace.mean(0)) @ trace_axes))
    errors, traces = (torch.cat(each).cpu().numpy() for each in zip(*scores, strict=True))
    n_bins = len(errors) // n_presentations
    n_blocks = -(-n_bins // BLOCK)
    block = np.add.outer(np.arange(n_presentations) * n_blocks, np.arange(n_bins) // BLOCK).ravel()
    first = np.flatnonzero(np.diff(block, prepend=-1))
    means = []
    for start, stop in zip(first, [*first[1:], len(block)], strict=True):
        e, x = errors[start:stop], traces[start:stop]
        means.append(np.concatenate([e.mean(0), (e.T @ x).ravel() / len(e)]))
    features: Float[np.ndarray, "block feature"] = np.stack(means)
    features /= features.std(0) + 1e-9  # of the noise, which smoothing takes away unevenly
    by_presentation = features.reshape(n_presentations, n_blocks, -1)
    features = gaussian_filter1d(by_presentation, width / BLOCK, axis=1).reshape(len(features), -1)
    n = min(LEADING, *features.shape)
    features = PCA(n, random_state=seed % 2**32).fit_transform(features)
    clusters = min(n_states, len(features))
    labels = KMeans(clusters, n_init=3, random_state=seed % 2**32).fit_predict(features)
    return labels[block].reshape(n_presentations, n_bins)


def _trace_axes(single: SwitchingGLM, data: LaggedCounts, parts: list[slice]) -> torch.Tensor:
    """Leading principal axes (unit, axis) of the traces, which bound the number of scores."""
    with torch.no_grad():
        trace = data[parts[0]][0] @ single.kernel
        _, _, axes = torch.linalg.svd(trace - trace.mean(0), full_matrices=False)
    return axes[:MOST_TRACES].T
