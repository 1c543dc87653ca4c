"""A training step of bregma from equations written as text; the settings are those of the peers.

    python benchmarks/dynamics_training.py             all modes, a table
    python benchmarks/dynamics_training.py --memory    peak memory beside snnTorch's
    python benchmarks/dynamics_training.py '<JSON>'    one request of `dynamics_settings`, one line

Each mode runs in a process of its own, so that its peak memory is its own. Cores that others keep
busy are reported beside the times; on a busy machine read the CPU time.

Peak memory is what a step adds to the resident memory of a process. It has two figures: with the C
library as it is (median, lowest and highest of some runs, for holes between what torch takes from
the heap and gives back differ from run to run), and with blocks of 1 MB and more going back to the
system at once (glibc's MALLOC_MMAP_THRESHOLD_), which is what is held at a time. The exit status of
``--memory`` is 1 where the second is more than half of snnTorch's.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import bregma
import dynamics_settings as s
from bregma.dynamics import Neuron
from bregma.nn import EventLinear, Spiking, SpikingRecurrent
from dynamics_peers import Measurement

GOAL = 0.5  # of snnTorch's peak memory, at most


def neuron(task: s.TrainingStep) -> Neuron:
    """v[t] = beta v[t-1] + I[t] - z[t-1]: what is taken away decays for a step, hence 1/beta."""
    return Neuron(
        "dv/dt = (I/(1 - beta) - v)/tau", spike="v > 1", reset="v -= 1/beta",
        surrogate=f"fast_sigmoid({task.slope})",
        params={"beta": task.beta, "tau": -1 / np.log(task.beta)},
    )  # fmt: skip


class Network(nn.Module):
    """Input, hidden and output layer; ``linear`` makes the maps between them."""

    def __init__(self, task: s.TrainingStep, linear: Callable[..., nn.Module]) -> None:
        super().__init__()
        n_in, n_hidden, n_out = task.sizes
        kind = SpikingRecurrent if task.recurrent else Spiking
        self.first, self.second = linear(n_in, n_hidden), linear(n_hidden, n_out)
        self.hidden, self.out = kind(neuron(task), n_hidden), Spiking(neuron(task), n_out)
        w_hidden, w_out, w_recurrent = map(torch.from_numpy, task.weights())
        with torch.no_grad():
            self.first.weight.copy_(w_hidden)
            self.second.weight.copy_(w_out)
            if task.recurrent:
                self.hidden.weight.copy_(w_recurrent)

    def forward(self, x: Any) -> tuple[torch.Tensor, torch.Tensor]:
        hidden, _ = self.hidden(self.first(x))
        out, _ = self.out(self.second(hidden))
        return hidden, out


def dense(task: s.TrainingStep) -> tuple[nn.Module, Callable[[torch.Tensor], Any]]:
    """Dense products."""
    return Network(task, lambda a, b: nn.Linear(a, b, bias=False)), lambda x: x


def events(task: s.TrainingStep) -> tuple[nn.Module, Callable[[torch.Tensor], Any]]:
    """Products that skip the zeros; the spikes are found anew in every step."""
    return Network(task, EventLinear), lambda x: x


def events_given(task: s.TrainingStep) -> tuple[nn.Module, Callable[[torch.Tensor], Any]]:
    """The same with the input spikes found beforehand, once for all epochs."""
    return Network(task, EventLinear), EventLinear.events


MODES = {"dense": dense, "events": events, "events given": events_given}


def scan_alone(task: s.TrainingStep, request: s.Request) -> None:
    """The hidden neurons without any product, forward and backward."""
    rng = torch.Generator().manual_seed(0)
    shape = (task.steps, task.batch, task.sizes[1])
    current = (torch.randn(shape, generator=rng) * 0.4).requires_grad_()
    weight, layer, times = (
        torch.randn(shape, generator=rng),
        Spiking(neuron(task), shape[2]),
        s.Times(),
    )

    def step() -> None:
        torch.autograd.grad(layer(current)[0], current, weight)

    for k in range(request.rounds + 2):
        (step if k < 2 else lambda: times.add(step))()
    s.report("bregma", bregma.__version__, request, times, precision="float32")


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def one(request: s.Request) -> None:
    task = request.task
    torch.set_num_threads(request.threads)
    if request.mode == "scan alone":
        return scan_alone(task, request)
    model, prepared = MODES[request.mode](task)
    x, labels = map(torch.from_numpy, task.inputs())
    few, given = prepared(x[:2, :2]), prepared(x)

    def step(x: Any, labels: torch.Tensor) -> tuple[float, float, float]:
        hidden, out = model(x)
        loss = cross_entropy(out.sum(0), labels)
        loss.backward()
        return loss.item(), hidden.mean().item(), out.mean().item()

    step(few, labels[:2])  # compiles, or loads what was compiled
    ctypes.CDLL(None).malloc_trim(0)  # else what the imports left free would hide what is used
    before = resident_mb()
    step(given, labels)
    times = s.Times()
    for _ in range(request.rounds):
        loss, hidden, out = times.add(lambda: step(given, labels))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6 - before
    s.report(
        "bregma", bregma.__version__, request, times, precision="float32", build_s=0.0,
        peak_memory_mb=round(peak, 1), loss=loss, hidden_rate=hidden, output_rate=out,
    )  # fmt: skip


def memory() -> int:
    """Peak memory of all modes and of snnTorch's documented loop, in turn."""
    missed = False
    for recurrent in (False, True):
        task = s.TrainingStep(recurrent)
        lines = [("snntorch", "documented loop"), *(("bregma", mode) for mode in MODES)]
        runs = [Measurement(peer, s.Request(task, mode, rounds=5)) for peer, mode in lines]
        heap = [[each.run(sys.executable)["peak_memory_mb"] for each in runs] for _ in range(5)]
        returned = {"MALLOC_MMAP_THRESHOLD_": "1000000"}
        held = [each.run(sys.executable, **returned)["peak_memory_mb"] for each in runs]
        medians = np.median(heap, axis=0)
        for (peer, mode), most, median, all_heap in zip(
            lines, held, medians, np.transpose(heap), strict=True
        ):
            missed |= peer == "bregma" and most > GOAL * held[0]
            print(
                f"{task.name:25} {peer:8} {mode:15} held {most:5.1f} MB, {most / held[0]:.2f}; "
                f"with the heap's holes {median:5.1f} ({all_heap.min():.1f} to "
                f"{all_heap.max():.1f}), {median / medians[0]:.2f}",
                flush=True,
            )
    return int(missed)


def main() -> None:
    if sys.argv[1:] == ["--memory"]:
        raise SystemExit(memory())
    if len(sys.argv) > 1:
        return one(s.Request.from_command_line(s.TrainingStep))
    for recurrent in (False, True):
        for mode in (*MODES, *(() if recurrent else ("scan alone",))):
            for threads in (1, 2):
                request = s.Request(s.TrainingStep(recurrent), mode, threads, rounds=15)
                done = subprocess.run(
                    [sys.executable, __file__, request.to_json()], capture_output=True, text=True
                )
                if done.returncode:
                    raise SystemExit(done.stderr)
                r = json.loads(done.stdout.splitlines()[-1])
                print(
                    f"{request.task.name:25} {mode:13} {threads} thread(s): best "
                    f"{r['best_s'] * 1e3:6.1f} ms, median {r['median_s'] * 1e3:6.1f}, CPU "
                    f"{min(r['cpu_s']) * 1e3:6.1f}, others {np.median(r['foreign_cores']):.1f}, "
                    f"peak {r.get('peak_memory_mb', float('nan')):.0f} MB"
                    f"  {r.get('loss', 0):.6f} {r.get('hidden_rate', 0):.4f}",
                    flush=True,
                )
    return None


if __name__ == "__main__":
    main()
