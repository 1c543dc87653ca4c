"""Recording a network of ResNet-18's size against running it and keeping nothing.

Run by itself: ``python benchmarks/recording.py``. The reference is the bare forward pass over the
same batches, in evaluation mode and without gradients. Rounds of reference and recordings
alternate, so that all see the same machine; the table has the ratio of the best rounds and, in
brackets, that of the medians. CPU time counts the work of all threads; on a busy machine it is
the steadier one of the two.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from bregma import Stimuli, TorchSystem

STAGES = ["layer1", "layer2", "layer3", "layer4"]
GOAL = 1.15


class Block(nn.Module):
    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut = nn.Sequential()
        if stride > 1:
            conv = nn.Conv2d(before, after, 1, stride, bias=False)
            self.shortcut = nn.Sequential(conv, nn.BatchNorm2d(after))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(inner + self.shortcut(x))


class ResNet18(nn.Sequential):
    """11.7 million weights, as He et al. (2016) describe it."""

    def __init__(self) -> None:
        super().__init__()
        stem = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True)
        self.add_module("stem", nn.Sequential(*stem, nn.MaxPool2d(3, 2, 1)))
        widths = [64, 64, 128, 256, 512]
        for i, name in enumerate(STAGES):
            first = Block(widths[i], widths[i + 1], 1 if i == 0 else 2)
            self.add_module(name, nn.Sequential(first, Block(widths[i + 1], widths[i + 1], 1)))
        self.add_module("pool", nn.AdaptiveAvgPool2d(1))
        self.add_module("flat", nn.Flatten())
        self.add_module("fc", nn.Linear(512, 1000))


def seconds(function: Callable[[], Any]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    result = function()
    took = time.perf_counter() - wall, time.process_time() - cpu
    del result
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--size", type=int, default=224, help="rows and columns of an image")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=32)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    rng = np.random.default_rng(0)
    shape = (asked.images, 3, asked.size, asked.size)
    stimuli = Stimuli(rng.standard_normal(shape, dtype=np.float32), kind="array")
    module = ResNet18().eval()

    def bare() -> None:
        with torch.no_grad():
            for batch in stimuli.batches(asked.batch):
                module(torch.from_numpy(batch.array()))

    def record(layers: list[str], **options: Any) -> Callable[[], Any]:
        system = TorchSystem(module, layers)
        return lambda: system.record(stimuli, batch_size=asked.batch, **options)

    folder = tempfile.TemporaryDirectory()
    tasks: dict[str, Callable[[], Any]] = {
        "the bare forward pass": bare,
        "features (fc.input)": record(["fc.input"]),
        "last stage, all positions": record(["layer4", "fc"]),
        "four stages, means": record([*STAGES, "fc"], reduce="mean"),
        "four stages, all positions": record([*STAGES, "fc"]),
        "last stage, to Zarr": record(["layer4", "fc"], to=Path(folder.name) / "last.zarr"),
    }
    with torch.no_grad():
        module(torch.from_numpy(stimuli[:2].array()))
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in tasks}
    for _ in range(asked.rounds):
        for name, task in tasks.items():
            took[name].append(seconds(task))
    folder.cleanup()

    n_weights = sum(p.numel() for p in module.parameters()) / 1e6
    table = Table(
        title=f"{asked.images} images of {asked.size} x {asked.size}, {n_weights:.1f} million "
        f"weights, batches of {asked.batch}, {asked.threads} threads, {asked.rounds} rounds"
    )
    for column in ("task", "best s", "ratio (medians)", "CPU ratio (medians)", "goal"):
        table.add_column(column, justify="left" if column == "task" else "right")
    reference = np.array(took["the bare forward pass"])
    for name, rounds in took.items():
        measured = np.array(rounds)
        best = measured.min(0) / reference.min(0)
        median = np.median(measured, 0) / np.median(reference, 0)
        ratios = [f"{b:.3f} ({m:.3f})" for b, m in zip(best, median, strict=True)]
        goal = "" if name.startswith("the bare") else f"<= {GOAL}"
        table.add_row(name, f"{measured[:, 0].min():.2f}", *ratios, goal)
    Console().print(table)


if __name__ == "__main__":
    main()
