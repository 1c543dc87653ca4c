"""Kernels that are the same for every network: lists of spikes, units that fire at random, sums.

What many synapses add to one variable in one step is summed as whole numbers: floating-point sums
depend on the order, and the order in which a GPU adds is not known. ``bound`` holds the bits of the
largest term in float64, and how many bits the number of terms has; from them follows the power of
two by which terms are multiplied, so that 62 bits are used and never more.
"""

from __future__ import annotations

from typing import no_type_check

import triton
import triton.language as tl

from bregma.dynamics.network._hold import FOREVER as LAST_STEP
from bregma.dynamics.randomness import _random_triton as random

FOREVER = tl.constexpr(LAST_STEP)
INF = tl.constexpr(float("inf"))


@no_type_check
@triton.jit
def collect(mask, counts, first, units, clock, longest, room, n, BLOCK: tl.constexpr,
            BLOCKS: tl.constexpr):  # fmt: skip
    """Append marked units to the list of spikes, in their order; `counts` is that of each block."""
    block = tl.program_id(0)
    here = tl.load(first + tl.load(longest) + tl.load(clock + 1))
    others = tl.arange(0, BLOCKS)
    here += tl.sum(tl.load(counts + others, others < block, 0), 0)
    i = block * BLOCK + tl.arange(0, BLOCK)
    marked = tl.load(mask + i, i < n, 0).to(tl.int32)
    place = here + tl.cumsum(marked, 0) - marked
    tl.store(units + place, i, (marked > 0) & (place < room))
    if block == tl.num_programs(0) - 1:
        end = first + tl.load(longest) + tl.load(clock + 1) + 1
        tl.store(end, here + tl.sum(marked, 0))


@no_type_check
@triton.jit
def fires(mask, counts, chance, frame, frames, key, base, clock, n, BLOCK: tl.constexpr):
    """Mark units of which a uniform number lies below their chance."""
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    k = tl.load(clock)
    row = tl.minimum(k // tl.load(frame), tl.load(frames) - 1)
    drawn = random.uniform_32(tl.load(key), i + tl.load(base), k, 0, 0)
    fired = (i < n) & (drawn < tl.load(chance + row * n + i, i < n, 0.0))
    tl.store(mask + i, fired.to(tl.uint8), i < n)
    tl.store(counts + tl.program_id(0), tl.sum(fired.to(tl.int32), 0))


@no_type_check
@triton.jit
def impose(mask, counts, given, n, BLOCK: tl.constexpr):
    """Spikes of a source, as they are given where they are."""
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    said = tl.load(given + i, i < n, 0)
    fired = tl.where(said < 0, tl.load(mask + i, i < n, 0), said).to(tl.int32)
    tl.store(mask + i, fired.to(tl.uint8), i < n)
    tl.store(counts + tl.program_id(0), tl.sum(fired, 0))


@no_type_check
@triton.jit
def hold(target, units, values, first, last, frame, frames, clock, n, BLOCK: tl.constexpr):
    """Set what is held now: variables where the value is a number, spikes where it is 0 or 1."""
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    k, begin, end = tl.load(clock), tl.load(first), tl.load(last)
    row = tl.minimum(tl.maximum(k - begin, 0) // tl.load(frame), tl.load(frames) - 1)
    value = tl.load(values + row * n + i, i < n, 0)
    free = (value < 0) if value.dtype == tl.int8 else (value != value)
    held = (i < n) & (k >= begin) & (k < end) & (free == 0)
    tl.store(target + tl.load(units + i, i < n, 0), value, held)


@no_type_check
@triton.jit
def row_of(k, first, last, frame, frames):
    """Row of a drive at a step; outside of a window the last one, which is all zeros."""
    windowed = (first > 0) | (last < FOREVER)
    row = tl.minimum(tl.maximum(k - first, 0) // frame, frames - tl.where(windowed, 2, 1))
    return tl.where((k >= first) & (k < last), row, frames - 1)


@no_type_check
@triton.jit
def powers(bound):
    """By what terms are multiplied to become whole numbers, and the inverse."""
    highest = (tl.load(bound) >> 52) - 1022  # terms are below 2 to this power
    p = tl.minimum(tl.maximum(62 - tl.load(bound + 1) - highest, -1000), 1000)
    up = ((p + 1023) << 52).to(tl.float64, bitcast=True)
    return up, ((1023 - p) << 52).to(tl.float64, bitcast=True)


@no_type_check
@triton.jit
def widen(bound, values, here):
    """Let `bound` cover these values."""
    size = tl.abs(values.to(tl.float64))
    largest = tl.max(tl.where(here & (size < INF), size, 0.0), 0)
    tl.atomic_max(bound, largest.to(tl.int64, bitcast=True))


@no_type_check
@triton.jit
def whole(values, up):
    """Whole numbers that stand for values."""
    return tl.floor(values.to(tl.float64) * up + 0.5).to(tl.int64)


@no_type_check
@triton.jit
def add_far(sums, target, index, values, up, here):
    """Add each value to its own unit; one that is not finite makes the unit's variable NaN."""
    finite = tl.abs(values) < INF
    tl.store(target + index, values * 0.0 + (INF - INF), here & (finite == 0))
    safe = tl.where(finite, values, 0.0)
    tl.atomic_add(sums + index, whole(safe, up), here & finite)


@no_type_check
@triton.jit
def add_near(sums, target, index, values, up, here):
    """Add all values to one unit."""
    finite = tl.abs(values) < INF
    tl.store(target + index, INF - INF, tl.max((here & (finite == 0)).to(tl.int32), 0) > 0)
    safe = tl.where(here & finite, values, 0.0)
    tl.atomic_add(sums + index, tl.sum(whole(safe, up), 0))


@no_type_check
@triton.jit
def settle(target, sums, bound, n, BLOCK: tl.constexpr):
    """Add sums to a variable, and begin them anew."""
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    total = tl.load(sums + i, i < n, 0)
    there = (i < n) & (total != 0)
    _up, down = powers(bound)
    value = tl.load(target + i, there, 0.0)
    tl.store(target + i, value + (total.to(tl.float64) * down).to(value.dtype), there)
    tl.store(sums + i, 0, there)
