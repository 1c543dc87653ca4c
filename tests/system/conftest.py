"""Fixtures that the tests of systems share."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from example_networks import Net, assert_as_before, snapshot, with_statistics
from torch import nn

from bregma.recording import Stimuli


@pytest.fixture
def net() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return with_statistics(Net())


@pytest.fixture
def images() -> Stimuli:
    pixels = np.random.default_rng(0).integers(0, 256, (7, 12, 10, 3)).astype(np.uint8)
    return Stimuli(
        pixels, stimulus={"stimulus": list("abcdefg"), "kind": ["x"] * 7, "size": range(7)}
    )


@pytest.fixture
def unchanged(net: nn.Module) -> Iterator[None]:
    """Check that the network is bit for bit what it was."""
    net.train()
    net.block.bn.eval()  # mixed modes must come back too
    before = snapshot(net)
    states = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    yield
    assert_as_before(net, before)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1] == states[1]).all()  # noqa: NPY002
