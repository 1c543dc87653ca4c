"""Generated source is compiled once, and found again by another process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bregma.dynamics.engines import _compile

SOURCE = """
@kernel
def total(x):
    s = F(0.0)
    for i in range(x.size):
        s += exp(x[i])
    return s
"""


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("BREGMA_CACHE_DIR", str(tmp_path / "a folder"))
    _compile.load.cache_clear()


def test_precision_is_as_asked_for():
    single = _compile.load(SOURCE, "float32").total(np.ones(2, np.float32))
    double = _compile.load(SOURCE, "float64").total(np.ones(2))
    assert double == 2 * np.e
    assert single == np.float32(2 * np.e)


def test_the_file_is_named_by_its_content_and_mended_when_damaged(tmp_path):
    module = _compile.load(SOURCE, "float32", "total")
    path = Path(module.__file__)
    assert path.parent == tmp_path / "a folder" / "kernels"
    assert _compile.load(SOURCE + "\n", "float32", "total").__file__ != module.__file__
    path.write_text("broken(", encoding="utf-8")
    _compile.load.cache_clear()
    assert _compile.load(SOURCE, "float32", "total").total(np.zeros(3, np.float32)) == 3


def test_another_process_reads_what_was_compiled(tmp_path):
    code = (
        "import numpy as np\nfrom bregma.dynamics.engines._compile import load\n"
        f"f = load({SOURCE!r}, 'float32').total\nf(np.zeros(3, np.float32))\n"
        "print(sum(f.stats.cache_hits.values()), sum(f.stats.cache_misses.values()))"
    )
    found = [
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True,
            env=os.environ.copy(),
        ).stdout.split()
        for _ in range(2)
    ]  # fmt: skip
    assert found == [["0", "1"], ["1", "0"]]


def test_a_folder_that_cannot_be_written_is_replaced(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("", encoding="utf-8")
    monkeypatch.setenv("BREGMA_CACHE_DIR", str(blocked))
    module = _compile.load(SOURCE, "float64")
    assert module.total(np.zeros(2)) == 2
    assert not Path(module.__file__).is_relative_to(tmp_path)
