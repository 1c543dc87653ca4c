"""Memory and time of large networks: synapses stored, drawn on the fly, and in two processes.

``python benchmarks/dynamics_scale.py`` prints the rows of the table in docs/scale.md. Each case
runs in processes of its own, because the peak of memory is that of a process.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time

PER_UNIT = 1000  # synapses
DURATION, DT = 0.1, 1e-4


def network(n_synapses, how):
    """Integrate-and-fire units that fire at about 10 Hz, each with a thousand targets."""
    from bregma.dynamics import (
        Drive,
        FixedProbability,
        Network,
        Neuron,
        OnTheFly,
        Population,
        Projection,
        Synapse,
    )

    n = n_synapses // PER_UNIT
    lif = Neuron(
        "dv/dt = (I + g - v)/tau : 1 (unless refractory)\ndg/dt = -g/(5*ms)",
        spike="v > 1", reset="v = 0", refractory="2 ms", params={"tau": "20 ms"},
        init={"v": "rand"},
    )  # fmt: skip
    kick = Synapse(on_pre="g += w", params={"w": 1e-4})
    rule = FixedProbability(PER_UNIT / n) if n > PER_UNIT else FixedProbability(1.0)
    rule = OnTheFly(rule) if how == "fly" else rule
    return Network(
        {"E": Population(lif, n)},
        [Projection("E", "E", kick, rule, delay="1.5 ms")],
        [Drive("E", "I", 1.005)],
    )


def main(n_synapses, how):
    """One case, in this process."""
    from bregma.dynamics import simulate, simulate_distributed
    from bregma.dynamics.network._plan import plan

    run = simulate_distributed if how == "two" else simulate
    run(network(10**6, how), DT * 20, seed=0, dt=DT)  # compile
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin = time.perf_counter()
    if how != "two":
        plan(network(n_synapses, how), dt=DT, seed=0)
    planned = time.perf_counter() - begin
    begin = time.perf_counter()
    found = run(network(n_synapses, how), DURATION, seed=0, dt=DT)
    seconds = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if found is not None or how == "two":
        spikes = None if found is None else len(found.spikes["E"].times)
        row = {"synapses": n_synapses, "how": how, "rank": os.environ.get("RANK", "0")}
        row |= {"before_MiB": before // 1024, "peak_MiB": peak // 1024, "spikes": spikes}
        row |= {"plan_s": round(planned, 2), "plan_and_run_s": round(seconds, 2)}
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        main(int(sys.argv[1]), sys.argv[2])
        sys.exit()
    for size in (10**6, 10**7, 10**8):
        for way in ("stored", "fly", "two"):
            start = [sys.executable]
            if way == "two":
                start += ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
            subprocess.run([*start, __file__, str(size), way], check=True)
