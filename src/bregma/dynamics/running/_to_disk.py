"""A run that goes to disk piece by piece, so that it needs little memory and can be taken up again.

While it runs, each piece is a file beside the store that it will become, and the state behind the
last one another. They are replaced whole, so that whatever ends a run, the next one goes on from
there and gives the same bits.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd

import bregma
from bregma._extras import require
from bregma._files import atomic_path, atomic_write_text
from bregma.dynamics.network._plan_parts import Plan
from bregma.dynamics.network._state import Outcome, Probe, State, width_of
from bregma.errors import InvalidArgument, UnknownName
from bregma.recording import Recording, read, save_spikes

PIECE_BYTES = 1 << 25  # of values that are written down before they go to disk
STATE, ABOUT = "state.npz", "run.json"


class Parts:
    """Pieces of a run on disk.

    Parameters
    ----------
    to : str or Path
        The store that they will become, a folder that ends in ``.zarr``.
    made : Plan
        What is run.
    probes : mapping
        What is written down, by name.
    key : str
        Hash of all that the run depends on.
    """

    def __init__(self, to: str | Path, made: Plan, probes: Mapping[str, Probe], key: str) -> None:
        self.to, self.made, self.probes = Path(to), made, probes
        if self.to.suffix.lower() != ".zarr":
            raise InvalidArgument(f"to={str(to)!r} must end in .zarr")
        require("dask.array", extra="scale")
        require("zarr", extra="scale")
        self.folder = self.to.with_name(f".{self.to.name}.parts-{key[:16]}")

    def piece_steps(self, most: int) -> int:
        """How many steps make a piece."""
        per_step = sum(width_of(self.made, p) / p.every for p in self.probes.values())
        return max(1, min(most, int(PIECE_BYTES / max(1, per_step * self.made.dtype.itemsize))))

    def resume(self, begin: State) -> State:
        """Where an earlier run of the same came to, or the beginning."""
        file = self.folder / STATE
        return State.load(file) if file.exists() else begin

    def add(self, outcome: Outcome, begin: int) -> None:
        """Write a piece, and then the state behind it."""
        arrays: dict[str, Any] = {f"trace_{i}": trace for i, trace in enumerate(outcome.traces)}
        for name, (steps, units) in outcome.spikes.items():
            arrays |= {f"steps_{name}": steps, f"units_{name}": units}
        with atomic_path(self._file(begin)) as part:
            np.savez(part, **arrays)
        outcome.state.save(self.folder / STATE)

    def finish(self, begin: int, end: State, about: dict[str, Any]) -> None:
        """Make one store of all pieces, with little memory, and remove them."""
        starts = sorted(int(f.stem) for f in self.folder.glob("*.npz") if f.name != STATE)
        files = [self._file(start) for start in starts if start < end.step]
        config = require("dask.config", extra="scale")
        with atomic_path(self.to) as part, config.set(scheduler="synchronous"):
            part.mkdir()
            for p in self.made.populations:
                if p.spikes:
                    self._save_spikes(part, p.name, p.size, files, begin, end.step)
            for i, (name, probe) in enumerate(self.probes.items()):
                width = width_of(self.made, probe)
                values = _joined(files, f"trace_{i}", self.made.dtype, (width,))
                trace(name, probe, values, begin, end.step, self.made.dt).save(_store(part, name))
            end.save(part / STATE)
            atomic_write_text(part / ABOUT, json.dumps(about))
        for path in list(self.to.parent.iterdir()):  # also what runs with other settings left
            if path.name.startswith(f".{self.to.name}.parts-"):
                shutil.rmtree(path, ignore_errors=True)

    def _save_spikes(
        self, part: Path, name: str, size: int, files: list[Path], begin: int, end: int
    ) -> None:
        steps = _joined(files, f"steps_{name}", np.dtype(np.int64), ())
        units = _joined(files, f"units_{name}", np.dtype(np.int32), ())
        save_spikes(
            _store(part, name),
            (steps + 1) * self.made.dt,
            units,
            units=spike_units(name, size),
            support=spike_support(begin, end, self.made.dt),
        )

    def _file(self, start: int) -> Path:
        return self.folder / f"{start:015d}.npz"


class OnDisk(Mapping[str, Any]):
    """What a run wrote, by name; each is read when it is asked for.

    Parameters
    ----------
    folder : str or Path
        The store of the run.
    names : iterable of str
        What is in it.
    """

    def __init__(self, folder: str | Path, names: Any) -> None:
        self.folder, self.names = Path(folder), tuple(names)

    def __getitem__(self, name: str) -> Any:
        if name not in self.names:
            raise UnknownName.of("name in the run", name, self.names)
        return read(_store(self.folder, name))

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class Written:
    """A run that lies on disk: what it wrote, where it ended, and what it was."""

    spikes: OnDisk
    traces: OnDisk
    state: State
    about: dict[str, Any]


def opened_run(folder: str | Path) -> Written:
    """What a run left in a folder.

    Parameters
    ----------
    folder : str or Path
        The store that `simulate` wrote.

    Returns
    -------
    Written
        Nothing of it is read yet but where it ended.

    Raises
    ------
    InvalidArgument
        There is no finished run.
    """
    folder = Path(folder)
    if not (folder / ABOUT).is_file() or not (folder / STATE).is_file():
        raise InvalidArgument(f"{folder} holds no run that simulate(..., to=) has finished")
    about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    state = State.load(folder / STATE)
    return Written(OnDisk(folder, about["spikes"]), OnDisk(folder, about["traces"]), state, about)


def run_key(*parts: Any) -> str:
    """Hash of all that a run depends on: plans, states, numbers and names.

    Parameters
    ----------
    *parts : object
        Whatever it is made of.

    Returns
    -------
    str
        32 hexadecimal digits, the same in every process.
    """
    digest = hashlib.blake2b(bregma.__version__.encode(), digest_size=16)
    _feed(digest, parts)
    return digest.hexdigest()


def _feed(digest: Any, thing: Any) -> None:
    if isinstance(thing, np.ndarray):
        digest.update(f"{thing.dtype.str}{thing.shape}".encode())
        digest.update(np.ascontiguousarray(thing).tobytes())
    elif isinstance(thing, Mapping):
        for name in thing:
            digest.update(f"{name}=".encode())
            _feed(digest, thing[name])
    elif isinstance(thing, list | tuple):
        digest.update(f"{type(thing).__name__}{len(thing)}".encode())
        for part in thing:
            _feed(digest, part)
    elif is_dataclass(thing) and not isinstance(thing, type):
        digest.update(type(thing).__name__.encode())
        _feed(digest, {f.name: getattr(thing, f.name) for f in fields(thing)})
    elif hasattr(thing, "unit_index"):  # spike trains
        _feed(digest, (thing.times, thing.unit_index, thing.n_units))
    else:
        digest.update(f"{thing!r};".encode())


# Labels, which runs in memory have too


def spike_units(name: str, size: int) -> pd.DataFrame:
    """Table of the units of a population."""
    ids = pd.Index([f"{name}/{i}" for i in range(size)], name="unit")
    return pd.DataFrame({"population": [name] * size}, index=ids)


def spike_support(begin: int, end: int, dt: float) -> list[tuple[float, float]]:
    """The time in which spikes of the steps from `begin` up to `end` are seen."""
    return [(begin * dt, float(np.nextafter(end * dt, np.inf)))]


def trace(name: str, probe: Probe, values: Any, begin: int, end: int, dt: float) -> Recording:
    """A variable over time, with its labels."""
    at = np.arange(begin + 1, end + 1)
    n = values.shape[1]
    return Recording.from_array(
        values[None],
        presentation={"presentation": ["run"], "stimulus": ["run"]},
        time=at[at % probe.every == 0] * dt,
        unit={
            "unit": [f"{probe.owner}/{j}" for j in range(n)],
            "population": [probe.owner] * n,
        },
        name=name,
    )


def _store(folder: Path, name: str) -> Path:
    return folder / f"{quote(name, safe='')}.zarr"


def _load(file: Path, name: str) -> np.ndarray:
    with np.load(file, allow_pickle=False) as arrays:
        return arrays[name]


def _joined(files: list[Path], name: str, dtype: np.dtype, width: tuple[int, ...]) -> Any:
    """Arrays of all pieces one after the other, in parts of one size, read when they are needed."""
    da = require("dask.array", extra="scale")
    lengths = [len(_load(file, name)) for file in files]
    parts = {(f"{name}-{files[0]}", i, *(0 for _ in width)): (partial(_load, file, name),)
             for i, file in enumerate(files)}  # fmt: skip
    chunks = (tuple(lengths), *((n,) for n in width))
    whole = da.Array(parts, f"{name}-{files[0]}", chunks, dtype=dtype)
    rows = max(1, PIECE_BYTES // (dtype.itemsize * max(1, int(np.prod(width)))))
    return whole.rechunk({0: rows})
