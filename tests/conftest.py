"""Fixtures that every room's tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import hypothesis
import jaxtyping
import pytest

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
