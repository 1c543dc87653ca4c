"""A training step of a TopK autoencoder against sae-lens: time, memory, and the same losses.

    python benchmarks/mechanism_dictionaries.py [--peer-python PATH] [--threads 2] [--repeats 2]
    python benchmarks/mechanism_dictionaries.py '<JSON>'     one measurement, one line

PATH is a Python that has sae-lens, where it lives elsewhere. All modes run in processes of their
own, one after the other, and again; the best step of each counts. Where other processes run, read
the CPU times of one thread (``--threads 1``). Losses are compared with those of dense autograd. The
exit status is 1 where a goal is missed or losses differ.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table

import bregma
from bregma.mechanism import SparseAutoencoder, TopKCode, TopKStep
from mechanism_settings import TopKTraining

GOAL = 3.0  # times faster than the defaults of sae-lens, in float32
PEER = ("defaults", "plain", "sparse")
OURS = ("dense autograd", "float32", "bfloat16")


def one(task: TopKTraining) -> None:
    """Measure one of our modes, in this process."""
    torch.set_num_threads(task.threads)
    sae = SparseAutoencoder(task.inputs, task.features, TopKCode(task.k), seed=0)
    start = torch.from_numpy(task.start())
    with torch.no_grad():
        sae.decoder.copy_(start)
        sae.encoder.weight.copy_(start)
    adam = torch.optim.Adam(sae.parameters(), lr=task.rate)

    def dense(x: np.ndarray) -> float:
        loss = sae.loss(torch.from_numpy(x)).total
        adam.zero_grad()
        loss.backward()
        adam.step()
        sae.normalise_()
        return loss.item()

    if task.mode == "dense autograd":
        step = dense
    else:
        fast = TopKStep(sae, adam, task.mode)
        step = lambda x: fast(torch.from_numpy(x))  # noqa: E731
    task.report(step, f"bregma {bregma.__version__}")


def measured(task: TopKTraining, python: str) -> dict[str, Any]:
    """The line that a process of its own prints; one with ``skipped`` where it cannot run."""
    script = "mechanism_peers_saelens.py" if task.mode in PEER else Path(__file__).name
    threads = str(task.threads)
    done = subprocess.run(
        [python if task.mode in PEER else sys.executable,
         str(Path(__file__).with_name(script)), task.to_json()],
        env={**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads},
        capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        return {"skipped": (done.stderr.strip().splitlines() or ["without a word"])[-1]}
    return json.loads(done.stdout.splitlines()[-1])


def main(
    request: Annotated[str | None, typer.Argument(help="One measurement, as JSON.")] = None,
    peer_python: Annotated[str, typer.Option(help="A Python that has sae-lens.")] = sys.executable,
    threads: Annotated[int, typer.Option(help="Threads of every process.")] = 2,
    repeats: Annotated[int, typer.Option(help="Processes of each mode.")] = 2,
    out: Annotated[Path | None, typer.Option(help="Where to write the figures as JSON.")] = None,
) -> None:
    """Print the table; exit with 1 where the goal is missed or losses differ."""
    if request is not None:
        return one(TopKTraining(**json.loads(request)))
    task, found = TopKTraining("defaults", threads), dict[str, dict[str, Any]]()
    loads = [os.getloadavg()[0]]
    for _ in range(repeats):
        for mode in (*PEER, *OURS):
            line = measured(replace(task, mode=mode), peer_python)
            if "seconds" in line and mode in found:
                line["seconds"] += found[mode]["seconds"]
                line["cpu"] += found[mode]["cpu"]
            found[mode] = line
            loads.append(os.getloadavg()[0])
    exact = np.array(found["dense autograd"]["losses"])
    table = Table(
        title=f"TopK step, {task.inputs} -> {task.features:,} features, batch {task.batch:,}, "
        f"k={task.k}, {threads} threads (load {min(loads):.1f} to {max(loads):.1f})"
    )
    for column in (
        "mode",
        "best step",
        "sae-lens /",
        "CPU",
        "sae-lens /",
        "MiB",
        "losses differ by",
    ):
        table.add_column(column, justify="left" if column == "mode" else "right")
    peer, peer_cpu = (min(found["defaults"].get(t, [np.nan])) for t in ("seconds", "cpu"))
    for mode, line in found.items():
        if "skipped" in line:
            table.add_row(mode, *["-"] * 5, line["skipped"])
            continue
        best, cpu = min(line["seconds"]), min(line["cpu"])
        apart = np.abs(np.array(line["losses"]) / exact - 1).max()
        table.add_row(
            f"{line['library']}, {mode}", f"{best:.2f} s", f"{peer / best:.1f} x", f"{cpu:.2f} s",
            f"{peer_cpu / cpu:.1f} x", f"{line['MiB']:.0f}", f"{apart:.0e}",
        )  # fmt: skip
    Console(width=110).print(table)
    if out is not None:
        out.write_text(json.dumps({"load": loads, "modes": found}, indent=2))
    ours = found["float32"]
    same = np.abs(np.array(ours["losses"]) / exact - 1).max() < 1e-5
    raise typer.Exit(0 if same and not peer / min(ours["seconds"]) < GOAL else 1)


if __name__ == "__main__":
    typer.run(main)
