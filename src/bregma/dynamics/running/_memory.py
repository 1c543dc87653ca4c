"""How much memory a run needs, known before anything large is made."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bregma.dynamics.connect._connect import FixedInDegree, Rule
from bregma.dynamics.language import _units
from bregma.dynamics.network._network import Network, Projection
from bregma.dynamics.network._on_the_fly import OnTheFly
from bregma.errors import InvalidArgument

_LOOKED_AT = 32  # rows of a rule that stand for all
_INDEX = 8  # bytes of an index while synapses are put into order


def check_memory(
    network: Network,
    n_steps: int,
    stride: int,
    record: Mapping[str, Iterable[str]],
    dtype: Any,
) -> None:
    """Refuse a run that does not fit into the memory that is free.

    Parameters
    ----------
    network : Network
        What is to run.
    n_steps, stride : int
        Steps of the run, and from one sample to the next.
    record : mapping
        Population or projection to what is written down.
    dtype : dtype
        Precision of the variables.

    Raises
    ------
    InvalidArgument
        With what needs most, and what to do about it.
    """
    size = np.dtype(dtype).itemsize
    parts = estimate_memory(network, dtype=dtype)
    samples = n_steps // stride
    widths = {n: p.size for n, p in network.populations.items()}
    widths |= {p.label: n_synapses(p, network) for p in network.projections}
    for owner, names in record.items():
        count = 1 if isinstance(names, str) else len(list(names))
        parts[f"recording of {owner}"] = 2 * samples * count * widths.get(owner, 0) * size
    free = available_bytes()
    total = sum(parts.values())
    if total > free:
        most = max(parts, key=lambda n: parts[n])
        raise InvalidArgument(
            f"this run needs about {total / 2**30:.1f} GiB and {free / 2**30:.1f} GiB are free; "
            f"{most} needs most ({parts[most] / 2**30:.1f} GiB). Take fewer units or synapses, "
            "record fewer variables, or less often (every=), or draw synapses that are alike on "
            "the fly (OnTheFly)"
        )


def estimate_memory(network: Network, *, dtype: Any = "float32") -> dict[str, int]:
    """How much memory the synapses of a network take while it is made and run.

    Parameters
    ----------
    network : Network
        What is to run.
    dtype : dtype
        Precision of the variables.

    Returns
    -------
    dict of str to int
        Bytes for each projection, with what is needed for a while only; 0 where its synapses are
        drawn on the fly. The number of synapses is estimated from some rows of each rule.
    """
    size = np.dtype(dtype).itemsize
    return {p.label: synapse_bytes(p, network, size) for p in network.projections}


def n_synapses(p: Projection, network: Network) -> int:
    """About how many synapses a projection has, from some of its rows."""
    n_pre, n_post = (network.populations[side].size for side in (p.pre, p.post))
    return _count(p.rule, n_pre, n_post)


def synapse_bytes(p: Projection, network: Network, size: int) -> int:
    """Memory of the synapses of a projection while they are made and run."""
    if isinstance(p.rule, OnTheFly):
        return 0
    each = 4 + 4 + _INDEX  # targets, twice, and sources
    own = [n for n in p.synapse.states if p.synapse.place_of(n) == "synapse"]
    each += len(own) * (8 + 4 * size)  # as drawn, planned, at the beginning, running, at the end
    varied = [v for v in (*p.synapse.params.values(), p.delay) if _varies(v)]
    each += len(varied) * (8 + 2 * size)
    each += 3 * _INDEX if _varies(p.delay) else 0
    each += 3 * _INDEX if p.synapse.on_post else 0
    return n_synapses(p, network) * each


def available_bytes() -> int:
    """Memory that is free, or all there is where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(int(x.split()[1]) * 1024 for x in lines if x.startswith("MemAvailable"))
    except (OSError, StopIteration):
        if not hasattr(os, "sysconf"):
            return 2**62
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _count(rule: Rule, n_pre: int, n_post: int) -> int:
    if isinstance(rule, FixedInDegree):  # whose slices take as long as the whole
        return rule.k * n_post
    rows = min(n_pre, _LOOKED_AT)
    middle = (n_pre - rows) // 2
    found = rule.rows(n_pre, n_post, 0, middle, middle + rows)
    return int(len(found.targets) / max(rows, 1) * n_pre)


def _varies(value: Any) -> bool:
    if isinstance(value, str):
        return not _units.is_quantity(value)
    return np.ndim(value) > 0
