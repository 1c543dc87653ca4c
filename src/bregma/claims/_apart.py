"""One seed in a process of its own: measured alone, and nothing that it does harms the others.

Run as ``python -m bregma.claims._apart SLUG BUDGET SEED OUT``; ends when its stdin closes, so that
no process is left behind when the one that started it is killed.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from dataclasses import asdict
from pathlib import Path

from bregma._files import atomic_write_text
from bregma.claims._catalogue import find
from bregma.claims._expect import Curve
from bregma.claims._result import SeedRun, machine, run_from, split, versions

_running: set[subprocess.Popen[str]] = set()


def end_all() -> None:
    """End every process that still runs a seed."""
    for process in list(_running):
        process.kill()


def run_here(slug: str, budget: str, seed: int) -> SeedRun:
    """Run one seed in this process; a crash is an outcome, not an error."""
    claim = find(slug)
    wall, cpu, error = time.perf_counter(), time.process_time(), ""
    measures: dict[str, float] = {}
    curves: dict[str, Curve] = {}
    try:
        measures, curves = split(claim(seed=seed, **claim.settings(budget)))
        asked = {name for expect in claim.expects for name in expect.names} | set(claim.controls)
        if missing := asked - set(measures):
            raise KeyError(f"the experiment did not measure {sorted(missing)}")
    except Exception:
        measures, curves, error = {}, {}, traceback.format_exc()
    return SeedRun(
        seed=seed,
        measures=measures,
        curves=curves,
        wall_s=round(time.perf_counter() - wall, 3),
        cpu_s=round(time.process_time() - cpu, 3),
        peak_mib=_peak_mib(),
        error=error,
        versions=versions(),
        machine=machine(),
    )


def run_apart(slug: str, budget: str, seed: int, threads: int = 1) -> SeedRun:
    """Run one seed in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="bregma-") as folder:
        out = Path(folder) / "run.json"
        command = [sys.executable, "-m", __spec__.name, slug, budget, str(seed), str(out)]
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": str(threads), "NUMBA_NUM_THREADS": str(threads)},
            start_new_session=True,  # Ctrl-C is for us; the child ends when its stdin closes
        )
        _running.add(process)
        with process:
            assert process.stderr is not None
            said = process.stderr.read()
        _running.discard(process)
        if out.exists():
            return run_from(json.loads(out.read_text("utf-8")))
        return SeedRun(seed=seed, error=_epitaph(process.returncode, said), versions=versions())


def _epitaph(code: int, said: str) -> str:
    if code < 0:
        name = signal.Signals(-code).name
        return f"its process was ended by {name}" + (
            " (too little memory?)" if name == "SIGKILL" else ""
        )
    return f"its process ended with {code}:\n{said[-4000:]}"


def _peak_mib() -> float:
    """Most memory that this process ever held."""
    if sys.platform == "win32":
        return 0.0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)


def _leave_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    slug, budget, seed, out = sys.argv[1:]
    atomic_write_text(out, json.dumps(asdict(run_here(slug, budget, int(seed)))))
    os._exit(0)  # without waiting for the thread that watches stdin
