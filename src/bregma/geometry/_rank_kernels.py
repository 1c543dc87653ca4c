"""Counting kernels for rank measures of RDMs: one sort, then weights instead of resampled copies.

A resample of stimuli repeats the entry of a pair `weight` times. Its ranks follow from the order
of the full RDM and the cumulative weights along it, so nothing is sorted again. Ranks are kept
doubled (ties have half ranks), so that everything stays an integer and exact.
"""

from __future__ import annotations

from typing import NamedTuple, no_type_check

import numpy as np
from jaxtyping import Bool, Float, Int64
from numba import njit


class Order(NamedTuple):
    """Vectors in increasing order, with their runs of equal values."""

    position: Int64[np.ndarray, "rdm pair"]
    starts_run: Bool[np.ndarray, "rdm pair"]


def order_of(vectors: Float[np.ndarray, "rdm pair"]) -> Order:
    """Sort each vector once.

    Parameters
    ----------
    vectors : array of shape (rdm, pair)
        Dissimilarities.

    Returns
    -------
    Order
        Positions in increasing order, and where a new value begins.
    """
    position = np.argsort(vectors, axis=1, kind="stable")
    values = np.take_along_axis(vectors, position, axis=1)
    starts = np.ones(values.shape, dtype=bool)
    starts[:, 1:] = values[:, 1:] != values[:, :-1]
    return Order(position, starts)


@no_type_check
@njit(cache=True, nogil=True)
def _pair_weights(stimulus, weight):
    """Weights w_i w_j of all pairs, and their sum."""
    n, p, total = len(stimulus), 0, 0
    for i in range(n):
        for j in range(i + 1, n):
            weight[p] = stimulus[i] * stimulus[j]
            total += weight[p]
            p += 1
    return total


@no_type_check
@njit(cache=True, nogil=True)
def _doubled_ranks(position, starts_run, weight, out):
    """Twice the mean rank that each entry has among its weighted fellows."""
    n, below, first = len(position), 0, 0
    while first < n:
        last, tied = first, weight[position[first]]
        while last + 1 < n and not starts_run[last + 1]:
            last += 1
            tied += weight[position[last]]
        rank = 2 * below + tied + 1
        for k in range(first, last + 1):
            out[position[k]] = rank
        below += tied
        first = last + 1


@no_type_check
@njit(cache=True, nogil=True)
def _sort_keys(key, n, position, spare):
    """Order of the first `n` non-negative integer keys: radix sort, 10 bits at a time."""
    count = np.empty(1024, np.int64)
    largest = np.int64(0)
    for k in range(n):
        position[k] = k
        largest = max(largest, key[k])
    source, target, shift = position, spare, 0
    while largest >> shift:
        count[:] = 0
        for k in range(n):
            count[(key[k] >> shift) & 1023] += 1
        below = 0
        for bucket in range(1024):
            here = count[bucket]
            count[bucket] = below
            below += here
        for k in range(n):
            bucket = (key[source[k]] >> shift) & 1023
            target[count[bucket]] = source[k]
            count[bucket] += 1
        source, target = target, source
        shift += 10
    return source


@no_type_check
@njit(cache=True, nogil=True)
def _doubled_ranks_of_keys(key, weight, n, scratch_a, scratch_b, out):
    """Doubled ranks of integer keys that were never sorted (pooled ranks)."""
    position = _sort_keys(key, n, scratch_a, scratch_b)
    below, first = 0, 0
    while first < n:
        last, tied = first, weight[position[first]]
        while last + 1 < n and key[position[last + 1]] == key[position[first]]:
            last += 1
            tied += weight[position[last]]
        rank = 2 * below + tied + 1
        for k in range(first, last + 1):
            out[position[k]] = rank
        below += tied
        first = last + 1


@no_type_check
@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})  # sums in any order: it vectorises
def _centred_product(a, b, weight, n, total):
    """Weighted sum of products of ranks around their mean."""
    out = 0.0
    for p in range(n):
        out += weight[p] * (0.5 * (a[p] - total - 1)) * (0.5 * (b[p] - total - 1))
    return out


@no_type_check
@njit(cache=True, nogil=True)
def _concordance(a, order_a, b, weight, n, total, tree):
    """Weighted concordant minus discordant comparisons, over all comparisons (tau-a).

    `a` and `b` are doubled ranks, `order_a` sorts `a`; a Fenwick tree over the ranks of `b` holds
    the weights of the entries that lie below the current one in `a`.
    """
    if total < 2:
        return 0.0
    position, size = order_a, total
    tree[: size + 1] = 0  # ranks (b + 1) // 2 lie in 1 .. total
    surplus, inserted, first = 0.0, 0, 0
    while first < n:
        last = first
        while last + 1 < n and a[position[last + 1]] == a[position[first]]:
            last += 1
        for k in range(first, last + 1):
            p = position[k]
            rank = (b[p] + 1) // 2
            below, node = 0, rank - 1
            while node > 0:
                below += tree[node]
                node &= node - 1
            up_to, node = 0, rank
            while node > 0:
                up_to += tree[node]
                node &= node - 1
            surplus += float(weight[p]) * (below - (inserted - up_to))
        for k in range(first, last + 1):
            p = position[k]
            node = (b[p] + 1) // 2
            while node <= size:
                tree[node] += weight[p]
                node += node & -node
            inserted += weight[p]
        first = last + 1
    return surplus / (0.5 * total * (total - 1))


