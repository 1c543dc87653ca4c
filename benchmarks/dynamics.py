"""bregma's engine for CPUs beside its peers on the same networks, and the floor of this machine.

    python benchmarks/dynamics.py [--only TEXT ...] [--rounds N] [--peers-python NAME=PATH ...]
                                  [--simulators NAME ...]

Every measurement is a process of its own; those to be compared run one after the other. Ratios are
those of the best rounds, as other work on a machine only adds time; the column "busy" says
how many cores other work took meanwhile. Where that is not about 0, threads that share a network
wait for each other, and bregma goes on with one. Rates and CVs of intervals say whether all
simulated the same; `dynamics_statistics.py` compares pairs of trains too, within sampling error.
The exit status is 1 where a goal is missed.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from rich.console import Console
from rich.table import Table

from dynamics_limit import floor
from dynamics_peers import NETWORKS, SIMULATORS, Measurement, pythons
from dynamics_settings import Network, Request

# At least so many times as fast as the fastest peer with one thread
GOALS = {"CUBA 4,000": 4.0, "COBA 4,000": 10.0, "CUBA 4,000, STDP": 4.0}
WIDTH = 110  # characters
OURS = ("bregma", "float32", 1), ("bregma", "float32", 2), ("bregma", "float64", 1)


def measure(
    network: Network, rounds: int, python: dict[str, str], peers: list[str]
) -> list[dict[str, Any]]:
    """Lines of all simulators for one network; ours in turn before and after the peers."""
    lines = []
    others = [x for x in SIMULATORS if x[0] in peers or not peers]
    for peer, mode, threads in (*OURS, *others, OURS[0]):
        n = rounds if peer != "bregma" else 10 * rounds
        each = Measurement(peer, Request(network, mode, threads, n))
        lines.append(each.run(python.get(peer, sys.executable)))
    last = lines.pop()
    if "skipped" not in last and last["best_s"] < lines[0]["best_s"]:
        lines[0] = last
    return lines


def table(network: Network, lines: list[dict[str, Any]]) -> tuple[Table, float | None]:
    """The lines as a table, and how many times as fast as the fastest peer we are."""
    ours = lines[0]
    shown = Table(
        "simulator", "", "threads", "best", "median", "CPU", "busy", "build", "rate", "CV", "ratio",
        title=f"1 s of {network.name}",
    )  # fmt: skip
    peers = []
    for x in lines:
        if "skipped" in x:
            continue
        ratio = x["best_s"] / ours["best_s"]
        if x["peer"] != "bregma" and x["threads"] == 1:
            peers.append(ratio)
        shown.add_row(
            x["peer"], x["mode"], str(x["threads"]),
            *(f"{1e3 * t:.1f} ms" for t in (x["best_s"], x["median_s"], min(x["cpu_s"]))),
            f"{min(x['foreign_cores']):.1f}", f"{x.get('build_s', 0):.1f} s",
            f"{x['rate_hz']:.2f} Hz", f"{x['isi_cv']:.2f}", f"{ratio:.1f}",
        )  # fmt: skip
    return shown, min(peers, default=None)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers-python", action="append", default=[], metavar="NAME=PATH")
    parser.add_argument("--only", action="append", default=[], help="text in the name; repeatable")
    parser.add_argument("--simulators", nargs="+", default=[], metavar="NAME", help="all, if none")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of a peer, a tenth of ours")
    arguments = parser.parse_args()
    python, console, missed = pythons(arguments.peers_python), Console(width=WIDTH), 0
    for network in NETWORKS:
        if not all(text.lower() in network.name.lower() for text in arguments.only):
            continue
        lines = measure(network, arguments.rounds, python, arguments.simulators)
        if "skipped" in lines[0]:
            console.print(f"{network.name}: bregma did not run: {lines[0]['skipped']}")
            missed += 1
            continue
        shown, ratio = table(network, lines)
        console.print(shown)
        for x in lines:
            if "skipped" in x:
                console.print(f"{x['peer']}, {x['mode']}: {x['skipped']}", overflow="ellipsis")
        shared = [x for x in lines if x["peer"] == "bregma" and x["threads"] == 2]
        if shared and "skipped" not in shared[0]:
            ratio_2 = lines[0]["best_s"] / shared[0]["best_s"]
            console.print(f"bregma, 2 threads: {ratio_2:.2f} times as fast as 1")
        if not network.plastic and not network.delay:
            limit = floor(network, lines[0]["spikes"]).seconds
            console.print(
                f"floor of this machine {1e3 * limit:.1f} ms: we take "
                f"{lines[0]['best_s'] / limit:.1f} times as long"
            )
        goal = GOALS.get(network.name)
        if goal and ratio is not None:
            console.print(f"goal: {goal:g} times as fast as the fastest peer; it is {ratio:.1f}")
            missed += ratio < goal
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
