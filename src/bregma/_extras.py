"""Libraries of optional extras are imported where they are used, through here."""

from __future__ import annotations

import importlib
from types import ModuleType

from bregma.errors import MissingExtra


def require(module: str, extra: str) -> ModuleType:
    """Import an optional library, or say which extra brings it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtra(
            f"this needs {module.split('.')[0]!r} ({error}); "
            f'install it with: pip install "bregma[{extra}]"'
        ) from error
