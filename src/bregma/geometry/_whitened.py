"""Weighted inner products of RDMs: plain, centred, whitened by the covariance of distances."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float

from ._pairs import n_stimuli_of

CHUNK = 2**23  # numbers held at once per working array: 64 MiB

Weights = Float[np.ndarray, "sample stimulus"]
Vectors = Float[np.ndarray, "vector pair"]
Inner = Float[np.ndarray, "place sample left vector"]


def pair_weights(stimulus: Weights) -> Float[np.ndarray, "sample pair"]:
    """Weights w_i w_j of pairs, in the order of ``numpy.triu_indices(n, 1)``.

    Parameters
    ----------
    stimulus : array of shape (sample, stimulus)
        How often each stimulus is in each resample.

    Returns
    -------
    array of shape (sample, pair)
        How often each pair is: a stimulus and its own copy are no pair.
    """
    samples, n = stimulus.shape
    out = np.empty((samples, n * (n - 1) // 2))
    start = 0
    for i in range(n - 1):
        stop = start + n - 1 - i
        np.multiply(stimulus[:, i : i + 1], stimulus[:, i + 1 :], out=out[:, start:stop])
        start = stop
    return out


def _slices(n: int, size: int) -> Iterator[slice]:
    step = max(1, CHUNK // max(size, 1))
    return (slice(start, min(start + step, n)) for start in range(0, n, step))


def _plain(
    sets: Sequence[Vectors], n_left: int, stimulus: Weights
) -> tuple[Inner, Float[np.ndarray, "place sample vector"]]:
    """Sums of w_i w_j x_ij y_ij over pairs, of the first vectors with all; squared norms of all.

    All samples and all products of two vectors of a set are one matrix product; the weights are
    shared by all sets.
    """
    count, n_pairs = sets[0].shape
    samples = len(stimulus)
    left, right = np.triu_indices(n_left, 0, count)  # symmetric ones once
    main, alone = len(left), np.arange(n_left, count)  # norms of what is only on the right
    left, right = np.append(left, alone), np.append(right, alone)
    flat = np.empty((len(sets), samples, len(left)))
    for rows in _slices(samples, n_pairs):
        weights = pair_weights(stimulus[rows])
        for vectors, out in zip(sets, flat, strict=True):
            for columns in _slices(len(left), n_pairs):
                products = vectors[left[columns]] * vectors[right[columns]]
                out[rows, columns] = weights @ products.T
    inner = np.empty((len(sets), samples, n_left, count))
    inner[..., left[:main], right[:main]] = flat[..., :main]
    low = np.tril_indices(n_left, -1)
    inner[..., low[0], low[1]] = inner[..., low[1], low[0]]
    index = np.arange(n_left)
    return inner, np.concatenate([inner[..., index, index], flat[..., main:]], axis=-1)


def _square(vectors: Vectors) -> Float[np.ndarray, "vector stimulus stimulus"]:
    n = n_stimuli_of(vectors.shape[1])
    i, j = np.triu_indices(n, 1)
    square = np.zeros((len(vectors), n, n))
    square[:, i, j] = square[:, j, i] = vectors
    return square


def _row_effects(
    vectors: Vectors, n_left: int, stimulus: Weights
) -> tuple[Float[np.ndarray, "sample left vector"], Float[np.ndarray, "sample vector"]]:
    """What whitening takes out of the plain products.

    x' V^-1 y is, up to a factor, the inner product of the doubly centred Gram matrices of x and
    y: of what remains of G_ij = -x_ij / 2 after a least-squares fit of a_i + a_j (each entry off
    the diagonal counts twice, and the diagonal of G is zero). A resample of stimuli weights that
    fit by w_i w_j, and by w_i on the diagonal; its normal equations are a diagonal matrix plus
    w w', so that they are solved in closed form.
    """
    count = len(vectors)
    samples, n = stimulus.shape
    square = _square(vectors)
    inner, norms = np.empty((samples, n_left, count)), np.empty((samples, count))
    for rows in _slices(samples, count * n):
        w = stimulus[rows]
        sums = (w @ square.reshape(count * n, n).T).reshape(len(w), count, n)
        diagonal = (w.sum(1, keepdims=True) - 2 * w + 2)[:, None, :]
        half = diagonal == 0  # one stimulus is half of a tiny resample: its equation gives `total`
        ratio = np.where(half, 0, w[:, None, :] / np.where(half, 1, diagonal))
        total = (ratio * sums).sum(2, keepdims=True) / (1 + ratio.sum(2, keepdims=True))
        total = np.where(half.any(2, keepdims=True), (half * sums).sum(2, keepdims=True), total)
        effect = ratio * (sums - total)
        effect += half * (total - effect.sum(2, keepdims=True))
        inner[rows] = np.matmul(sums[:, :n_left], effect.transpose(0, 2, 1))
        norms[rows] = np.einsum("bvi,bvi->bv", sums, effect)
    return inner, norms


def weighted_products(
    data: Float[np.ndarray, "place rdm pair"],
    others: Float[np.ndarray, "other pair"],
    stimulus: Weights,
    *,
    centre: bool,
    whiten: bool,
) -> tuple[
    Float[np.ndarray, "place sample rdm rdm_or_other"],
    Float[np.ndarray, "place sample rdm_or_other"],
]:
    """Inner products of RDMs in weighted resamples of the stimuli.

    Parameters
    ----------
    data : array of shape (place, rdm, pair)
        Dissimilarities of the data, at one or many places.
    others : array of shape (other, pair)
        Dissimilarities that are the same at all places.
    stimulus : array of shape (sample, stimulus)
        How often each stimulus is in a resample; its pairs with its own copies are left out.
    centre : bool
        Whether each vector loses its (weighted) mean first.
    whiten : bool
        Whether the product is x' V^-1 y, with V the covariance of distances between patterns
        that carry independent noise of equal size: V_pq = (c_p' c_q)^2 for the contrasts c. V is
        never formed.

    Returns
    -------
    inner : array of shape (place, sample, rdm, rdm + other)
        Inner products of the RDMs of each place with each other and with the others.
    norms : array of shape (place, sample, rdm + other)
        Squared norms.

    References
    ----------
    Diedrichsen et al. (2021), Comparing representational geometries using whitened unbiased-
    distance-matrix similarity.
    """
    first = np.ones((int(centre), data.shape[2]))
    sets = [np.concatenate([first, rdms, others]) for rdms in data]
    n_left = data.shape[1] + int(centre)
    inner, norms = _plain(sets, n_left, stimulus)
    mean = inner[..., 0, 1:] / np.maximum(inner[..., 0, :1], 1) if centre else None
    if whiten:
        for place, vectors in enumerate(sets):
            fitted, fitted_norms = _row_effects(vectors, n_left, stimulus)
            inner[place] -= fitted
            norms[place] -= fitted_norms
    if mean is None:
        return inner, norms
    # <x - m, y - n> = <x, y> - m <1, y> - n <1, x> + m n <1, 1>
    one = inner[..., 0, 1:]
    shift = one - mean * inner[..., 0, :1]
    n = n_left - 1
    centred = inner[..., 1:, 1:] - mean[..., :n, None] * shift[..., None, :]
    centred -= one[..., :n, None] * mean[..., None, :]
    return centred, norms[..., 1:] - mean * (one + shift)


def whitened(vectors: Vectors) -> Vectors:
    """V^-1 x, up to a factor, for all stimuli once; see `weighted_products`.

    Parameters
    ----------
    vectors : array of shape (vector, pair)
        Dissimilarities.

    Returns
    -------
    array of shape (vector, pair)
        What the plain product with another vector makes their whitened product.
    """
    sums = _square(vectors).sum(2)
    n = sums.shape[1]
    i, j = np.triu_indices(n, 1)
    effect = (sums - sums.sum(1, keepdims=True) / (2 * n)) / n
    return vectors - effect[:, i] - effect[:, j]
