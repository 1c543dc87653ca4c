"""Compiled loops over the ones in arrays of spikes; `_events` says what they are for."""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit

TILE = 512  # rows whose events are sorted by column for the way back


@no_type_check
@njit(cache=True, nogil=True)
def count(x, counts, first, last):
    """How many entries of each row are not 0; returns how many entries are neither 0 nor 1."""
    other = 0
    for r in range(first, last):
        row = x[r]
        n, strange = np.int32(0), np.int32(0)
        for i in range(row.size):
            n += np.int32(row[i] != 0)
            strange += np.int32((row[i] != 0) & (row[i] != 1))
        counts[r] = n
        other += strange
    return other


@no_type_check
@njit(cache=True, nogil=True)
def fill(x, indptr, indices, first, last):
    """Positions of the entries that are not 0; without a branch, so some are written twice."""
    for r in range(first, last):
        row, end = x[r], indptr[r + 1]
        at = indptr[r]
        for i in range(row.size):
            if at == end:
                break
            indices[np.uint64(at)] = i
            at += row[i] != 0


@no_type_check
@njit(cache=True, nogil=True)
def add_rows(total, table, block, rows):
    """total += sum of table[rows, block]: eight at a time, so that the total seldom moves."""
    n = rows.size
    eights = n - n % 8
    for e in range(0, eights, 8):
        a, b, c, d = (
            table[rows[e], block], table[rows[e + 1], block],
            table[rows[e + 2], block], table[rows[e + 3], block],
        )  # fmt: skip
        f, g, h, i = (
            table[rows[e + 4], block], table[rows[e + 5], block],
            table[rows[e + 6], block], table[rows[e + 7], block],
        )  # fmt: skip
        for u in range(total.size):
            t = ((total[u] + a[u]) + (b[u] + c[u])) + (d[u] + f[u])
            total[u] = (t + (g[u] + h[u])) + i[u]
    fours = n - n % 4
    for e in range(eights, fours, 4):
        a, b, c, d = (
            table[rows[e], block], table[rows[e + 1], block],
            table[rows[e + 2], block], table[rows[e + 3], block],
        )  # fmt: skip
        for u in range(total.size):
            total[u] = ((total[u] + a[u]) + (b[u] + c[u])) + d[u]
    for e in range(fours, n):
        a = table[rows[e], block]
        for u in range(total.size):
            total[u] += a[u]


@no_type_check
@njit(cache=True, nogil=True)
def product(indptr, indices, table, start, sums, first, last, block):
    for r in range(first, last):
        total, begin = sums[r, block], start[block]
        for u in range(total.size):
            total[u] = begin[u]
        add_rows(total, table, block, indices[indptr[r] : indptr[r + 1]])


@no_type_check
@njit(cache=True, nogil=True)
def sort_tiles(indptr, indices, pointers, rows, first, last):
    """The events of each tile of rows by column, as rows counted from the tile's first."""
    for tile in range(first, last):
        top = tile * TILE
        bottom = min(top + TILE, indptr.size - 1)
        pointer = pointers[tile]
        for e in indices[indptr[top] : indptr[bottom]]:
            pointer[np.uint64(e) + np.uint64(1)] += 1
        pointer[0] = indptr[top]
        for i in range(1, pointer.size):
            pointer[i] += pointer[i - 1]
        for r in range(top, bottom):
            for e in indices[indptr[r] : indptr[r + 1]]:
                rows[np.uint64(pointer[np.uint64(e)])] = r - top
                pointer[np.uint64(e)] += 1
        for i in range(pointer.size - 1, 0, -1):  # each now points at the end of its column
            pointer[i] = pointer[i - 1]
        pointer[0] = indptr[top]


@no_type_check
@njit(cache=True, nogil=True)
def gradient(pointers, rows, table, sums, block):
    for tile in range(pointers.shape[0]):
        pointer, part = pointers[tile], table[tile * TILE :]
        for i in range(pointer.size - 1):
            if pointer[i + 1] > pointer[i]:
                add_rows(sums[i, block], part, block, rows[pointer[i] : pointer[i + 1]])
