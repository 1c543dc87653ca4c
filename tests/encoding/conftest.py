"""Libraries of vision models, however torchvision and torchaudio fit this PyTorch."""

from __future__ import annotations

import importlib

import pytest

from bregma.errors import MissingExtra, ModelUnavailable
from bregma.system import load


@pytest.fixture(scope="session")
def timm():
    try:
        load("timm:test_vit", untrained=True)  # imports it beside any torchvision
    except (MissingExtra, ModelUnavailable) as error:
        pytest.skip(str(error))
    return importlib.import_module("timm")


@pytest.fixture(scope="session")
def transformers(timm):  # which lets any torchvision be imported
    library = pytest.importorskip("transformers")
    with pytest.MonkeyPatch.context() as patch:
        try:
            importlib.import_module("torchaudio")
        except (ImportError, OSError, RuntimeError):  # built for another PyTorch: not needed here
            patch.setattr(library.utils, "is_torchaudio_available", lambda: False)
        for name in ("Dinov2Model", "Dinov2WithRegistersModel"):
            getattr(library, name)
    return library
