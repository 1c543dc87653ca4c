"""Run the Python on a page of the documentation, as somebody who types it from top to bottom."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parents[1] / "docs"


def python_blocks(name: str) -> list[str]:
    """The blocks of Python on a page."""
    return re.findall(r"```python\n(.*?)```", (DOCS / name).read_text("utf-8"), re.DOTALL)


def run_page(name: str) -> dict[str, Any]:
    """Run them one after another; gives the names that they leave behind."""
    names: dict[str, Any] = {"__name__": "page"}
    for number, block in enumerate(python_blocks(name), start=1):
        exec(compile(block, f"{name}, block {number}", "exec"), names)
    return names
