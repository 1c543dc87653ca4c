"""Run one network on several threads, which gives the bits that one thread gives."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from threading import Thread
from typing import Any

import numpy as np

from bregma.dynamics.engines._cpu_arrays import Fixed, Run, aligned
from bregma.dynamics.engines._cpu_cores import CORES
from bregma.dynamics.engines._cpu_divide import Division
from bregma.dynamics.engines._cpu_loop import Kernel, kernel_of
from bregma.dynamics.engines._cpu_meet import LINE, meeting_place, stop
from bregma.dynamics.engines._cpu_together import WHOLE, Together, shared_variables
from bregma.dynamics.network._plan import Plan
from bregma.dynamics.network._state import Outcome, Probe, State

Array = np.ndarray


class Team:
    """What several threads need to run a plan, made once."""

    def __init__(self, plan: Plan, n_threads: int) -> None:
        self.division = Division(plan, n_threads)
        self.fixed = [Fixed(part, plan) for part in self.division.plans]
        self.kernels: dict[tuple[tuple[str, str], ...], Kernel] = {}

    def run(self, state: State, n_steps: int, probes: Sequence[Probe]) -> Outcome:
        """Run for some steps, as `_cpu.run` does."""
        division, threads = self.division, range(self.division.n)
        looked = [[division.probe(p, t) for p in probes] for t in threads]
        seen = tuple((p.owner, p.variable) for p in probes)
        if seen not in self.kernels:
            self.kernels[seen] = kernel_of(division.plans[0], probes, Together)
        kernel = self.kernels[seen]
        runs = [
            Run(division.plans[t], self.fixed[t], division.state(state, t), n_steps,
                [p for p, _ in looked[t]])
            for t in threads
        ]  # fmt: skip
        self._share(runs)
        k, end = state.step, state.step + n_steps
        while True:
            k = self._go_on(kernel, runs, k)
            if k == end:
                break
            for run in runs:
                run.grow()
        spiking = {p.name: i for i, p in enumerate(division.whole.populations) if p.spikes}
        outcomes = [
            Outcome(
                spikes={name: run.spikes(i) for name, i in spiking.items() if t == 0},
                traces=run.traces(len(probes)),
                state=run.state_at_end(),
            )
            for t, run in enumerate(runs)
        ]
        return division.outcome(state, outcomes, [[own for _, own in found] for found in looked])

    def _share(self, runs: Sequence[Run]) -> None:
        """What threads see of each other: boxes of spikes, how many are in them, variables."""
        whole = self.division.whole
        shared: dict[str, Any] = {}
        spiking = sum(p.spikes for p in whole.populations)
        lines = -(-spiking // LINE) * LINE
        told = aligned(np.zeros(2 * len(runs) * lines, np.int64), np.int64)
        shared["told"] = told.reshape(2, len(runs), lines)
        for i, p in enumerate(whole.populations):
            ranges = self.division.ranges[p.name]
            shared |= {f"p{i}__edges": ranges.edges, f"p{i}__owners": ranges.owners}
            shared[f"p{i}__boxes"] = np.empty((2, p.size), np.uint32)
            for t, run in enumerate(runs):
                begin, end = ranges.of(t)
                run.values |= {f"p{i}__begin": begin, f"p{i}__end": end}
        for i, variable in shared_variables(whole):
            name, p = f"p{i}_{variable}", whole.populations[i]
            values = aligned(np.empty(p.size, whole.dtype), whole.dtype)
            for t, run in enumerate(runs):
                begin, end = self.division.ranges[p.name].of(t)
                values[begin:end] = run.values[name]
                run.values[name] = values[begin:end]
            shared[f"{WHOLE}{name}"] = values
        for t, run in enumerate(runs):
            run.values |= {**shared, "me": t}

    def _go_on(self, kernel: Kernel, runs: Sequence[Run], k: int) -> int:
        """Run until the end, or until somebody needs more room; how many steps are done then."""
        place = meeting_place(len(runs))
        for run in runs:
            run.values["place"] = place
        arguments = [run.arguments(kernel.arguments, k) for run in runs]
        kernel.run.compile(tuple(kernel.run.typeof_pyval(a) for a in arguments[0]))
        cpu = [0.0] * len(runs)

        def part(t: int) -> int:
            begin = time.thread_time()
            done = kernel.run(*arguments[t])
            cpu[t] = time.thread_time() - begin
            return int(done)

        begin = time.perf_counter()
        found = at_once(part, len(runs), lambda: stop(place))
        CORES.had(sum(cpu), time.perf_counter() - begin, len(runs))
        return found[0]


def at_once(part: Callable[[int], int], n: int, give_up: Callable[[], None]) -> list[int]:
    """Call a function for 0 to `n` - 1, whose calls wait for each other: 0 here, others in threads.

    Where one of them fails, or this thread is interrupted, `give_up` has to end all the others.
    """
    found = [-1] * n
    failed: list[BaseException] = []

    def call(i: int) -> None:
        try:
            found[i] = part(i)
        except BaseException as error:
            failed.append(error)
            give_up()

    threads = [Thread(target=call, args=(i,), daemon=True) for i in range(1, n)]
    try:
        for thread in threads:
            thread.start()
        call(0)
        for thread in threads:
            thread.join()
    except BaseException:
        give_up()
        raise
    if failed:
        raise failed[0]
    return found
