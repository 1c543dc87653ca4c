"""What this machine allows for the balanced networks on one core: a floor for any simulator.

Run by itself: ``python benchmarks/dynamics_limit.py``, or import ``floor``. Three things are
measured at the size of the network: how fast memory is read, changed and written in place; how long
the arithmetic of a neuron's step takes when everything is in the first-level cache (as Numba
compiles it); and how long it takes to add a synaptic event to its target. A step is not faster than
the slower of the first two, and every event comes on top. Float32, best of many short rounds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, no_type_check

import numpy as np
from numba import njit
from rich.console import Console
from rich.table import Table

import dynamics_settings as s

# v, g_e, g_i (float32) and the refractory counter (int32) are read and written, and a byte says
# who spiked: it is written by the update and read by the search for spikes.
BYTES = 16 + 16 + 2
# Spikes per neuron and second that the peers agree on, for the number of events.
RATES = {("cuba", 4000): 6.28, ("coba", 4000): 24.0, ("cuba", 40_000): 5.65, ("coba", 40_000): 20.7}


@no_type_check
@njit(fastmath=True)
def change_in_place(x, factor, offset, times):
    for _ in range(times):
        for i in range(len(x)):
            x[i] = x[i] * factor + offset


@no_type_check
@njit(fastmath=True, error_model="numpy")  # else a check before every division
def update_cuba(v, g_e, g_i, wait, spiked, constants, steps):
    """Exact step of the linear equations."""
    offset, keep, gain_e, gain_i, decay_e, decay_i, threshold, reset = constants
    zero, one, refractory = np.int32(0), np.int32(1), np.int32(50)
    for _ in range(steps):
        for i in range(len(v)):
            old, e, h, left = v[i], g_e[i], g_i[i], wait[i]
            new = offset + keep * old + gain_e * e + gain_i * h
            new = old if left > zero else new
            fires = new > threshold
            left = left - one if left > zero else zero
            v[i] = reset if fires else new
            wait[i] = refractory if fires else left
            spiked[i] = fires
            g_e[i] = e * decay_e
            g_i[i] = h * decay_i


@no_type_check
@njit(fastmath=True, error_model="numpy")
def update_coba(v, g_e, g_i, wait, spiked, constants, steps):
    """Exponential Euler; 1 - exp(-x) = 12 x / (12 + 6 x + x^2), so that one division is enough."""
    leak, e_exc, e_inh, dt_tau, decay_e, decay_i, threshold, reset = constants
    zero, one, refractory = np.int32(0), np.int32(1), np.int32(50)
    unit, six, twelve = np.float32(1), np.float32(6), np.float32(12)
    for _ in range(steps):
        for i in range(len(v)):
            old, e, h, left = v[i], g_e[i], g_i[i], wait[i]
            total = unit + e + h
            x = dt_tau * total
            drive = leak + e_exc * e + e_inh * h - total * old
            new = old + drive * (twelve * dt_tau / (twelve + six * x + x * x))
            new = old if left > zero else new
            fires = new > threshold
            left = left - one if left > zero else zero
            v[i] = reset if fires else new
            wait[i] = refractory if fires else left
            spiked[i] = fires
            g_e[i] = e * decay_e
            g_i[i] = h * decay_i


@no_type_check
@njit(fastmath=True)
def deliver(g, sources, start, target, weight):
    for source in sources:
        for k in range(start[source], start[source + 1]):
            g[target[k]] += weight


def best_seconds(function: Callable[[], Any], rounds: int = 50) -> float:
    function()  # compiles
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def aligned(n: int, dtype: Any = np.float32) -> np.ndarray:
    """Zeros that begin with a cache line: vectors that cross one take twice as long."""
    space = np.zeros(n * np.dtype(dtype).itemsize + 64, np.uint8)
    begin = -space.ctypes.data % 64
    return space[begin : begin + n * np.dtype(dtype).itemsize].view(dtype)


def bandwidth(n_bytes: int) -> float:
    """Bytes read and written per second when ``n_bytes`` are changed in place."""
    x, times = aligned(n_bytes // 4), max(1, 20_000_000 // n_bytes)
    seconds = best_seconds(lambda: change_in_place(x, np.float32(0.99), np.float32(0.01), times))
    return 2 * x.nbytes * times / seconds


def constants(kind: str) -> tuple[Any, ...]:
    """Of a step: four of the voltage, decay of both synapses, threshold and reset."""
    decay = np.exp(-s.DT / np.array([s.TAU_M, s.TAU_E, s.TAU_I]))
    if kind == "coba":
        voltage = [s.E_L, s.E_EXC, s.E_INH, s.DT / s.TAU_M]
    else:
        # dv/dt = (g - v)/tau_m, dg/dt = -g/tau: g enters v by a difference of exponentials.
        taus = np.array([s.TAU_E, s.TAU_I])
        gain = taus / (taus - s.TAU_M) * (decay[1:] - decay[0])
        voltage = [s.E_L * (1 - decay[0]), decay[0], *gain]
    return tuple(map(np.float32, (*voltage, *decay[1:], s.THRESHOLD, s.RESET)))


def arithmetic(kind: str, n: int = 1024, steps: int = 1000) -> float:
    """Seconds of a neuron's step when its state is in the first-level cache."""
    update, c = update_cuba if kind == "cuba" else update_coba, constants(kind)
    v, g_e, g_i = (aligned(n) for _ in range(3))
    wait, spiked = aligned(n, np.int32), aligned(n, np.bool_)
    v[:] = s.RESET
    return best_seconds(lambda: update(v, g_e, g_i, wait, spiked, c, steps)) / n / steps


