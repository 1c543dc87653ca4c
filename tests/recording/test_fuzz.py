"""Damaged files of every format: a valid object or a bregma error, and nothing else.

`benchmarks/fuzz_readers.py` does the work and runs thousands; this is a bounded sample of it.
"""

from __future__ import annotations

import importlib.util
import random
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "fuzz_readers.py"
FILES = 200


@pytest.fixture(scope="module")
def fuzzer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fuzz_readers", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fuzz_readers"] = module
    spec.loader.exec_module(module)
    return module


def test_damaged_files(fuzzer: ModuleType) -> None:
    outcomes = fuzzer.fuzz(FILES, seed=20)
    print(outcomes.table())
    assert not outcomes.faults
    assert outcomes.files == FILES
    assert outcomes.largest < fuzzer.MEGABYTES
    assert all(counter["object"] for counter in outcomes.counts.values())  # the valid ones


def test_faults_are_noticed(
    fuzzer: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker sees crashes, hangs, foreign errors and memory: the instrument works."""
    monkeypatch.setattr(fuzzer, "SECONDS", 20.0)  # a busy machine takes long to hand out memory
    harm = {
        "crash": "import ctypes; ctypes.string_at(0)",
        "hang": "time.sleep(60)",
        "leak": "raise ValueError('from a library')",
        "memory": "x = np.ones(200_000_000)",
        "nameless": "from bregma.errors import UnreadableRecording as U; raise U('other', 'why')",
    }
    lines = "".join(f"    if path.endswith({kind!r}): {code}\n" for kind, code in harm.items())
    stub = f"def read(path):\n{lines}\nbregma.read = read\n"
    monkeypatch.setattr(fuzzer, "WORKER", fuzzer.WORKER.replace("\nout = ", f"\n{stub}out = "))
    worker, outcomes = fuzzer.Worker(), fuzzer.Outcomes()
    for kind in harm:
        outcomes.add(kind, kind, *worker.read(tmp_path / kind))
    worker.close()
    assert [what.split(":")[0] for _, what in outcomes.faults] == [
        "CRASH", "HANG", "LEAK", "MEMORY", "LEAK"
    ]  # fmt: skip


def test_damage_is_the_same_for_the_same_seed(fuzzer: ModuleType) -> None:
    content = bytes(range(256)) * 4
    first, second = (fuzzer.damaged(content, random.Random(3)) for _ in range(2))
    assert first == second != content
