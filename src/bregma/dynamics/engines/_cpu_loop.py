"""The kernel of a network: one compiled function that holds the whole loop over time.

It depends on the structure of the plan alone, not on its numbers, so that networks that differ in
sizes and parameters share what was compiled. The kernel stops before a step whose spikes might
not fit, and is called again with more room.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bregma.dynamics.engines._compile import load
from bregma.dynamics.engines._cpu_part import loop
from bregma.dynamics.engines._cpu_source import Source
from bregma.dynamics.network._plan import Plan
from bregma.dynamics.network._state import Probe

_HEAD = """\
from bregma.dynamics.engines import _cpu_drawn as drawn
from bregma.dynamics.engines import _cpu_kernels as kernels
from bregma.dynamics.engines._cpu_prefetch import prefetch as prefetch__
part = njit(nogil=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)
range__, min__ = range, min
"""


@dataclass(frozen=True)
class Kernel:
    """A compiled loop over time, and the names of its arguments."""

    run: Any
    arguments: tuple[str, ...]


def kernel_of(plan: Plan, probes: Sequence[Probe], kind: type[Source]) -> Kernel:
    """The kernel of a network.

    Parameters
    ----------
    plan : Plan
        What to run.
    probes : sequence of Probe
        What to write down.
    kind : type
        `Source`, or `Together` for that of one of several threads.

    Returns
    -------
    Kernel
        Compiled at its first call, or read from the cache.
    """
    source = kind(plan, probes)
    body = [
        "now = np.int32(k - k0)",
        "done = np.uint32(now + 1)",
        *source.room(),
        *source.sums(),
        *source.variables(),
        *source.when_read(),
        *source.populations(),
        *source.poisson(),
        *source.events(),
        *source.holds("k + 1"),
        *source.when_done(),
        *source.probes(probes),
        "k += 1",
    ]
    numbers = [f"p{i}__n = p{i}__first[p{i}__longest + k - k0]" for i in source.spiking]
    first = [*source.start(), *numbers, *source.holds("k"), *source.when_done()]
    lines = [*first, *loop("while k < end:", body), "return k"]
    names = source.names(lines)
    head = f"@kernel\ndef run({', '.join(names)}):"
    text = (
        f"{_HEAD}{source.head}\n{source.parts.source}\n\n\n" + "\n".join(loop(head, lines)) + "\n"
    )
    return Kernel(load(text, str(plan.dtype), "network").run, tuple(names))
