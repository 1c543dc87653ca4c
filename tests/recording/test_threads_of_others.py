"""Counting spikes leaves the threads of other libraries alone."""

from __future__ import annotations

import os
import subprocess
import sys

CODE = """
import numpy as np, torch
before = torch.get_num_threads()
from bregma.recording import SpikeTrains
times = np.sort(np.random.default_rng(0).uniform(0, 10, 600_000))
SpikeTrains(times, np.zeros(len(times), int), units=["a"], support=[(0, 10)]).bin(0.01)
assert torch.get_num_threads() == before == 1, torch.get_num_threads()
"""


def test_torch_keeps_its_number_of_threads():
    """A process of its own: what starts threads does so once."""
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
