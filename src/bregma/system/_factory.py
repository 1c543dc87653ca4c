"""Systems that a function in the user's own file gives."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from bregma.errors import ModelUnavailable, UnknownName
from bregma.run import derive, private_randomness
from bregma.system._system import System


def call_factory(file: Path, factory: str, *, seed: int) -> nn.Module | System:
    """Run a Python file and call a function of it.

    Parameters
    ----------
    file : Path
        The file; everything in it is executed.
    factory : str
        A function or class to call without arguments, or a module that is there already.
    seed : int
        Seed of the global generators meanwhile, from which layers draw their weights.

    Returns
    -------
    torch.nn.Module or System
        What it gives.

    Raises
    ------
    ModelUnavailable
        There is no such file, it fails, or it gives something else.
    UnknownName
        There is no such function in it.
    """
    if not file.is_file():
        raise ModelUnavailable(f"there is no file {str(file)!r}")
    with private_randomness(derive(seed, "factory")):
        made = _call(_executed(file), factory, file)
    if not isinstance(made, nn.Module | System):
        raise ModelUnavailable(
            f"{file.name}:{factory} gives a {type(made).__name__}; a torch.nn.Module or a bregma "
            "System is needed"
        )
    return made


def _executed(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"bregma_user_{file.stem}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and pickles of the file look there
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[spec.name]
        raise ModelUnavailable(
            f"running {str(file)!r} failed: {type(error).__name__}: {error}"
        ) from error
    return module


def _call(module: ModuleType, factory: str, file: Path) -> Any:
    function = getattr(module, factory, None)
    if function is None:
        public = [name for name, value in vars(module).items() if callable(value)]
        raise UnknownName.of(f"function in {file.name}", factory, public)
    if isinstance(function, nn.Module):
        return function
    try:
        return function()
    except Exception as error:
        raise ModelUnavailable(
            f"calling {file.name}:{factory}() failed: {type(error).__name__}: {error}"
        ) from error
