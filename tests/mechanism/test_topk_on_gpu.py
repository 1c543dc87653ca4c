"""The step of a TopK dictionary in Triton's kernels: interpreted, and compiled for GPUs."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

from bregma.mechanism import SparseAutoencoder, TopKCode, TopKStep
from triton_launches import interpret_and_compile

SCRIPT = Path(__file__).with_name("on_triton_topk.py")


@pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="Triton is not there on every platform"
)
@pytest.mark.parametrize("task", ["steps", "half"])
def test_interpreted_it_is_the_step_of_the_cpu_and_it_compiles_for_gpus(task, tmp_path):
    interpret_and_compile(SCRIPT, task, tmp_path)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_on_a_gpu_it_is_the_step_of_the_cpu(precision):
    losses = []
    for device in ("cpu", "cuda"):
        sae = SparseAutoencoder(64, 300, TopKCode(8), seed=0).to(device)
        adam = torch.optim.Adam(sae.parameters(), lr=3e-3)
        step = TopKStep(sae, adam, "float32" if device == "cpu" else precision)
        rng = torch.Generator().manual_seed(0)
        losses.append([step(torch.randn(100, 64, generator=rng).to(device)) for _ in range(5)])
    assert losses[1] == pytest.approx(losses[0], rel=1e-4 if precision == "float32" else 1e-2)
