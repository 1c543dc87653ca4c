"""What everybody in the benchmark of dynamics runs: the same networks, the same way of timing.

Needs NumPy alone, because a simulator may live in an environment of its own. The balanced networks
are those of Vogels and Abbott (2005) as Brette et al. (2007) state them, without external drive;
graph and initial voltages are drawn once from the seed, so that all simulators have the same.
The leak pulls every unit above its threshold, so that activity goes on by itself for any time.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dynamics_pairs import pair_statistics

DT = 0.1  # ms, as all times here; voltages in mV, conductances in units of the leak
TAU_M, TAU_E, TAU_I, REFRACTORY = 20.0, 5.0, 10.0, 5.0
E_L, THRESHOLD, RESET = -49.0, -50.0, -60.0
E_EXC, E_INH = 0.0, -80.0
WEIGHTS = {"cuba": (1.62, -9.0), "coba": (0.6, 6.7)}
IN_DEGREE = 80  # connection probability IN_DEGREE / n: 2 % of 4,000
EXCITATORY = 0.8

# Pair STDP, additive and all-to-all: w += A_POST-trace at a spike of pre, A_PRE-trace at one of
# post, then clipped to 0..W_MAX. Depression wins slightly, as in Song, Miller and Abbott (2000).
TAU_STDP = 20.0
W_MAX = 2 * WEIGHTS["cuba"][0]
A_PRE = 0.01 * W_MAX
A_POST = -1.05 * A_PRE


@dataclass(frozen=True)
class Network:
    """One balanced network: ``kind`` is ``"cuba"`` or ``"coba"``; ``delay`` in ms.

    ``kept`` is the share of the synapses that are there, drawn at random: a sparser network that is
    otherwise the same.
    """

    kind: str
    n: int = 4000
    delay: float = 0.0
    plastic: bool = False
    seconds: float = 1.0
    seed: int = 0
    kept: float = 1.0

    @property
    def name(self) -> str:
        extras = f", delay {self.delay:g} ms" * (self.delay > 0) + ", STDP" * self.plastic
        return f"{self.kind.upper()} {self.n:,}{extras}"

    @property
    def n_exc(self) -> int:
        return int(EXCITATORY * self.n)

    def graph(self) -> tuple[np.ndarray, np.ndarray]:
        """Pre and post of all synapses, by pre: each pair with equal probability, by its gaps."""
        rng, pairs = np.random.default_rng(2 * self.seed), self.n * self.n
        p = IN_DEGREE / self.n
        gaps = rng.geometric(p, size=int(pairs * p * 1.1) + 1000)
        flat = np.cumsum(gaps) - 1
        if self.kept < 1:
            flat = flat[rng.random(len(flat)) < self.kept]
        pre, post = np.divmod(flat[flat < pairs], self.n)
        return pre.astype(np.int32), post.astype(np.int32)

    def initial_voltage(self) -> np.ndarray:
        return np.random.default_rng(2 * self.seed + 1).uniform(RESET, THRESHOLD, self.n)


@dataclass(frozen=True)
class TrainingStep:
    """Forward and backward of a spiking network of one hidden layer, with or without recurrence.

    v[t] = beta v[t-1] + W x[t] - z[t-1], z = v > 1; cross-entropy of the summed output spikes. The
    weights are scaled so that 6 % of the hidden units spike in a step.
    """

    recurrent: bool = False
    sizes: tuple[int, int, int] = (700, 512, 20)
    steps: int = 100
    batch: int = 64
    density: float = 0.05
    beta: float = 0.9
    slope: float = 25.0  # of the fast sigmoid

    @property
    def name(self) -> str:
        return "training step" + ", recurrent" * self.recurrent

    def inputs(self) -> tuple[np.ndarray, np.ndarray]:
        """Spikes (steps, batch, inputs) as float32, and the labels."""
        rng = np.random.default_rng(2)
        spikes = rng.random((self.steps, self.batch, self.sizes[0]), np.float32) < self.density
        return spikes.astype(np.float32), rng.integers(0, self.sizes[2], self.batch)

    def weights(self) -> list[np.ndarray]:
        """Weights (out, in) of the hidden and the output layer, then those of the recurrence."""
        rng, (n_in, n_hidden, n_out) = np.random.default_rng(3), self.sizes
        shapes = {(n_hidden, n_in): 0.09, (n_out, n_hidden): 0.1, (n_hidden, n_hidden): 0.02}
        return [rng.standard_normal(shape, np.float32) * size for shape, size in shapes.items()]


@dataclass(frozen=True)
class Request:
    """One measurement: what to run, how, how often. A peer's script takes it as JSON."""

    task: Any  # a Network or a TrainingStep
    mode: str
    threads: int = 1
    rounds: int = 3

    @classmethod
    def from_command_line(cls, kind: type[Network | TrainingStep]) -> Request:
        values = json.loads(sys.argv[1])
        return cls(**{**values, "task": kind(**values["task"])})

    def to_json(self) -> str:
        return json.dumps(asdict(self))


