"""The command line; what it does is done by functions of the rooms, which Python users call."""

from __future__ import annotations

from bregma.cli._app import main

__all__ = ["main"]
