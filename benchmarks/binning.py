"""Binning 10^8 spikes against reading them once from memory, and pynapple's count.

Run by itself: ``python benchmarks/binning.py``. The reference reads both arrays (times and unit
ids) once on the same threads and does nothing else. Rounds of reference and binning alternate,
so that both see the same machine; the table has the ratio of the best rounds and, in brackets,
that of the medians.
"""

from __future__ import annotations

import argparse
import itertools
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, no_type_check

import numpy as np
from numba import get_num_threads, njit, set_num_threads
from rich.console import Console
from rich.table import Table

from bregma import SpikeTrains

SECONDS, WIDTH = 3600.0, 0.01


@no_type_check
@njit(nogil=True, fastmath=True)
def _sum(times, unit_index):
    total, ids = 0.0, 0
    for i in range(times.size):  # from 0, or the compiler does not vectorise it
        total += times[i]
        ids += unit_index[i]
    return total + ids


def read_once(spikes: SpikeTrains, pool: ThreadPoolExecutor, threads: int) -> float:
    cuts = np.linspace(0, spikes.n_spikes, threads + 1).astype(int).tolist()
    parts = [slice(*ends) for ends in itertools.pairwise(cuts)]
    return sum(pool.map(lambda part: _sum(spikes.times[part], spikes.unit_index[part]), parts))


def read_and_write(spikes: SpikeTrains, size: int, pool: ThreadPoolExecutor, threads: int) -> Any:
    """Reading once, and writing as many bytes as the counts have: the least that binning can do."""
    read_once(spikes, pool, threads)
    counts = np.empty(size, np.int8)
    cuts = np.linspace(0, size, threads + 1).astype(int).tolist()
    list(pool.map(lambda ends: counts[ends[0] : ends[1]].fill(1), itertools.pairwise(cuts)))
    return counts


def simulate(n_spikes: int, n_units: int, dtype: Any) -> SpikeTrains:
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.standard_exponential(n_spikes, dtype=np.float32), dtype=float)
    times *= SECONDS * (1 - 1e-9) / times[-1]
    ids = rng.integers(0, n_units, n_spikes, dtype=dtype)
    return SpikeTrains(times, ids, units=range(n_units), support=[(0, SECONDS)])


def seconds(function: Callable[[], Any]) -> float:
    start = time.perf_counter()
    result = function()
    took = time.perf_counter() - start
    del result  # giving memory back is not part of it
    return took


def _median(a: list[float], b: list[float]) -> float:
    return float(np.median(a) / np.median(b))


def most_memory(function: Callable[[], Any]) -> float:
    """Peak of resident memory during a call above that before it, in bytes."""
    import psutil

    process = psutil.Process()
    before, peak, done = process.memory_info().rss, 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.002):
            peak = max(peak, process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    result = function()
    done.set()
    watcher.join()
    peak = max(peak, process.memory_info().rss)
    del result
    return peak - before


def against_reading(n_spikes: int, rounds: int, threads: int, console: Console) -> None:
    table = Table(
        "unit ids", "reading once", "reading + writing", "binning", "binning / reading",
        "binning / (reading + writing)", "counts", "extra memory",
        title=f"{n_spikes:,} spikes of 1,000 units, {SECONDS:g} s, bins of {WIDTH:g} s, "
        f"{threads} threads",
    )  # fmt: skip
    with ThreadPoolExecutor(threads) as pool:
        for dtype in (np.uint16, np.int32, np.int64):
            spikes = simulate(n_spikes, 1000, dtype)
            counted = spikes.bin(WIDTH)  # compiles
            assert counted.values.sum() == n_spikes
            read_once(spikes, pool, threads)
            size, kind = counted.values.nbytes, counted.values.dtype
            del counted
            reading, both, binning = [], [], []
            for _ in range(rounds):
                reading.append(seconds(lambda s=spikes: read_once(s, pool, threads)))
                both.append(seconds(lambda s=spikes, n=size: read_and_write(s, n, pool, threads)))
                binning.append(seconds(lambda s=spikes: s.bin(WIDTH)))
            extra = most_memory(lambda s=spikes: s.bin(WIDTH))
            table.add_row(
                np.dtype(dtype).name,
                f"{min(reading) * 1e3:.0f} ms",
                f"{min(both) * 1e3:.0f} ms",
                f"{min(binning) * 1e3:.0f} ms",
                f"{min(binning) / min(reading):.2f} ({_median(binning, reading):.2f})",
                f"{min(binning) / min(both):.2f} ({_median(binning, both):.2f})",
                f"{kind}, {size / 1e6:.0f} MB",
                f"{extra / 1e6:.0f} MB",
            )
    console.print(table)


def against_pynapple(n_spikes: int, console: Console) -> None:
    try:
        import pynapple  # noqa: F401
    except ImportError:
        console.print("pynapple is not installed: not compared")
        return
    spikes = simulate(n_spikes, 100, np.int64)
    group = spikes.to_pynapple()
    group.count(WIDTH)  # compiles
    mine = spikes.bin(WIDTH).values[0]
    assert np.array_equal(mine, group.count(WIDTH).values)
    peer = min(seconds(lambda: group.count(WIDTH)) for _ in range(3))
    ours = min(seconds(lambda: spikes.bin(WIDTH)) for _ in range(3))
    table = Table("", "time", "times faster", title=f"{n_spikes:,} spikes of 100 units")
    table.add_row("pynapple TsGroup.count", f"{peer * 1e3:.0f} ms", "1")
    table.add_row("SpikeTrains.bin (equal counts)", f"{ours * 1e3:.1f} ms", f"{peer / ours:.0f}")
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spikes", type=int, default=100_000_000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=min(2, get_num_threads()))
    arguments = parser.parse_args()
    set_num_threads(arguments.threads)
    console = Console()
    against_reading(arguments.spikes, arguments.rounds, arguments.threads, console)
    against_pynapple(min(arguments.spikes, 2_000_000), console)


if __name__ == "__main__":
    main()