@dataclass
class Times:
    """Seconds of each round, and how many cores others kept busy meanwhile."""

    wall_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    foreign_cores: list[float] = field(default_factory=list)

    def add(self, function: Callable[[], Any]) -> Any:
        """Time one call; gives its result."""
        wall, cpu, busy = time.perf_counter(), cpu_seconds(), busy_seconds()
        result = function()
        wall, cpu = time.perf_counter() - wall, cpu_seconds() - cpu
        self.wall_s.append(wall)
        self.cpu_s.append(cpu)
        self.foreign_cores.append(round((busy_seconds() - busy - cpu) / wall, 2))
        return result


def cpu_seconds() -> float:
    """CPU time of this process and of its finished children."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


def busy_seconds() -> float:
    """CPU time of the whole machine (Linux; elsewhere NaN: what others do is not known)."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return float("nan")
    user, nice, system = map(int, stat.read_text().split(maxsplit=4)[1:4])
    return (user + nice + system) / os.sysconf("SC_CLK_TCK")


def spike_statistics(network: Network, units: Any, times: Any) -> dict[str, Any]:
    """Mean rate, mean CV of the intervals of units with 3 or more, and statistics of pairs."""
    order = np.lexsort((times, units))
    unit, sorted_times = np.asarray(units)[order], np.asarray(times, float)[order]
    same = np.diff(unit) == 0
    unit_of, intervals = unit[1:][same], np.diff(sorted_times)[same]
    count = np.bincount(unit_of, minlength=network.n)
    enough = count >= 3
    first, second = (
        np.bincount(unit_of, intervals**power, network.n)[enough] / count[enough]
        for power in (1, 2)
    )
    cv = np.sqrt(np.maximum(second - first**2, 0)) / first
    return {
        "spikes": len(unit),
        "rate_hz": round(len(unit) / network.n / network.seconds, 3),
        "isi_cv": round(float(cv.mean()), 3),
        **pair_statistics(network.n_exc, network.seconds, units, times),
    }


def weight_statistics(weights: Any) -> dict[str, float]:
    """What STDP has made of the excitatory weights, in mV."""
    weights = np.asarray(weights, float)
    return {
        "weight_mean": round(float(weights.mean()), 4),
        "weight_sd": round(float(weights.std()), 4),
    }


def report(peer: str, version: str, request: Request, times: Times, **more: Any) -> None:
    """Print the measurement as one line of JSON, the last of a peer's output."""
    line = {
        "task": request.task.name, "peer": peer, "version": version, "mode": request.mode,
        "threads": request.threads, "median_s": statistics.median(times.wall_s),
        "best_s": min(times.wall_s), **asdict(times), **more,
    }  # fmt: skip
    print(json.dumps(line), flush=True)
