"""What came out of a claim: measures of every seed, kept in one JSON file."""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from bregma._files import atomic_write_text
from bregma.claims._claim import Claim
from bregma.claims._expect import Curve
from bregma.errors import BregmaError, InvalidArgument

LIBRARIES = ("numpy", "scipy", "scikit-learn", "torch", "numba")


@dataclass(frozen=True, kw_only=True)
class SeedRun:
    """One seed of an experiment.

    Parameters
    ----------
    seed : int
        The seed.
    measures : mapping of str to float
        What was measured; empty where it crashed.
    curves : mapping of str to Curve
        What is drawn beside the measures.
    wall_s, cpu_s : float
        Seconds that it took, and seconds of processor time.
    peak_mib : float
        Most memory that its process held, in MiB.
    error : str
        The traceback where it crashed, else empty.
    versions, machine : mapping of str to str
        Of the libraries, and what it ran on.
    """

    seed: int
    measures: Mapping[str, float] = field(default_factory=dict)
    curves: Mapping[str, Curve] = field(default_factory=dict)
    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_mib: float = 0.0
    error: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    machine: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Result:
    """All seeds of a claim at one budget.

    Parameters
    ----------
    slug, budget : str
        Which claim, and how much of it.
    digest : str
        Names the code and the settings that were run; see `Claim.digest`.
    settings : mapping
        The experiment's settings.
    runs : mapping of int to SeedRun
        Seed -> what came out.
    """

    slug: str
    budget: str
    digest: str
    settings: Mapping[str, Any]
    runs: Mapping[int, SeedRun] = field(default_factory=dict)

    @classmethod
    def empty(cls, claim: Claim, budget: str) -> Result:
        """A result without seeds.

        Parameters
        ----------
        claim : Claim
            The claim.
        budget : str
            How much of it.

        Returns
        -------
        Result
            To which runs are added.
        """
        return cls(
            slug=claim.slug,
            budget=budget,
            digest=claim.digest(budget),
            settings=dict(claim.settings(budget)),
        )

    def having(self, *runs: SeedRun) -> Result:
        """The same result with more seeds.

        Parameters
        ----------
        *runs : SeedRun
            They take the place of earlier runs of their seeds.

        Returns
        -------
        Result
            A new one, its seeds in order.
        """
        return replace(
            self, runs=dict(sorted({**self.runs, **{run.seed: run for run in runs}}.items()))
        )

    def save(self, path: str | Path) -> None:
        """Write the result; the file has the old content or the new one, never a part.

        Parameters
        ----------
        path : str or Path
            A JSON file.

        Raises
        ------
        BregmaError
            If it cannot be written, for example on a full disk.
        """
        content = asdict(self) | {"runs": [asdict(run) for run in self.runs.values()]}
        try:
            atomic_write_text(path, json.dumps({"sha256": _sum(content), **content}) + "\n")
        except OSError as error:
            raise BregmaError(
                f"cannot write the result {path}: {error.strerror}; the seeds saved before are "
                "kept: make room and run the same command again"
            ) from error

    @classmethod
    def load(cls, path: str | Path) -> Result | None:
        """Read a result.

        Parameters
        ----------
        path : str or Path
            A JSON file that `save` wrote.

        Returns
        -------
        Result or None
            None where there is no such file.

        Raises
        ------
        InvalidArgument
            If the file is damaged or was edited by hand.
        """
        try:
            content = json.loads(Path(path).read_text("utf-8"))
            written = content.pop("sha256")
            if written != _sum(content):
                raise ValueError("its checksum is another one: it was edited or damaged")
            runs = [run_from(part) for part in content.pop("runs")]
            return cls(**content, runs={run.seed: run for run in runs})
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InvalidArgument(
                f"{path} is no result of `bregma verify` ({error}); move it away to run anew"
            ) from error


def run_from(part: dict[str, Any]) -> SeedRun:
    """A run from what its `asdict` became in JSON."""
    curves = {name: Curve(**curve) for name, curve in part.pop("curves").items()}
    return SeedRun(**part, curves=curves)


def _sum(content: dict[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def split(measured: Mapping[str, float | Curve]) -> tuple[dict[str, float], dict[str, Curve]]:
    """Numbers and curves of an experiment, which must be finite."""
    curves = {name: value for name, value in measured.items() if isinstance(value, Curve)}
    measures = {name: float(v) for name, v in measured.items() if not isinstance(v, Curve)}
    for name, value in measures.items():
        if not math.isfinite(value):
            raise BregmaError(f"the measure {name!r} is {value}")
    for name, curve in curves.items():
        if not all(map(math.isfinite, (*curve.x, *curve.y))):
            raise BregmaError(f"the curve {name!r} has points that are not finite")
    return measures, curves


def versions() -> dict[str, str]:
    """What the numbers were computed with."""
    return {
        "bregma": metadata.version("bregma"),
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in LIBRARIES},
    }


def cores() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def machine() -> dict[str, str]:
    """What the numbers were computed on; nothing that names a person or a place."""
    on = {
        "system": platform.system(),
        "processor": _processor(),
        "cores": str(cores()),
        "threads": os.environ.get("OMP_NUM_THREADS", "all"),
    }
    torch = sys.modules.get("torch")  # what did not need it shall not wait for it
    if torch is not None and torch.cuda.is_available():
        on["gpu"] = torch.cuda.get_device_name()
    return on


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
