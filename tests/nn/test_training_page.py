"""The page on training runs as it stands, and the network learns."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "training.md"


def test_the_page_runs_and_the_network_learns(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = "\n".join(re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL))
    found: dict = {"__name__": "page"}
    exec(compile(code, str(PAGE), "exec"), found)
    assert found["accuracy"] > 0.85
    assert 3 < found["taus"][-1] < 8  # it began with 20 ms
    assert "membrane time constant" in (tmp_path / "training.html").read_text("utf-8")
