"""Run by torchrun: trains a module in several processes and writes down what became of it."""

import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

from bregma.run import fit, minibatches, spawn_torch


def train(seed_of_weights, **more):
    """Losses and weights after three epochs of uneven batches."""
    generator = spawn_torch(0, "data")
    x = torch.randn(53, 6, generator=generator)
    torch.manual_seed(seed_of_weights)
    module = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 2))
    losses = fit(
        module,
        lambda module, batch: nn.functional.cross_entropy(module(batch[0]), batch[1]),
        minibatches(x, (x[:, 0] > 0).long(), size=10),
        optimizer=torch.optim.Adam(module.parameters(), lr=0.01),
        seed=0,
        **{"epochs": 3, **more},
    )
    weights = torch.cat([p.detach().flatten() for p in module.parameters()])
    return losses, weights.numpy()


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    torch.distributed.init_process_group("gloo")
    rank = torch.distributed.get_rank()
    checkpoint = folder / "run.pt"
    train(rank, epochs=1, checkpoint=checkpoint)  # every process starts from other weights ...
    losses, weights = train(rank, checkpoint=checkpoint)  # ... and goes on from the checkpoint
    stopped, _ = train(rank, epochs=9, until=lambda: rank == 0)  # asked of the first alone
    np.savez(folder / f"{rank}.npz", losses=losses, weights=weights, stopped=stopped)
    torch.distributed.destroy_process_group()
