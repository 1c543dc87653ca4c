"""Whether the balanced networks of bregma and Brian2 have the same statistics, pairs included.

    python benchmarks/dynamics_statistics.py [--seeds N] [--peers-python brian2=PATH] [--store FILE]

A seed is a graph and initial voltages, and both simulators run it. The networks are chaotic: what
is left of a rounding error after some 100 ms is another run of the same graph. So where both
simulate the same, a difference of two runs is sampling error; and what differs between graphs,
which is far more, cancels. A statistic differs where Student's t over the differences of the seeds
has p < 0.01 / (number of statistics of both networks).

Two controls show what the comparison sees: bregma with a fifth of the synapses taken out, and
bregma's spikes with every train turned in time by a random amount of its own, which leaves rates
and intervals as they are and takes what pairs have in common. The exit status is 1 where a
statistic differs, or where a control passes. ``--store tests/dynamics/brian2_statistics.json`` made
what `tests/dynamics/test_statistics.py` compares with.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy import stats

import dynamics_peers_bregma as bregma
import dynamics_settings as s
from dynamics_pairs import BINS, LAG_BIN, N_LAGS
from dynamics_peers import Measurement, pythons

NETWORKS = s.Network("cuba", seconds=5.0), s.Network("coba", seconds=5.0)
SEEDS = 20
KEPT = 0.8  # of the synapses, in a control
LEVEL = 0.01  # probability that any statistic of equal simulators is said to differ

SINGLE = {"rate_hz": "rate (Hz)", "isi_cv": "CV of intervals"}
PAIRS = {
    f"correlation_{of}_{width}_ms": f"r in {width} ms, {of.replace('sd', 'SD')}"
    for width in BINS
    for of in ("mean", "sd")
}
LAGS = [f"r at lag {LAG_BIN * k} ms" for k in range(N_LAGS)]
N_STATISTICS = len(NETWORKS) * (len(SINGLE) + len(PAIRS) + N_LAGS)
Run = Mapping[str, Any]  # what `spike_statistics` gives


@dataclass(frozen=True)
class Comparison:
    """One statistic of two simulators over the same seeds."""

    name: str
    ours: float
    theirs: float
    error: float  # standard error of the mean difference
    half: float  # of the difference's interval of 95 %
    p: float

    @property
    def differs(self) -> bool:
        return self.p < LEVEL / N_STATISTICS

    @property
    def of_pairs(self) -> bool:
        return self.name not in SINGLE.values()


def compare(ours: Sequence[Run], theirs: Sequence[Run]) -> list[Comparison]:
    """Every statistic, by its differences seed by seed."""
    found = []
    for name in (*SINGLE.values(), *PAIRS.values(), *LAGS):
        x, y = (np.array([named(run)[name] for run in runs]) for runs in (ours, theirs))
        error = float(stats.sem(x - y))
        half = float(stats.t.ppf(0.975, len(x) - 1)) * error
        p = float(stats.ttest_rel(x, y).pvalue)
        found.append(Comparison(name, float(x.mean()), float(y.mean()), error, half, p))
    return found


def named(run: Run) -> dict[str, float]:
    """The statistics of a run under the names of the table."""
    single = {label: run[key] for key, label in (SINGLE | PAIRS).items()}
    return single | dict(zip(LAGS, run["correlogram"], strict=True))


def seeds_of(network: s.Network, n: int, **changed: Any) -> list[s.Network]:
    return [replace(network, seed=seed, **changed) for seed in range(n)]


def ours(network: s.Network) -> tuple[Run, Run]:
    """Statistics of bregma's run, and of the same spikes with their trains turned in time."""
    units, times = bregma.spikes(network)
    by = np.random.default_rng(network.seed).uniform(0, 1000 * network.seconds, network.n)
    turned = (times + by[units]) % (1000 * network.seconds)
    return s.spike_statistics(network, units, times), s.spike_statistics(network, units, turned)


def theirs(network: s.Network, python: str) -> Run:
    """Those of Brian2's run."""
    line = Measurement("brian2", s.Request(network, "C++ standalone", rounds=1)).run(python)
    if "skipped" in line:
        raise SystemExit(f"Brian2 did not run: {line['skipped']}")
    return line


def record(network: s.Network, line: Run) -> dict[str, Any]:
    """What is stored of a run: of what, by which version, and its statistics."""
    numbers = {key: round(line[key], 7) for key in (*SINGLE, *PAIRS)}
    correlogram = [round(x, 7) for x in line["correlogram"]]
    settings = {"network": asdict(network), "brian2": line["version"], "mode": line["mode"]}
    return {**settings, **numbers, "correlogram": correlogram}


def shown(title: str, compared: Sequence[Comparison]) -> Table:
    """The comparisons as a table."""
    table = Table("", "bregma", "Brian2", "difference", "95 %", "t", "differs", title=title)
    for c in compared:
        difference = c.ours - c.theirs
        table.add_row(
            c.name, f"{c.ours:.5f}", f"{c.theirs:.5f}", f"{difference:+.5f}", f"± {c.half:.5f}",
            f"{difference / c.error:+.1f}", "yes" if c.differs else "no",
        )  # fmt: skip
    return table


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers-python", action="append", default=[], metavar="brian2=PATH")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--store", type=Path, help="where to write what Brian2 gave")
    arguments = parser.parse_args()
    python = pythons(arguments.peers_python).get("brian2", sys.executable)
    console, n, wrong, stored = Console(width=100), arguments.seeds, False, []
    for network in NETWORKS:
        brian = [theirs(each, python) for each in seeds_of(network, n)]
        stored += [record(*pair) for pair in zip(seeds_of(network, n), brian, strict=True)]
        same, turned = zip(*map(ours, seeds_of(network, n)), strict=True)
        sparser = [ours(each)[0] for each in seeds_of(network, n, kept=KEPT)]
        for title, runs in (
            ("", same), (f"; control: {KEPT:.0%} of our synapses", sparser),
            ("; control: our trains turned in time", turned),
        ):  # fmt: skip
            compared = compare(runs, brian)
            title = f"{network.name}, {n} graphs of {network.seconds:g} s{title}"
            console.print(shown(title, compared))
            different = any(c.differs for c in compared if c.of_pairs or runs is not turned)
            wrong |= different == (runs is same)
    if arguments.store:
        lines = ",\n".join(map(json.dumps, stored))
        arguments.store.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())