# what is done with two vectors of ranks
SPEARMAN, RHO_A, TAU_A = 0, 1, 2


@no_type_check
@njit(cache=True, nogil=True)
def _alike(kind, a, order_a, b, norm_a, norm_b, weight, n, total, tree):
    if kind == TAU_A:
        return _concordance(a, order_a, b, weight, n, total, tree)
    product = _centred_product(a, b, weight, n, total)
    if kind == RHO_A:
        return 12.0 * product / (float(total) ** 3 - total) if total > 1 else 0.0
    scale = np.sqrt(norm_a * norm_b)
    return product / scale if scale > 0 else 0.0  # no order left: nothing corresponds


@no_type_check
@njit(cache=True, nogil=True)
def compare_resampled(
    kind, position, starts_run, n_data, subject, stimulus, multiplicity, similarity, lower, upper
):
    """Fill the similarities and both ceilings of every resample.

    position, starts_run (rdm + model, pair); subject (rdm,); stimulus (sample, stimulus);
    multiplicity (sample, variant, rdm); similarity (sample, rdm, model); lower and upper
    (sample, variant, rdm): with the pool of all other subjects, and of all; 0 for RDMs that are
    not in the resample, and where there is no other subject.
    """
    n_vectors, n_pairs = position.shape
    n_samples, n_variants = multiplicity.shape[:2]
    full = np.empty(n_pairs, np.int64)
    full_rank = np.empty(n_pairs, np.int32)
    rank = np.empty((n_vectors, n_pairs), np.int32)
    weight, key = np.empty(n_pairs, np.int32), np.empty(n_pairs, np.int64)
    pooled = np.empty(n_pairs, np.int32)
    scratch_a, scratch_b = np.empty(n_pairs, np.int64), np.empty(n_pairs, np.int64)
    norm = np.ones(n_vectors)
    order = np.empty((n_data, n_pairs if kind == TAU_A else 1), np.int64)
    tree = np.empty(1, np.int64)
    for b in range(n_samples):
        total = _pair_weights(stimulus[b], full)
        n = 0
        for p in range(n_pairs):
            if full[p] > 0:
                weight[n] = full[p]
                n += 1
        if kind == TAU_A and len(tree) < total + 1:
            tree = np.empty(total + 1, np.int64)
        for v in range(n_vectors):
            _doubled_ranks(position[v], starts_run[v], full, full_rank)
            n = 0
            for p in range(n_pairs):
                if full[p] > 0:
                    rank[v, n] = full_rank[p]
                    n += 1
            if kind == SPEARMAN:
                norm[v] = _centred_product(rank[v], rank[v], weight, n, total)
        if kind == TAU_A:
            for r in range(n_data):
                order[r, :n] = _sort_keys(rank[r], n, scratch_a, scratch_b)[:n]
        for r in range(n_data):
            for k in range(n_data, n_vectors):
                similarity[b, r, k - n_data] = _alike(
                    kind, rank[r], order[r], rank[k], norm[r], norm[k], weight, n, total, tree
                )
        lower[b], upper[b] = 0.0, 0.0
        for s in range(n_variants):
            count = multiplicity[b, s]
            for left_out in range(-1, n_data):
                # one pool for all, and one for each subject, made at its first RDM
                if left_out >= 0:
                    done = count[left_out] == 0  # not in this resample: weighs nothing
                    for r in range(left_out):
                        done = done or subject[r] == subject[left_out]
                    if done:
                        continue
                members = 0
                key[:n] = 0
                for r in range(n_data):
                    if count[r] and (left_out < 0 or subject[r] != subject[left_out]):
                        members += count[r]
                        for p in range(n):
                            key[p] += count[r] * rank[r, p]
                if members == 0:  # nobody else is in this resample
                    continue
                _doubled_ranks_of_keys(key, weight, n, scratch_a, scratch_b, pooled)
                norm_pooled = 1.0
                if kind == SPEARMAN:
                    norm_pooled = _centred_product(pooled, pooled, weight, n, total)
                for r in range(n_data):
                    if count[r] == 0 or (left_out >= 0 and subject[r] != subject[left_out]):
                        continue
                    alike = _alike(
                        kind, rank[r], order[r], pooled, norm[r], norm_pooled,
                        weight, n, total, tree,
                    )  # fmt: skip
                    if left_out < 0:
                        upper[b, s, r] = alike
                    else:
                        lower[b, s, r] = alike
