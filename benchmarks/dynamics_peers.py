"""The peers of the dynamics engine, one line of JSON per measurement.

    python benchmarks/dynamics_peers.py [--only TEXT ...] [--peers-python NAME=PATH ...]

Every measurement is a process of its own: what one library leaves behind (threads, caches, memory)
does not touch the next. A peer that cannot live beside bregma has an environment elsewhere:
``--peers-python brian2=PATH`` says which Python runs it (Brian2 from 2.11 needs Python 3.13; 2.9
runs on 3.11 with numpy < 2.4). What is absent is skipped, and the line says why.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dynamics_settings import Network, Request, TrainingStep

LIMIT = 900  # seconds for one measurement, with everything that it compiles


@dataclass(frozen=True)
class Measurement:
    """A peer's script and what it is asked for. ``peer`` is the name of its package."""

    peer: str
    request: Request

    @property
    def name(self) -> str:
        threads = f"{self.request.threads} thread{'s' * (self.request.threads > 1)}"
        return f"{self.request.task.name}: {self.peer}, {self.request.mode}, {threads}"

    def run(self, python: str, **environment: str) -> dict[str, Any]:
        """The measured line, or one with ``skipped``: the reason why there is none."""
        torch = isinstance(self.request.task, TrainingStep)
        script = f"dynamics_peers_{'torch' if torch else self.peer}.py"
        if torch and self.peer == "bregma":
            script = "dynamics_training.py"
        threads = str(self.request.threads)
        environment |= {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
        command = [python, str(Path(__file__).with_name(script)), self.request.to_json()]
        try:
            done = subprocess.run(
                command, env=os.environ | environment, capture_output=True, text=True, timeout=LIMIT
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return self.skipped(str(error).replace(self.request.to_json(), "..."))
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["it ended without a word"])[-1]
            return self.skipped(
                f"{reason} (in {python}; --peers-python {self.peer}=PATH names another)"
            )
        return json.loads(done.stdout.splitlines()[-1])

    def skipped(self, reason: str) -> dict[str, Any]:
        return {
            "task": self.request.task.name, "peer": self.peer, "mode": self.request.mode,
            "threads": self.request.threads, "skipped": reason,
        }  # fmt: skip


SIMULATORS = (
    ("brian2", "C++ standalone", 1), ("brian2", "C++ standalone", 2), ("brian2", "Cython", 1),
    ("brainpy", "XLA", 1), ("brainpy", "XLA", 2), ("nest", "iaf", 1), ("nest", "iaf", 2),
)  # fmt: skip
TRAINERS = (
    ("torch", "eager"), ("snntorch", "documented loop"), ("snntorch", "hoisted product"),
    ("spikingjelly", "step_mode m"), ("norse", "SequentialState"),
)  # fmt: skip
NETWORKS = (
    Network("cuba"), Network("coba"), Network("cuba", delay=1.5), Network("coba", delay=1.5),
    Network("cuba", plastic=True), Network("cuba", n=40_000), Network("coba", n=40_000),
)  # fmt: skip


def measurements() -> Iterator[Measurement]:
    """All of them, task by task, so that those to be compared run one after the other."""
    for network in NETWORKS:
        for peer, mode, threads in SIMULATORS:
            # NEST's solver takes minutes for a second of 40,000 conductance-based neurons.
            if peer != "nest" or network.n < 40_000 or network.kind == "cuba":
                yield Measurement(peer, Request(network, mode, threads))
    for recurrent in (False, True):
        for threads in (1, 2):
            for peer, mode in TRAINERS:
                yield Measurement(peer, Request(TrainingStep(recurrent), mode, threads, rounds=9))


def selected(only: list[str], rounds: int | None = None) -> Iterator[Measurement]:
    """Those whose name has all the texts."""
    for each in measurements():
        if all(text.lower() in each.name.lower() for text in only):
            request = replace(each.request, rounds=rounds) if rounds else each.request
            yield replace(each, request=request)


def pythons(choices: list[str]) -> dict[str, str]:
    """``NAME=PATH`` of the command line as a table."""
    peers = {peer for peer, *_ in (*SIMULATORS, *TRAINERS)}
    table = dict(choice.split("=", 1) for choice in choices if "=" in choice)
    if len(table) != len(choices) or not peers >= table.keys():
        raise SystemExit(f"--peers-python takes NAME=PATH, NAME one of {', '.join(sorted(peers))}.")
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers-python", action="append", default=[], metavar="NAME=PATH")
    parser.add_argument("--only", action="append", default=[], help="text in the name; repeatable")
    parser.add_argument("--rounds", type=int, help="rounds after the warm-up")
    arguments = parser.parse_args()
    python = pythons(arguments.peers_python)
    for each in selected(arguments.only, arguments.rounds):
        print(json.dumps(each.run(python.get(each.peer, sys.executable))), flush=True)


if __name__ == "__main__":
    main()
