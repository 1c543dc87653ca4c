"""What everybody in the benchmark of dictionaries trains: the same start, the same batches.

Needs NumPy alone, because the peer may live in an environment of its own.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np


@dataclass(frozen=True)
class TopKTraining:
    """Steps of Adam on a TopK autoencoder, float32; the encoder starts as the decoder."""

    mode: str
    threads: int = 2
    steps: int = 6
    inputs: int = 768
    features: int = 12_288
    batch: int = 4096
    k: int = 32
    rate: float = 1e-4

    def start(self) -> np.ndarray:
        """Features of length 1, (feature, input)."""
        rows = np.random.default_rng(0).standard_normal((self.features, self.inputs), np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def batches(self) -> list[np.ndarray]:
        """One batch for each step, (sample, input)."""
        rng = np.random.default_rng(1)
        shape = (self.batch, self.inputs)
        return [rng.standard_normal(shape, np.float32) for _ in range(self.steps)]

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_argument(cls) -> TopKTraining:
        return cls(**json.loads(sys.argv[1]))

    def report(self, step: Callable[[np.ndarray], float], library: str) -> None:
        """Time all steps but the first, which may compile; print one line of JSON."""
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        seconds, cpu, losses = [], [], []
        for x in self.batches():
            begin, busy = time.perf_counter(), time.process_time()
            losses.append(step(x))
            seconds.append(time.perf_counter() - begin)
            cpu.append(time.process_time() - busy)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        times = {"seconds": seconds[1:], "cpu": cpu[1:]}
        print(json.dumps({"library": library, **times, "losses": losses, "MiB": peak / 1024}))
