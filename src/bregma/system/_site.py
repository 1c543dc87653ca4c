"""Sites: the places in a network whose activity can be recorded and changed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any, Literal

import torch

from bregma.errors import InvalidArgument, UnknownName

Key = int | str
Place = tuple[str, Literal["output", "input"]]  # where a hook is put

_TEXT = re.compile(
    r"^(?P<module>.*?)(?P<input>\.input)?(?P<call>#\d+)?(?P<element>(\[[^\[\]]*\])*)$", re.DOTALL
)


@dataclass(frozen=True)
class Site:
    """One tensor that flows through a network.

    Its text is ``module[.input][#call][element]``: ``"layer1.0.conv2"`` is the output of that
    module, ``"layer1.0.conv2.input"`` its (first) input, ``"relu#1"`` the second of several calls
    in one forward pass, ``"lstm[1][0]"`` the first element of the second thing that it returns.
    ``"."`` is the whole network.

    Parameters
    ----------
    module : str
        Dotted name of the module; empty for the whole network.
    kind : {"output", "input"}
        What flows out of it, or into it.
    call : int, optional
        Which call in one forward pass, from 0; all of them where it is not given.
    element : tuple of int or str
        Where in a returned tuple, list or dict; empty means the first tensor in it.

    Examples
    --------
    >>> Site("attn.proj", kind="input")
    Site('attn.proj.input')
    """

    module: str
    kind: Literal["output", "input"] = "output"
    call: int | None = None
    element: tuple[Key, ...] = ()

    @property
    def place(self) -> Place:
        """Module and kind: what a hook listens to."""
        return self.module, self.kind

    def at(self, call: int | None) -> Site:
        """The same site at one call.

        Parameters
        ----------
        call : int or None
            Which call, from 0.

        Returns
        -------
        Site
            That site.
        """
        return Site(self.module, self.kind, call, self.element)

    def __str__(self) -> str:
        text = self.module or ("" if self.kind == "input" else ".")
        text += ".input" if self.kind == "input" else ""
        text += "" if self.call is None else f"#{self.call}"
        return text + "".join(f"[{key}]" for key in self.element)

    def __repr__(self) -> str:
        return f"Site({str(self)!r})"


def find_sites(patterns: str | Iterable[str], modules: Iterable[str]) -> list[Site]:
    """Sites that patterns name, in the order of the patterns and then of the modules.

    Parameters
    ----------
    patterns : str or iterable of str
        Texts of sites; ``*`` and ``?`` stand for any characters, dots included, of a module's
        name. ``"*"`` is every module, and the whole network where it has no parts.
    modules : iterable of str
        Names of the modules there are; the whole network is ``""``.

    Returns
    -------
    list of Site
        Each site once.

    Raises
    ------
    UnknownName
        A pattern names nothing; the message has the nearest names.

    Examples
    --------
    >>> find_sites("conv*.input", ["", "conv1", "conv2", "fc"])
    [Site('conv1.input'), Site('conv2.input')]
    """
    names = list(modules)
    found: dict[Site, None] = {}
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        sites = _find(pattern, names)
        if not sites:
            raise UnknownName.of("site", pattern, [name or "." for name in names])
        found |= dict.fromkeys(sites)
    if not found:
        raise InvalidArgument("no sites are asked for: give at least one name or pattern")
    return list(found)


def _find(pattern: str, names: list[str]) -> list[Site]:
    if not pattern:
        return []
    if pattern in names:  # also names that look like a pattern
        return [Site(pattern)]
    parts = _TEXT.match(pattern)
    if parts is None:
        return []
    name = "" if parts["module"] == "." else parts["module"]
    if name in names:
        matched = [name]
    else:
        glob = re.escape(name).replace(r"\*", ".*").replace(r"\?", ".")
        matched = [n for n in names if n and re.fullmatch(glob, n)]
        if name == "*" and not matched:
            matched = [""]
    keys = re.findall(r"\[([^\[\]]*)\]", parts["element"])
    element = tuple(int(key) if key.isdigit() else key for key in keys)
    call = int(parts["call"][1:]) if parts["call"] else None
    kind: Literal["output", "input"] = "input" if parts["input"] else "output"
    return [Site(n, kind, call, element) for n in matched]


def is_pattern(text: str) -> bool:
    """Whether the text of a site can stand for several modules."""
    return "*" in text or "?" in text


def find_tensor(value: Any, site: Site) -> tuple[tuple[Any, ...], torch.Tensor]:
    """The tensor that a site means in what a module returned (or was given).

    Parameters
    ----------
    value : Any
        A tensor, or tuples, lists and dicts with tensors in them.
    site : Site
        Its element says where to look.

    Returns
    -------
    (path, torch.Tensor)
        The keys that lead there, and the tensor.

    Raises
    ------
    InvalidArgument
        There is no such element, or no tensor in it.
    """
    path: tuple[Any, ...] = ()
    for key in site.element:
        here = _keys(value)
        fits = [k for k in here if k == key or str(k) == str(key)]
        if not fits:
            shown = ", ".join(map(repr, here)) or f"none: it is a {type(value).__name__}"
            raise InvalidArgument(f"site {str(site)!r} has no element [{key}]; there are {shown}")
        path, value = (*path, fits[0]), value[fits[0]]
    found = _first_tensor(value, path)
    if found is None:
        raise InvalidArgument(
            f"site {str(site)!r} holds no tensor but a {type(value).__name__}; leave it out"
        )
    return found


def _keys(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return list(value)
    return list(range(len(value))) if isinstance(value, tuple | list) else []


def _first_tensor(value: Any, path: tuple[Any, ...]) -> tuple[tuple[Any, ...], torch.Tensor] | None:
    if isinstance(value, torch.Tensor):
        return path, value
    for key in _keys(value):
        if (found := _first_tensor(value[key], (*path, key))) is not None:
            return found
    return None


def replace_tensor(value: Any, path: tuple[Any, ...], tensor: torch.Tensor) -> Any:
    """The same structure with another tensor at one place; the given one stays as it is.

    Parameters
    ----------
    value : Any
        A tensor, or tuples, lists and dicts with tensors in them.
    path : tuple
        The keys that lead to the place.
    tensor : torch.Tensor
        What should be there.

    Returns
    -------
    Any
        The new structure.
    """
    if not path:
        return tensor
    inner = replace_tensor(value[path[0]], path[1:], tensor)
    if isinstance(value, tuple):
        items = [inner if i == path[0] else item for i, item in enumerate(value)]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    changed = copy(value)
    changed[path[0]] = inner
    return changed
