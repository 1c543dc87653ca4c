"""Fixtures that every room's tests share."""

from __future__ import annotations

import importlib
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import hypothesis
import jaxtyping
import pytest

from bregma.errors import MissingExtra, ModelUnavailable

# A busy machine is no fault of the code: how long an example takes is not tested.
hypothesis.settings.register_profile("bregma", deadline=None)
hypothesis.settings.load_profile("bregma")

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of small real data sets, kept beside the repository."""
    if not SHARED.is_dir():
        pytest.skip("the small real data sets (../shared/data) are not on this machine")
    return SHARED


@pytest.fixture
def unchecked_types() -> Iterator[None]:
    """Let arguments of a wrong type through, as they come where nothing checks annotations."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def heeds_ctrl_c() -> Iterator[None]:
    """Ctrl-C interrupts, here and in new processes: shells let background jobs ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def timm() -> ModuleType:
    """The library of vision models, beside any torchvision."""
    from bregma.system._timm import _import_timm

    try:
        return _import_timm()
    except (MissingExtra, ModelUnavailable) as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def transformers(timm: ModuleType) -> ModuleType:
    """The library of language models; torchvision is mended by then, torchaudio is left out."""
    library = pytest.importorskip("transformers")
    with pytest.MonkeyPatch.context() as patch:
        try:
            importlib.import_module("torchaudio")
        except (ImportError, OSError, RuntimeError):  # built for another PyTorch: not needed here
            patch.setattr(library.utils, "is_torchaudio_available", lambda: False)
        for name in ("Dinov2Model", "Dinov2WithRegistersModel", "GPT2Model", "ViTModel"):
            getattr(library, name)  # imported while torchaudio is out of sight
    return library


@dataclass
class Ran:
    code: int
    out: str
    err: str


@pytest.fixture
def cli(capsys, monkeypatch):
    """Call `bregma ...` inside the process; gives its exit status and what it printed."""
    from bregma.cli import main

    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "dumb")

    def call(*args):
        with pytest.raises(SystemExit) as left:
            main([str(arg) for arg in args])
        printed = capsys.readouterr()
        return Ran(left.value.code or 0, printed.out, printed.err)

    return call
