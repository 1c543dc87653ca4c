"""The sources of the methods, as BibTeX."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from importlib import resources

from bregma.errors import UnknownName


@cache
def _store() -> dict[str, str]:
    text = resources.files("bregma.evidence").joinpath("sources.bib").read_text(encoding="utf-8")
    entries = re.split(r"\n\n+", text.strip())
    return {entry[entry.index("{") + 1 : entry.index(",")]: entry for entry in entries}


def check_keys(keys: Iterable[str]) -> None:
    """Raise UnknownName for the first key that has no source."""
    for key in keys:
        if key not in _store():
            raise UnknownName.of("source", key, _store())


def source_keys() -> tuple[str, ...]:
    """Keys of all sources that can be cited.

    Returns
    -------
    tuple of str
        The keys, sorted.
    """
    return tuple(sorted(_store()))


def bibtex(keys: Iterable[str]) -> str:
    """BibTeX of some sources, each once, in the order of the keys.

    Parameters
    ----------
    keys : iterable of str
        Keys of sources, such as ``"kriegeskorte2008rsa"``.

    Returns
    -------
    str
        The entries, separated by blank lines.

    Raises
    ------
    UnknownName
        When a key has no source.

    Examples
    --------
    >>> print(bibtex(["holm1979"]).splitlines()[0])
    @article{holm1979,
    """
    keys = list(dict.fromkeys(keys))
    check_keys(keys)
    return "\n\n".join(_store()[key] for key in keys)
