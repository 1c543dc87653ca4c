"""Run headless Chromium on a page and read what became of it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)


def dom(page: Path, profile: Path, *flags: str) -> tuple[str, str]:
    """The page's DOM after its scripts have run, and what the browser logged."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    done = subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--host-resolver-rules=MAP * ~NOTFOUND",  # the browser itself stays at home, too
            "--enable-logging=stderr",
            "--window-size=1280,2000",
            "--virtual-time-budget=8000",
            f"--user-data-dir={profile}",
            *flags,
            "--dump-dom",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.stdout, done.stderr
