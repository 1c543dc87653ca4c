"""Generators follow from the seed and the names only."""

import numpy as np
import pytest
import torch

from bregma.errors import InvalidArgument
from bregma.run import derive, spawn, spawn_torch


def test_the_same_everywhere():
    # written down once: a change here changes every seeded result of everybody
    assert derive(0) == 1999793380834467432
    assert derive(0, "weights") == 5681230749671811970
    assert derive(7, "step", 3, 11) == derive(np.int64(7), "step", np.int32(3), 11)


def test_names_give_unrelated_streams():
    seen = {derive(s, *n) for s in range(50) for n in [(), ("a",), ("a", 1), ("a1",), (1, "a")]}
    assert len(seen) == 250
    assert derive(0, 1) != derive(0, "1")
    draws = np.stack([spawn(0, "subject", i).standard_normal(4000) for i in range(8)])
    assert np.abs(np.corrcoef(draws)[np.triu_indices(8, 1)]).max() < 0.08


def test_global_generators_play_no_part():
    np.random.seed(1)  # noqa: NPY002
    torch.manual_seed(1)
    first = spawn(3, "x").random(), torch.rand(2, generator=spawn_torch(3, "x"))
    state = torch.get_rng_state()
    np.random.seed(2)  # noqa: NPY002
    torch.manual_seed(2)
    second = spawn(3, "x").random(), torch.rand(2, generator=spawn_torch(3, "x"))
    assert first[0] == second[0]
    assert torch.equal(first[1], second[1])
    torch.manual_seed(1)
    assert torch.equal(state, torch.get_rng_state())


def test_what_is_no_seed():
    with pytest.raises(InvalidArgument, match="0 or more, not -1"):
        derive(-1)
