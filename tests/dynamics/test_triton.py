"""Triton's kernels: run in its interpreter on the CPU, and compiled for GPUs without one.

These are processes of their own, because Triton reads the environment when it is first imported;
`on_triton` says what they do.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

from bregma.dynamics import Network, Neuron, Population, simulate
from bregma.errors import InvalidArgument
from triton_launches import interpret_and_compile

SCRIPT = Path(__file__).with_name("on_triton.py")
TASKS = ("networks", "perturbed", "room", "scan", "functions")

needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="Triton is not there on every platform"
)


@needs_triton
@pytest.mark.parametrize("task", ["networks", "perturbed", "room", "scan", "layers", "functions"])
def test_interpreted_it_is_right_and_it_compiles_for_gpus(task, tmp_path):
    interpret_and_compile(SCRIPT, task, tmp_path)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@needs_triton
def test_without_a_gpu_the_engine_is_refused():
    network = Network({"A": Population(Neuron("dv/dt = -v/tau", params={"tau": "1 ms"}), 3)})
    with pytest.raises(InvalidArgument, match="needs a GPU"):
        simulate(network, "1 ms", seed=0, engine="triton")
