"""What `test_topk_on_gpu` runs in a process of its own; see `triton_launches`."""

from __future__ import annotations

import sys
from copy import deepcopy
from pathlib import Path

import torch


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def steps():
    """On what stands for a GPU here, steps are those of the CPU, and the same bits each time."""
    from bregma.mechanism import SparseAutoencoder, TopKCode, TopKStep
    from bregma.mechanism.dictionaries import _topk_gpu, _topk_step

    _topk_gpu.SLICE = 9  # so that a batch is several slices
    kinds = {"transcoder": {"n_outputs": 12}, "plain": {"centred": False}, "centred": {}}
    for settings in kinds.values():
        start = SparseAutoencoder(20, 30, TopKCode(4), seed=0, **settings)
        with torch.no_grad():
            start.encoder.weight.add_(0.1 * normal(30, 20))
            start.encoder.bias.sub_(0.8)  # some samples have fewer features than k
        found = []
        for on_gpu in (False, True, True):
            _topk_step.on_gpu = lambda tensor, on_gpu=on_gpu: on_gpu
            sae = deepcopy(start)
            adam = torch.optim.Adam(sae.parameters(), lr=3e-3)
            step = TopKStep(sae, adam)
            losses, fired = [], []
            for i in range(4):
                y = normal(24, 12, seed=100 + i) if settings.get("n_outputs") else None
                losses.append(step(normal(24, 20, seed=i), y))
                fired.append(step.fired)
            moments = [
                adam.state[p][m] for p in sae.parameters() for m in ("exp_avg", "exp_avg_sq")
            ]
            found.append([torch.tensor(losses), torch.stack(fired), *sae.parameters(), *moments])
        assert 0.3 < found[0][1].float().mean() < 1
        for cpu, gpu, again in zip(*found, strict=True):
            torch.testing.assert_close(gpu, cpu, rtol=2e-5, atol=2e-6)
            assert torch.equal(gpu, again)


def half():
    """Features chosen in half precision have the values of full precision."""
    from bregma.mechanism.dictionaries._topk_gpu import OnGPU

    x, weight, bias = normal(10, 24), normal(30, 24, seed=1), normal(30, seed=2)
    index, value = OnGPU().select(x, weight, bias, 5, half=True)
    exact = torch.addmm(bias, x, weight.T)
    torch.testing.assert_close(value, exact.gather(1, index.long()).relu(), rtol=1e-5, atol=1e-5)
    best = exact.topk(5).indices
    right = (best[:, :, None] == index[:, None]).any(1).float().mean()
    assert right > 0.9  # only near ties may go the other way


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    import triton_launches

    triton_launches.main(globals(), exact=False)
