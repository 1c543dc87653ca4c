"""Finding claims: every file in a folder of this room is one."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import ModuleType

import bregma.claims
from bregma.claims._claim import Claim
from bregma.errors import InvalidArgument, UnknownName


@cache
def _modules() -> dict[str, str]:
    """Slug -> module, without importing any."""
    found: dict[str, str] = {}
    for folder in pkgutil.iter_modules(bregma.claims.__path__, "bregma.claims."):
        if not folder.ispkg:
            continue
        package = importlib.import_module(folder.name)
        for file in pkgutil.iter_modules(package.__path__):
            if not file.name.startswith("_"):
                found[file.name] = f"{folder.name}.{file.name}"
    return dict(sorted(found.items()))


def slugs() -> Sequence[str]:
    """Names of all claims, in alphabetical order.

    Returns
    -------
    sequence of str
        Author, year and a word, such as ``moschella_2023_relative``.
    """
    return tuple(_modules())


def find(slug: str) -> Claim:
    """The claim of that name.

    Parameters
    ----------
    slug : str
        Author, year and a word; or the path of a file (``.py``) with a claim of your own.

    Returns
    -------
    Claim
        The claim; calling it runs its experiment.

    Raises
    ------
    UnknownName
        If there is none; the nearest names are given.
    InvalidArgument
        If the file does not hold exactly one claim.
    """
    if slug.endswith(".py"):
        module = _load(Path(slug).resolve())
    elif slug in _modules():
        module = importlib.import_module(_modules()[slug])
    else:
        raise UnknownName.of("claim", slug, _modules())
    claims = [thing for thing in vars(module).values() if isinstance(thing, Claim)]
    if len(claims) != 1:
        raise InvalidArgument(f"{slug} holds {len(claims)} claims; one file is one claim")
    return claims[0]


@cache
def _load(path: Path) -> ModuleType:
    """Import a file that is in no package."""
    if not path.is_file():
        raise InvalidArgument(f"there is no file {path}")
    name = f"bregma_claim_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
