"""bregma on a GPU beside BrainPy (simulation), SpikingJelly and snnTorch (training).

    python benchmarks/dynamics_gpu.py [--rounds N] [--peers-python brainpy=PATH]

Simulation: the balanced networks of 100,000 and 1,000,000 neurons, 1 s, 80 synapses onto each;
BrainPy needs an environment with ``jax[cuda]``. Training: one step of 700-1024-20 LIF units, 500
time steps, batch 256. SpikingJelly takes its own fused kernels on a GPU by itself. Times are wall
times up to the end of all kernels; the first round compiles and is not counted. Without a GPU
nothing is measured, and it says so. No table has been measured with this file yet.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy

import bregma
import dynamics_peers
import dynamics_peers_torch as peers
import dynamics_settings as s

NETWORKS = [s.Network(kind, n=n) for n in (100_000, 1_000_000) for kind in ("cuba", "coba")]
STEP = s.TrainingStep(sizes=(700, 1024, 20), steps=500, batch=256)
TRAINERS = (
    ("bregma", "dense"), ("torch", "eager"), ("snntorch", "documented loop"),
    ("snntorch", "hoisted product"), ("spikingjelly", "step_mode m"),
)  # fmt: skip


def finished(device: torch.device) -> None:
    """Wait for everything that was launched."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def simulate(request: s.Request, device: torch.device) -> None:
    """Time the engine from a plan to spikes on the host."""
    from bregma.dynamics.engines import _triton
    from bregma.dynamics.network._plan import plan
    from bregma.dynamics.network._state import initial_state
    from dynamics_peers_bregma import SECONDS, build

    task, times = request.task, s.Times()
    made = plan(build(task), dt=s.DT * SECONDS, seed=0)
    state, n_steps = initial_state(made), round(task.seconds / (s.DT * SECONDS))
    _triton.run(made, state, n_steps)
    for _ in range(request.rounds):
        outcome = times.add(lambda: _triton.run(made, state, n_steps))
    steps, units = outcome.spikes["N"]
    s.report(
        "bregma", bregma.__version__, request, times, precision="float32", build_s=0.0,
        **s.spike_statistics(task, units, steps * s.DT),
    )  # fmt: skip


def trained(mode: str, task: s.TrainingStep) -> peers.Model:
    """The model of bregma or of a peer on torch's default device."""
    if mode == "dense":
        from dynamics_training import dense

        return dense(task)[0].to(torch.get_default_device())
    weights = [nn.Parameter(torch.from_numpy(w).to(torch.get_default_device()))
               for w in task.weights()]  # fmt: skip
    return peers.MODELS[mode][1](task, weights)


def train(request: s.Request, device: torch.device) -> None:
    """Time forward and backward, and the most memory of the device that it takes."""
    torch.set_default_device(device)
    task, times = request.task, s.Times()
    model = trained(request.mode, task)
    x, labels = (torch.from_numpy(a).to(device) for a in task.inputs())

    def step() -> tuple[torch.Tensor, torch.Tensor]:
        hidden, out = model(x)
        loss = cross_entropy(out.sum(0), labels)
        loss.backward()
        finished(device)
        return loss, hidden.mean()

    step()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    for _ in range(request.rounds):
        loss, rate = times.add(step)
    peak = torch.cuda.max_memory_allocated(device) / 1e6 if device.type == "cuda" else None
    package = "bregma" if request.mode == "dense" else peers.MODELS[request.mode][0]
    version = bregma.__version__ if package == "bregma" else peers.version(package)
    s.report(
        package, version, request, times, precision="float32", peak_memory_mb=peak,
        loss=loss.item(), hidden_rate=rate.item(),
    )  # fmt: skip


def in_a_process(peer: str, request: s.Request) -> dict[str, Any]:
    """One line of ours or of a peer of torch, or the reason why there is none."""
    kind = "train" if isinstance(request.task, s.TrainingStep) else "simulate"
    command = [sys.executable, __file__, request.to_json(), "--one", kind]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["it ended without a word"])[-1]
        return {"task": request.task.name, "peer": peer, "mode": request.mode, "skipped": reason}
    return json.loads(done.stdout.splitlines()[-1])


def brainpy(request: s.Request, python: str) -> dict[str, Any]:
    """One line of BrainPy, which must not fall back to the CPU."""
    os.environ["JAX_PLATFORMS"] = "cuda"
    return dynamics_peers.Measurement("brainpy", request).run(python)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("request", nargs="?", help="one request as JSON, for --one")
    parser.add_argument("--one", choices=["simulate", "train"], help="measure in this process")
    parser.add_argument("--rounds", type=int, default=5, help="rounds after the warm-up")
    parser.add_argument("--peers-python", action="append", default=[], metavar="NAME=PATH")
    arguments = parser.parse_args()
    if arguments.one:
        kind, act = {"simulate": (s.Network, simulate), "train": (s.TrainingStep, train)}[
            arguments.one
        ]
        values = json.loads(arguments.request)
        return act(s.Request(**{**values, "task": kind(**values["task"])}), torch.device("cuda"))
    if not torch.cuda.is_available():
        print("There is no GPU here (torch.cuda.is_available() is false): nothing was measured.")
        return None
    print(torch.cuda.get_device_name())
    python = dynamics_peers.pythons(arguments.peers_python).get("brainpy", sys.executable)
    lines: list[Callable[[], dict[str, Any]]] = []
    for network in NETWORKS:
        ours, theirs = (s.Request(network, m, 1, arguments.rounds) for m in ("triton", "XLA"))
        lines += [lambda r=ours: in_a_process("bregma", r), lambda r=theirs: brainpy(r, python)]
    for peer, mode in TRAINERS:
        request = s.Request(STEP, mode, 1, arguments.rounds)
        lines.append(lambda p=peer, r=request: in_a_process(p, r))
    for line in lines:
        print(json.dumps(line()), flush=True)
    return None


if __name__ == "__main__":
    main()
