"""What holds for the whole house: it opens fast, its docstrings are true, its docs are complete."""

from __future__ import annotations

import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest
from numpydoc.validate import validate

import bregma
from bregma import errors

ROOT = Path(__file__).resolve().parents[1]
ROOMS = [
    *("recording", "run", "evidence", "dynamics", "dynamics.models", "dynamics.synapses"),
    *("system", "nn", "datasets", "geometry", "encoding", "population", "signals", "learning"),
    *("mechanism", "vision", "agents", "search", "claims", "report"),
]
HEAVY = ["torch", "numba", "plotly", "mne", "pynwb", "nibabel", "pynapple", "zarr", "dask"]

# numpydoc checks: docstring exists, summary ends with a full stop, every parameter is described
# and every described parameter exists, what is returned is described.
CHECKS = {"GL08", "SS03", "PR01", "PR02", "RT03"}


def is_protocol(path):
    room, name = path.rsplit(".", 1)
    return room in sys.modules and getattr(getattr(sys.modules[room], name), "_is_protocol", False)


def public_objects():
    for room in ROOMS:
        module = importlib.import_module(f"bregma.{room}")
        for name in module.__all__:
            if inspect.ismodule(getattr(module, name)):
                continue
            yield f"bregma.{room}.{name}"


def public_members(thing):
    """Methods and properties of a class, inherited ones too, as far as they are written here."""
    seen = set()
    for owner in thing.__mro__:
        for member, value in vars(owner).items():
            written_here = owner.__module__.startswith("bregma") and (
                isinstance(value, property | classmethod | staticmethod)
                or inspect.isfunction(value)
            )
            if member not in seen and not member.startswith("_") and written_here:
                yield member
            seen.add(member)


def documented_objects():
    for path in public_objects():
        if not is_protocol(path):  # nobody makes one: its parameters are not for anybody
            yield path
        room, name = path.rsplit(".", 1)
        thing = getattr(importlib.import_module(room), name)
        if inspect.isclass(thing):
            yield from (f"{path}.{member}" for member in public_members(thing))


def parameters(thing, member):
    value = getattr(thing, member)
    return list(inspect.signature(value).parameters) if callable(value) else None


def validated(path):
    return [f"{code}: {text}" for code, text in validate(path)["errors"] if code in CHECKS]


def faults(path):
    """What numpydoc finds wrong with an object.

    A member may be described where it is declared (by a protocol or base class) instead, as long as
    it takes the same parameters.
    """
    where, name = path.rsplit(".", 1)
    if where in sys.modules:
        return validated(path)
    room, of_class = where.rsplit(".", 1)
    thing, found = getattr(sys.modules[room], of_class), []
    for owner in (owner for owner in thing.__mro__ if name in vars(owner)):
        if not owner.__module__.startswith("bregma"):
            return []  # another library's
        found.append(validated(f"{owner.__module__}.{owner.__qualname__}.{name}"))
        if parameters(owner, name) != parameters(thing, name):
            found[-1].append(f"{owner.__qualname__} describes other parameters")
    return min(found, key=len)


@pytest.mark.parametrize("path", sorted(set(documented_objects())))
def test_docstrings_agree_with_signatures(path):
    assert not faults(path)


class _Declared:
    def described(self, x: int) -> None:
        """Do.

        Parameters
        ----------
        x : int
            What.
        """

    def bare(self) -> None: ...


class _Implemented(_Declared):
    def described(self, x: int) -> None: ...
    def bare(self) -> None: ...


class _Changed(_Declared):
    def described(self, x: int, y: int) -> None: ...


class _Short(_Declared):
    def described(self, x: int) -> None:
        """Do less."""

    def bare(self) -> None:
        """Do"""


@pytest.mark.parametrize(
    ("thing", "member", "expected"),
    [
        (_Implemented, "described", ""),
        (_Implemented, "bare", "GL08"),
        (_Changed, "described", "GL08"),
        (_Short, "described", ""),
        (_Short, "bare", "SS03"),
    ],
)
def test_a_member_is_described_here_or_where_it_is_declared(thing, member, expected, monkeypatch):
    for cls in (_Declared, _Implemented, _Changed, _Short):
        monkeypatch.setattr(cls, "__module__", "bregma._house")
    monkeypatch.setitem(sys.modules, "bregma._house", sys.modules[__name__])
    found = faults(f"bregma._house.{thing.__name__}.{member}")
    assert expected in " ".join(found) if expected else not found


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_name_can_be_had(room):
    module = importlib.import_module(f"bregma.{room}")
    assert module.__all__, f"bregma.{room} shows nothing"
    for name in module.__all__:
        assert getattr(module, name) is not None


def modules_after(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sorted(sys.modules), sep='\\n')"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split("\n"))


def test_import_loads_nothing_heavy():
    loaded = modules_after("import bregma")
    assert not loaded & {*HEAVY, "pandas", "xarray", "sklearn"}


def test_reading_a_recording_needs_no_torch():
    loaded = modules_after("import bregma; bregma.Recording")
    assert not loaded & set(HEAVY)


def test_every_error_has_its_section_in_the_docs():
    text = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    for name in errors.__all__:
        if inspect.isclass(getattr(errors, name)) and name != "BregmaError":
            assert f"## {name}" in text, f"docs/errors.md says nothing about {name}"


def test_links_between_documents_lead_somewhere():
    documents = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    assert len(documents) > 5
    for document in documents:
        for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", document.read_text("utf-8")):
            if not target.startswith(("http:", "https:")):
                assert (document.parent / target).exists(), f"{document.name} -> {target}"


def test_version():
    assert re.fullmatch(r"\d+\.\d+\.\d+", bregma.__version__)