def delivery(network: s.Network, n_spikes: int = 2000) -> float:
    """Seconds to add one synaptic event; each round has other rows, as spikes come in any order."""
    pre, post = network.graph()
    start = np.searchsorted(pre, np.arange(network.n + 1))
    target, rng = post.astype(np.uint16), np.random.default_rng(0)
    g, weight = aligned(network.n), np.float32(0.1)
    per_event = []
    for _ in range(200):
        sources = rng.integers(0, network.n, n_spikes)
        begin = time.perf_counter()
        deliver(g, sources, start, target, weight)
        seconds = time.perf_counter() - begin
        per_event.append(seconds / (start[sources + 1] - start[sources]).sum())
    return min(per_event)


@dataclass(frozen=True)
class Floor:
    """Seconds of one core for a run: memory or arithmetic, whichever is slower, and events."""

    task: str
    gigabytes_per_s: float
    memory_s: float
    arithmetic_s: float
    events_per_s: float
    events_s: float

    @property
    def seconds(self) -> float:
        return max(self.memory_s, self.arithmetic_s) + self.events_s


def floor(network: s.Network, spikes: int) -> Floor:
    """The floor of a network that fires so many spikes; plasticity and delays would add to it."""
    updates = network.n * network.seconds * 1000 / s.DT
    speed, event_s = bandwidth(network.n * 16), delivery(network)
    return Floor(
        task=network.name,
        gigabytes_per_s=speed / 1e9,
        memory_s=updates * BYTES / speed,
        arithmetic_s=updates * arithmetic(network.kind),
        events_per_s=1 / event_s,
        events_s=spikes * s.IN_DEGREE * event_s,
    )


def main() -> None:
    table = Table(
        "1 s of", "in place", "memory", "arithmetic", "scatter", "events", "floor",
        title="Floor of one core, float32, best rounds",
    )  # fmt: skip
    for (kind, n), rate in RATES.items():
        network = s.Network(kind, n)
        x = floor(network, round(rate * n * network.seconds))
        table.add_row(
            x.task, f"{x.gigabytes_per_s:.0f} GB/s", f"{x.memory_s * 1e3:.1f} ms",
            f"{x.arithmetic_s * 1e3:.1f} ms", f"{x.events_per_s / 1e9:.1f} G/s",
            f"{x.events_s * 1e3:.1f} ms", f"{x.seconds * 1e3:.1f} ms",
        )  # fmt: skip
    Console().print(table)


if __name__ == "__main__":
    main()
